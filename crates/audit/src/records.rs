//! The records of a source, each against what it must have left behind.

use std::collections::BTreeMap;

use tally_ports::State;
use tally_ports::audit::{DeadLetterTrace, PassName, Traces};

use crate::{Kind, Violations};

/// What a record must have left behind.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Its position.
    pub position: i64,
    /// Whether it is one; else it must have left a dead letter.
    pub is_valid: bool,
    /// How many rows it appends, by the index of the table.
    pub appended: Vec<(usize, i64)>,
    /// The rows that it upserts or deletes.
    pub keyed: Vec<ExpectedRow>,
}

/// A row that a record upserts or deletes.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedRow {
    /// The index of its table.
    pub table: usize,
    /// Where among [`Traces::keyed`] its key was asked for.
    pub slot: (usize, usize),
    /// Whether it is a delete.
    pub is_deleted: bool,
}

/// By what records were read.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    pub pass: &'a PassName,
    /// The origins of all passes over the same log.
    pub origins: &'a [i64],
    /// The names of the flow's tables.
    pub tables: &'a [&'a str],
    /// The indices of those that rows are appended to.
    pub appended: &'a [usize],
}

/// Compares records with what they left.
pub fn check_records(
    read: Read<'_>,
    expected: &[Expected],
    traces: &Traces,
    violations: &mut Violations,
) {
    let mut letters: BTreeMap<i64, (i32, State)> = BTreeMap::new();
    // The newest decides: a pass that began meanwhile may have read the record again.
    for &DeadLetterTrace { position, pass, mut state, .. } in &traces.dead_letters {
        // Where an earlier one was replayed, nobody knows whether that was after the newest one's pass: as of a purged one.
        if matches!(state, State::Discarded | State::Repaired)
            && matches!(letters.get(&position), Some((_, State::Replayed | State::Purged)))
        {
            state = State::Purged;
        }
        letters.insert(position, (pass, state));
    }
    let appended = traces.appended.iter();
    let appended: BTreeMap<(usize, i64), i64> =
        appended.map(|rows| ((rows.table, rows.position), rows.count)).collect();
    for expected in expected {
        let position = expected.position;
        let of_record = Record { read, expected, traces };
        let newest = letters.get(&position).filter(|(pass, _)| *pass >= read.pass.pass);
        let state = newest.map(|(_, state)| *state);
        // A rule may have been another one when a dead letter was replayed.
        let may_differ =
            !expected.is_valid && matches!(state, Some(State::Replayed | State::Purged));
        if !may_differ {
            for &table in read.appended {
                let found = appended.get(&(table, position)).copied().unwrap_or(0);
                of_record.check_appended(table, found, state, violations);
            }
        }
        if matches!(state, None | Some(State::Replayed)) {
            of_record.check_keyed(state, violations);
        }
    }
}

struct Record<'a> {
    read: Read<'a>,
    expected: &'a Expected,
    traces: &'a Traces,
}

impl Record<'_> {
    fn check_appended(
        &self,
        table: usize,
        found: i64,
        state: Option<State>,
        violations: &mut Violations,
    ) {
        let Expected { position, appended, .. } = self.expected;
        let all = appended.iter().find(|(of, _)| *of == table).map_or(0, |(_, count)| *count);
        let (least, most) = match state {
            None | Some(State::Replayed) => (all, all),
            Some(State::Purged) => (0, all),
            Some(_) => (0, 0),
        };
        let mut deleted_to = self.traces.deleted_to.iter();
        let may_be_deleted = deleted_to.any(|&(of, to)| of == table && *position <= to);
        if found == most || found == least || found == 0 && may_be_deleted {
            return;
        }
        let (pass, table) = (self.read.pass, self.read.tables[table]);
        violations.add_of(Kind::AppendedRows, pass, || {
            format!("the record at {position} has {found} rows in {table}, and appends {most}")
        });
    }

    fn check_keyed(&self, state: Option<State>, violations: &mut Violations) {
        let Expected { position, is_valid, keyed, .. } = self.expected;
        let pass = self.read.pass;
        let missing =
            format!("the record at {position} was read and has neither a row nor a dead letter");
        if !is_valid && state.is_none() {
            violations.add_of(Kind::RecordMissing, pass, || missing);
            return;
        }
        for &ExpectedRow { table, slot: (keys, key), is_deleted } in keyed {
            let table = self.read.tables[table];
            let row = self.traces.keyed.get(keys).and_then(|rows| *rows.get(key)?);
            let Some(row) = row else {
                violations.add_of(Kind::RecordMissing, pass, || {
                    format!("{missing}: {table} lacks its key")
                });
                continue;
            };
            let is_own = row.position == *position && self.read.origins.contains(&row.origin);
            if is_own && row.is_deleted != is_deleted {
                violations.add_of(Kind::DeleteMark, pass, || {
                    let (did, has) = if is_deleted {
                        ("deleted its row", "has no mark")
                    } else {
                        ("wrote its row", "is marked as deleted")
                    };
                    format!("the record at {position} {did} in {table}, and the row {has}")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tally_ports::audit::{AppendedTrace, RowTrace};

    use super::*;

    const POSITION: i64 = 7;

    /// A record that appends two rows to the first table and writes one of the second.
    fn written() -> Expected {
        let row = ExpectedRow { table: 1, slot: (0, 0), is_deleted: false };
        Expected { position: POSITION, is_valid: true, appended: vec![(0, 2)], keyed: vec![row] }
    }

    fn left(count: i64, row: Option<RowTrace>, letter: Option<State>) -> Traces {
        let appended = AppendedTrace { table: 0, position: POSITION, count };
        let letter = letter.map(|state| refused(1, state, true));
        Traces {
            dead_letters: letter.into_iter().collect(),
            appended: (count > 0).then_some(appended).into_iter().collect(),
            keyed: vec![vec![row]],
            ..Traces::default()
        }
    }

    fn refused(pass: i32, state: State, is_first: bool) -> DeadLetterTrace {
        let is_outdated_by_key = false;
        DeadLetterTrace { position: POSITION, pass, state, is_outdated_by_key, is_first }
    }

    #[track_caller]
    fn check(expected: &Expected, left: &Traces, kinds: &[Kind]) {
        let pass = PassName { flow: "f".into(), stream: "file/f".into(), partition: 0, pass: 1 };
        let read = Read { pass: &pass, origins: &[4], tables: &["many", "one"], appended: &[0] };
        let mut violations = Violations::default();
        check_records(read, std::slice::from_ref(expected), left, &mut violations);
        let found: Vec<Kind> = violations.counts().into_keys().collect();
        assert_eq!(found, kinds, "{violations:#?}");
    }

    const OWN: Option<RowTrace> =
        Some(RowTrace { origin: 4, position: POSITION, is_deleted: false });
    const NEWER: Option<RowTrace> = Some(RowTrace { origin: 5, position: 1, is_deleted: true });

    #[test]
    fn a_written_record_has_its_rows() {
        check(&written(), &left(2, OWN, None), &[]);
        check(&written(), &left(2, NEWER, None), &[]);
        check(&written(), &left(2, OWN, Some(State::Replayed)), &[]);
        check(&written(), &left(1, OWN, None), &[Kind::AppendedRows]);
        check(&written(), &left(3, OWN, None), &[Kind::AppendedRows]);
        check(&written(), &left(2, None, None), &[Kind::RecordMissing]);
        check(
            &written(),
            &left(0, None, Some(State::Replayed)),
            &[Kind::RecordMissing, Kind::AppendedRows],
        );
    }

    #[test]
    fn old_rows_may_be_deleted() {
        let deleted = |to: i64, count: i64, kinds: &[Kind]| {
            let deleted_to = vec![(0, to)];
            check(&written(), &Traces { deleted_to, ..left(count, OWN, None) }, kinds);
        };
        deleted(POSITION, 0, &[]);
        deleted(POSITION, 2, &[]);
        deleted(POSITION, 1, &[Kind::AppendedRows]);
        deleted(POSITION - 1, 0, &[Kind::AppendedRows]);
    }

    #[test]
    fn a_dead_letter_has_appended_nothing() {
        for state in [State::Open, State::Discarded, State::Repaired, State::Outdated] {
            check(&written(), &left(0, None, Some(state)), &[]);
            check(&written(), &left(2, None, Some(state)), &[Kind::AppendedRows]);
        }
        check(&written(), &left(0, None, Some(State::Purged)), &[]);
        check(&written(), &left(2, None, Some(State::Purged)), &[]);
        check(&written(), &left(1, None, Some(State::Purged)), &[Kind::AppendedRows]);
    }

    #[test]
    fn an_earlier_dead_letter_may_be_replayed_before_or_after_the_newest_one_was_settled() {
        let check = |first: State, newest: State, count: i64, kinds: &[Kind]| {
            let dead_letters = vec![refused(1, first, false), refused(2, newest, false)];
            check(&written(), &Traces { dead_letters, ..left(count, OWN, None) }, kinds);
        };
        for first in [State::Replayed, State::Purged] {
            for newest in [State::Discarded, State::Repaired] {
                check(first, newest, 0, &[]);
                check(first, newest, 2, &[]);
                check(first, newest, 1, &[Kind::AppendedRows]);
            }
            // A replay would have closed it.
            check(first, State::Open, 0, &[]);
            check(first, State::Open, 2, &[Kind::AppendedRows]);
        }
        check(State::Discarded, State::Discarded, 2, &[Kind::AppendedRows]);
    }

    #[test]
    fn an_invalid_record_has_a_dead_letter_and_a_skipped_one_nothing() {
        let invalid = Expected { position: POSITION, ..Expected::default() };
        check(&invalid, &left(0, None, Some(State::Open)), &[]);
        check(&invalid, &left(0, None, None), &[Kind::RecordMissing]);
        check(&invalid, &left(2, None, Some(State::Open)), &[Kind::AppendedRows]);
        for state in [State::Replayed, State::Purged] {
            check(&invalid, &left(2, None, Some(state)), &[]);
        }
        let skipped = Expected { is_valid: true, ..invalid };
        check(&skipped, &left(0, None, None), &[]);
        check(&skipped, &left(1, None, None), &[Kind::AppendedRows]);
    }

    #[test]
    fn a_delete_leaves_a_mark_or_something_newer() {
        let row = ExpectedRow { table: 1, slot: (0, 0), is_deleted: true };
        let delete = Expected {
            position: POSITION,
            is_valid: true,
            keyed: vec![row],
            ..Expected::default()
        };
        let marked = OWN.map(|row| RowTrace { is_deleted: true, ..row });
        check(&delete, &left(0, marked, None), &[]);
        check(&delete, &left(0, NEWER, None), &[]);
        check(&delete, &left(0, OWN, None), &[Kind::DeleteMark]);
        check(&written(), &left(2, marked, None), &[Kind::DeleteMark]);
    }
}
