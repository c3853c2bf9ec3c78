//! The records of a source, each against what it must have left behind.

use tally_audit::{
    Expected, ExpectedPublication, ExpectedRow, Read, ReadFrom, Violations, check_records, digest,
};
use tally_domain::amount::Notation;
use tally_domain::{Action, Flow, Incoming, Publication, Record, TableKind, Value, Write};
use tally_ports::audit::{Asked, DeadLetterTrace, Keys, Pass};
use tally_ports::{Audit, Fault, Item};

use super::Known;

/// A pass over a source, and those before it.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) flow: &'a dyn Flow,
    pub(super) pass: &'a Pass,
    /// All over the same partition.
    pub(super) passes: &'a [&'a Pass],
}

impl Reading<'_> {
    /// Compares `items`, which the pass has read, amounts in this notation, with what they left, and adds up what was counted of
    /// them; how many it could not read, for want of their schema.
    pub(super) async fn look_for(
        self,
        items: Vec<Item>,
        notation: Notation,
        store: &impl Audit,
        known: &mut Known,
        violations: &mut Violations,
    ) -> Result<i64, Fault> {
        let Self { flow, pass, passes } = self;
        let (records, unknown) = self.read(items, notation);
        let mut wanted = Wanted::new(flow);
        for (position, record) in &records {
            wanted.add(*position, record.as_ref());
        }
        let Wanted { expected, keys, .. } = wanted;
        let Some(asked) = self.asked(&records, keys) else { return Ok(unknown) };
        let traces = store.traces(asked).await?;

        let tables: Vec<&str> = flow.tables().iter().map(|table| &*table.name).collect();
        let is_appended = |index: &usize| flow.tables()[*index].kind == TableKind::Appended;
        let appended: Vec<usize> = (0..tables.len()).filter(is_appended).collect();
        let of_log = passes.iter().filter(|other| other.log == pass.log);
        let origins: Vec<i64> = of_log.map(|other| other.origin).collect();
        let read =
            Read { pass: &pass.name, origins: &origins, tables: &tables, appended: &appended };
        check_records(read, &expected, &traces, violations);
        self.compare_published(&records, &traces.dead_letters, known, violations);
        for (position, record) in records {
            let Some(record) = record else { continue };
            known.counters.count(flow, pass, position, record, &traces.dead_letters);
        }
        Ok(unknown)
    }

    /// Compares only what `items` publish, which an earlier pass over the log has read.
    pub(super) async fn look_for_published(
        self,
        items: Vec<Item>,
        notation: Notation,
        store: &impl Audit,
        known: &mut Known,
        violations: &mut Violations,
    ) -> Result<(), Fault> {
        let (records, _) = self.read(items, notation);
        let Some(asked) = self.asked(&records, Vec::new()) else { return Ok(()) };
        let traces = store.traces(asked).await?;
        self.compare_published(&records, &traces.dead_letters, known, violations);
        Ok(())
    }

    /// The records, `None` for those that are not valid, and how many cannot be read for want of their schema.
    fn read(&self, items: Vec<Item>, notation: Notation) -> (Vec<(i64, Option<Record>)>, i64) {
        let (mut records, mut unknown) = (Vec::with_capacity(items.len()), 0);
        for Item { position, content, raw } in items {
            let incoming = |fields| Incoming { fields, notation, raw: &raw };
            match content {
                Err(reason) if reason.code == "schema_unknown" => unknown += 1,
                content => {
                    let record = content.and_then(|fields| self.flow.read(incoming(fields)));
                    records.push((position, record.ok()));
                }
            }
        }
        (records, unknown)
    }

    /// What to ask of the store about the records; `None` where there are none.
    fn asked(&self, records: &[(i64, Option<Record>)], keys: Vec<Keys>) -> Option<Asked> {
        let Pass { name, log, .. } = self.pass;
        let (first, last) = (records.first()?.0, records.last()?.0);
        Some(Asked { pass: name.clone(), log: *log, first, last, keys })
    }

    /// `letters` are the dead letters of the positions of these records.
    fn compare_published(
        &self,
        records: &[(i64, Option<Record>)],
        letters: &[DeadLetterTrace],
        known: &mut Known,
        violations: &mut Violations,
    ) {
        let Some(publications) = known.publications_of(self.flow) else { return };
        let Pass { name, log, .. } = self.pass;
        let from = ReadFrom { stream: &name.stream, partition: name.partition, log: *log };
        for (position, record) in records {
            let from_here = letters.partition_point(|letter| letter.position < *position);
            let letters = &letters[from_here..];
            let expected = record.as_ref().map(expected_publications);
            publications.compare(from, *position, expected.as_deref(), letters, violations);
        }
    }
}

fn expected_publications(record: &Record) -> Vec<ExpectedPublication> {
    let expected = |publication: &Publication| {
        let Publication { output, key, value, .. } = publication;
        ExpectedPublication { output: *output, digest: digest(key.as_deref(), value.as_deref()) }
    };
    record.publications.iter().map(expected).collect()
}

/// What records must have left, and the keys to look for.
struct Wanted<'a> {
    flow: &'a dyn Flow,
    expected: Vec<Expected>,
    keys: Vec<Keys>,
}

impl<'a> Wanted<'a> {
    fn new(flow: &'a dyn Flow) -> Self {
        Self { flow, expected: Vec::new(), keys: Vec::new() }
    }

    /// `None` stands for a record that is not valid.
    fn add(&mut self, position: i64, record: Option<&Record>) {
        let mut expected = Expected { position, is_valid: record.is_some(), ..Expected::default() };
        let writes = record.map_or(&[][..], |record| &record.writes);
        for (index, Write { table, action, values }) in writes.iter().enumerate() {
            match action {
                Action::Append => {
                    match expected.appended.iter_mut().find(|(other, _)| other == table) {
                        Some((_, count)) => *count += 1,
                        None => expected.appended.push((*table, 1)),
                    }
                }
                Action::Upsert | Action::Delete => {
                    let described = &self.flow.tables()[*table];
                    let key = picked(described.key(), values);
                    // Of several writes under one key the newest stays, of equal ones the last.
                    let version = (picked(described.version(), values), index);
                    let is_newer = |(index, other): (usize, &Write)| {
                        other.table == *table
                            && picked(described.key(), &other.values) == key
                            && (picked(described.version(), &other.values), index) > version
                    };
                    if !writes.iter().enumerate().any(is_newer) {
                        let (slot, is_deleted) = (
                            self.slot(*table, key.into_iter().cloned().collect()),
                            *action == Action::Delete,
                        );
                        expected.keyed.push(ExpectedRow { table: *table, slot, is_deleted });
                    }
                }
                Action::Add => {}
            }
        }
        self.expected.push(expected);
    }

    /// Where the key is asked for.
    fn slot(&mut self, table: usize, key: Vec<Value>) -> (usize, usize) {
        let index = self.keys.iter().position(|keys| keys.table == table).unwrap_or_else(|| {
            self.keys.push(Keys { table, keys: Vec::new() });
            self.keys.len() - 1
        });
        let keys = &mut self.keys[index].keys;
        keys.push(key);
        (index, keys.len() - 1)
    }
}

fn picked<'a>(columns: &[usize], values: &'a [Value]) -> Vec<&'a Value> {
    columns.iter().map(|&column| &values[column]).collect()
}

#[cfg(test)]
mod tests {
    use tally_testkit::accounts::{Accounts, account, no_account, no_price, price};

    use super::*;

    /// Whether the row that stays of these writes is marked as deleted.
    #[track_caller]
    fn check(writes: Vec<Write>, expected: &[bool]) {
        let flow = Accounts::default();
        let mut wanted = Wanted::new(&flow);
        wanted.add(0, Some(&Record { writes, ..Record::default() }));
        let is_deleted: Vec<bool> =
            wanted.expected[0].keyed.iter().map(|row| row.is_deleted).collect();
        assert_eq!(is_deleted, expected);
    }

    #[test]
    fn of_several_writes_under_one_key_the_newest_stays() {
        let (early, late) = ("10:00:00", "11:00:00");
        check(vec![price("tea", late, 1), no_price("tea", early)], &[false]);
        check(vec![no_price("tea", late), price("tea", early, 1)], &[true]);
        check(vec![price("tea", early, 1), no_price("tea", late)], &[true]);
        check(vec![no_price("tea", early), price("tea", early, 1)], &[false]);
        check(vec![price("tea", late, 1), no_price("ham", early)], &[false, true]);
        check(vec![account(1, "ann"), no_account(1)], &[true]);
        check(vec![no_account(1), account(1, "ann")], &[false]);
    }
}
