//! The records of a source, each against what it must have left behind.

use tally_audit::{Expected, ExpectedRow, Read, Violations, check_records};
use tally_domain::amount::Notation;
use tally_domain::{Action, Flow, Incoming, Record, TableKind, Value, Write};
use tally_ports::audit::{Asked, Keys, Pass};
use tally_ports::{Audit, Fault, Item};

use super::counters::Counters;

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
        counters: &mut Counters,
        violations: &mut Violations,
    ) -> Result<i64, Fault> {
        let Self { flow, pass, passes } = self;
        let (mut wanted, mut records, mut unknown) = (Wanted::new(flow), Vec::new(), 0);
        for Item { position, content, raw } in items {
            let record = match content {
                Err(reason) if reason.code == "schema_unknown" => {
                    unknown += 1;
                    continue;
                }
                content => {
                    content.and_then(|fields| flow.read(Incoming { fields, notation, raw: &raw }))
                }
            };
            wanted.add(position, record.as_ref().ok());
            records.push((position, record.ok()));
        }
        let (Some((first, _)), Some((last, _))) = (records.first(), records.last()) else {
            return Ok(unknown);
        };
        let Wanted { expected, keys, .. } = wanted;
        let name = pass.name.clone();
        let asked = Asked { pass: name, log: pass.log, first: *first, last: *last, keys };
        let traces = store.traces(asked).await?;

        let tables: Vec<&str> = flow.tables().iter().map(|table| &*table.name).collect();
        let is_appended = |index: &usize| flow.tables()[*index].kind == TableKind::Appended;
        let appended: Vec<usize> = (0..tables.len()).filter(is_appended).collect();
        let of_log = passes.iter().filter(|other| other.log == pass.log);
        let origins: Vec<i64> = of_log.map(|other| other.origin).collect();
        let read =
            Read { pass: &pass.name, origins: &origins, tables: &tables, appended: &appended };
        check_records(read, &expected, &traces, violations);
        for (position, record) in records {
            let Some(record) = record else { continue };
            counters.count(flow, pass, position, record, &traces.dead_letters);
        }
        Ok(unknown)
    }
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
