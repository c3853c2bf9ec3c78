//! What earlier passes over a log left in the store.

use std::borrow::Cow;

use tally_domain::{Action, Flow, TableKind, Value, id};

use super::{Origin, Outcome};
use crate::Row;
use crate::position::FILE;

/// What earlier passes over a log left in the store for a range of positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The ranges of positions, inclusive, whose records were counted and published.
    pub counted: Vec<(i64, i64)>,
    /// The open dead letters.
    pub open: Vec<OpenDeadLetter>,
}

/// A dead letter that a write of its position closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenDeadLetter {
    /// Where it was read.
    pub position: i64,
    /// Whether the pass that counted its position refused the record, so that it was not counted.
    pub is_uncounted: bool,
}

impl Earlier {
    /// Whether the record at this position was counted and published already.
    pub fn has_counted(&self, position: i64) -> bool {
        let is_open = |letter: &OpenDeadLetter| letter.position == position && letter.is_uncounted;
        let has = |&(first, last): &(i64, i64)| (first..=last).contains(&position);
        self.counted.iter().any(has) && !self.open.iter().any(is_open)
    }

    /// The `rows` without what would be counted or published twice.
    pub fn without_counted<'a>(&self, rows: &'a [Row]) -> Cow<'a, [Row]> {
        let is_counted = |row: &Row| self.has_counted(row.position);
        if self.counted.is_empty() || !rows.iter().any(is_counted) {
            return Cow::Borrowed(rows);
        }
        let mut rows = rows.to_vec();
        for row in rows.iter_mut().filter(|row| is_counted(row)) {
            row.record.writes.retain(|write| write.action != Action::Add);
            row.record.publications.clear();
        }
        Cow::Owned(rows)
    }

    /// What became of the `rows`, where `outcomes` are those of the rows [without what was
    /// counted](Self::without_counted): what was counted or published before is written.
    pub fn outcomes(rows: &[Row], mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
        for (row, outcome) in rows.iter().zip(&mut outcomes) {
            let counts = row.record.writes.iter().any(|write| write.action == Action::Add);
            let lasts = counts || !row.record.publications.is_empty();
            if lasts && matches!(outcome, Outcome::Skipped | Outcome::Superseded) {
                *outcome = Outcome::Written;
            }
        }
        outcomes
    }

    /// The positions whose open dead letters are closed by these outcomes: those that are no dead letters any more.
    pub fn closed(&self, rows: &[Row], outcomes: &[Outcome]) -> Vec<i64> {
        let is_open = |position: i64| self.open.iter().any(|letter| letter.position == position);
        let accepted = rows.iter().zip(outcomes).filter(|(row, outcome)| {
            !matches!(outcome, Outcome::Refused(_)) && is_open(row.position)
        });
        accepted.map(|(row, _)| row.position).collect()
    }
}

/// Whether the ranges of positions that were read are noted, as the flow counts or publishes.
pub fn notes_ranges(flow: &dyn Flow) -> bool {
    counts(flow) || !flow.outputs().is_empty()
}

/// Whether the flow counts.
pub fn counts(flow: &dyn Flow) -> bool {
    flow.tables().iter().any(|table| matches!(table.kind, TableKind::Counters { .. }))
}

/// Whether a batch may outdate open dead letters by their keys: it is a file's, so that a key is the text of the id, and its
/// flow writes one table with a row for each key, of which a replay never replaces one that came from elsewhere.
pub fn outdates_by_key(origin: &Origin<'_>) -> bool {
    let [table] = origin.flow.tables() else { return false };
    let is_keyed = matches!(table.kind, TableKind::Keyed { .. }) && table.version().is_empty();
    origin.stream.starts_with(FILE) && is_keyed
}

/// The keys, as their file has them, of those of the `rows` that write one record under that id; of the written ones alone
/// where there are `outcomes`.
pub fn written_keys<'a>(
    flow: &dyn Flow,
    rows: &'a [Row],
    outcomes: Option<&[Outcome]>,
) -> Vec<&'a [u8]> {
    let is_written = |index: usize| {
        outcomes.is_none_or(|outcomes| matches!(outcomes.get(index), Some(Outcome::Written)))
    };
    let written = rows.iter().enumerate().filter(|(index, _)| is_written(*index));
    written.filter_map(|(_, row)| key_of(flow, row)).collect()
}

fn key_of<'a>(flow: &dyn Flow, row: &'a Row) -> Option<&'a [u8]> {
    let key = row.raw.key.as_deref()?;
    let [write] = &row.record.writes[..] else { return None };
    let [column] = flow.tables().get(write.table)?.key() else { return None };
    let id = id::parse(str::from_utf8(key).ok()?.trim())?;
    (write.values.get(*column) == Some(&Value::Uuid(id))).then_some(key)
}

#[cfg(test)]
mod tests {
    use tally_domain::{Column, Incoming, Reason, Record, Table, TableColumn, Type, Version};

    use super::*;

    #[derive(Debug)]
    struct Writing(Vec<Table>);

    impl Flow for Writing {
        fn name(&self) -> &'static str {
            "writing"
        }

        fn columns(&self) -> &[Column] {
            &[]
        }

        fn tables(&self) -> &[Table] {
            &self.0
        }

        fn read(&self, _: Incoming<'_>) -> Result<Record, Reason> {
            Ok(Record::default())
        }
    }

    #[test]
    fn keys_outdate_where_a_replay_never_replaces_a_row() {
        let table = |kind| {
            let columns = vec![TableColumn::new("id", Type::Uuid)];
            Table { name: "rows".into(), columns, kind }
        };
        let keyed =
            |version| table(TableKind::Keyed { key: vec![0], version, marks_deletes: false });
        for (tables, stream, expected) in [
            (vec![keyed(Version::LastWrite)], "file/1", true),
            (vec![keyed(Version::Position)], "file/1", true),
            (vec![keyed(Version::Columns(vec![0]))], "file/1", false),
            (vec![table(TableKind::Appended)], "file/1", false),
            (vec![keyed(Version::LastWrite), table(TableKind::Appended)], "file/1", false),
            (vec![keyed(Version::LastWrite)], "group/topic", false),
        ] {
            let flow = Writing(tables);
            let origin = Origin { flow: &flow, id: 1, stream, partition: 0, log: 1 };
            assert_eq!(outdates_by_key(&origin), expected, "{flow:?} {stream}");
        }
    }
}
