//! The writes of a batch's rows: their order, which of them win, and their outcomes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use tally_domain::{Action, Decimal, Flow, Table, TableKind, Type, Value, Write};

use super::{Outcome, Refusal};
use crate::{Row, Stop, StopKind};

/// The writes of rows in order of position. Only upserts and deletes have versions: of one key the newest wins.
#[derive(Debug)]
pub struct Writes<'a> {
    tables: &'a [Table],
    rows: &'a [Row],
    /// By table, key, version and position: so two writers do not deadlock, and the last of each key
    /// wins.
    versioned: Vec<Versioned<'a>>,
    order: Vec<usize>,
}

/// A write that has a version.
#[derive(Clone, Copy, Debug)]
struct Versioned<'a> {
    table: usize,
    /// In the order of the key's first value, as far as that fits: what is equal in it may still differ.
    prefix: u128,
    values: &'a [Value],
    row: usize,
    write: usize,
}

/// What all rows of a batch write to one table: each key once.
#[derive(Debug)]
pub struct Together<'a> {
    /// The table.
    pub table: &'a Table,
    /// In order of the key; where rows are appended in order of position.
    pub rows: Vec<TogetherRow<'a>>,
}

/// A row of a table.
#[derive(Debug)]
pub struct TogetherRow<'a> {
    /// The position of the record that writes it; of the last one where it is a sum.
    pub position: i64,
    /// Which one of those that its record appends to the table, from 0.
    pub n: i32,
    /// Whether it is marked as deleted.
    pub is_deleted: bool,
    /// For each column its value.
    pub values: Cow<'a, [Value]>,
    /// The writes of its key.
    versions: Range<usize>,
}

/// What the database answered for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of its writes were carried out, but for these, by index, that met something newer.
    Done {
        /// Indices of writes.
        superseded: Vec<usize>,
    },
    /// None was.
    Refused(Refusal),
}

impl Verdict {
    /// All of the row's writes were carried out.
    pub const DONE: Self = Self::Done { superseded: Vec::new() };
}

impl<'a> Writes<'a> {
    /// The writes of `rows`.
    ///
    /// # Errors
    /// When a write does not fit its table's description: a bug in the flow.
    pub fn new(flow: &'a dyn Flow, rows: &'a [Row]) -> Result<Self, Stop> {
        let tables = flow.tables();
        let mut versioned = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            for (number, write) in row.record.writes.iter().enumerate() {
                if let Err(what) = check(tables, write) {
                    let (flow, position) = (flow.name(), row.position);
                    let message = format!("the flow {flow} {what}: the record at {position}");
                    return Err(Stop { kind: StopKind::Data, message });
                }
                if matches!(write.action, Action::Upsert | Action::Delete) {
                    let values = write.values.as_slice();
                    let table = write.table;
                    let prefix =
                        tables[table].key().first().map_or(0, |&column| prefix(&values[column]));
                    versioned.push(Versioned { table, prefix, values, row: index, write: number });
                }
            }
        }
        versioned.sort_by(|one, other| {
            let by_key = compare_keys(tables, one, other);
            by_key.then_with(|| compare(tables[one.table].version(), one.values, other.values))
        });
        // Where a record has several, no single order fits all keys; a deadlock is then an outage.
        let is_single = rows.iter().all(|row| row.record.writes.len() == 1);
        let order = if is_single && versioned.len() == rows.len() {
            versioned.iter().map(|write| write.row).collect()
        } else {
            (0..rows.len()).collect()
        };
        Ok(Self { tables, rows, versioned, order })
    }

    /// The indices of the rows in the order in which they are written one by one.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// What the rows write together, by table; `None` where a sum is too large for 64 bits.
    pub fn together(&self) -> Option<Vec<Together<'a>>> {
        let mut tables: Vec<Together<'a>> =
            self.tables.iter().map(|table| Together { table, rows: Vec::new() }).collect();
        for range in self.keys() {
            let newest = &self.versioned[range.end - 1];
            let row = &self.rows[newest.row];
            tables[newest.table].rows.push(TogetherRow {
                position: row.position,
                n: 0,
                is_deleted: row.record.writes[newest.write].action == Action::Delete,
                values: Cow::Borrowed(newest.values),
                versions: range,
            });
        }
        for row in self.rows {
            let writes = &row.record.writes;
            for (number, write) in writes.iter().enumerate() {
                if matches!(write.action, Action::Append | Action::Add) {
                    tables[write.table].rows.push(TogetherRow {
                        position: row.position,
                        n: number_among(writes, number),
                        is_deleted: false,
                        values: Cow::Borrowed(&write.values),
                        versions: 0..0,
                    });
                }
            }
        }
        for Together { table, rows } in &mut tables {
            if let TableKind::Counters { key } = &table.kind {
                *rows = summed(key, std::mem::take(rows))?;
            }
        }
        tables.retain(|table| !table.rows.is_empty());
        Some(tables)
    }

    /// What the row at this index writes, in its order: by table.
    pub fn alone(&self, index: usize) -> impl Iterator<Item = (&'a Table, TogetherRow<'a>)> {
        let (tables, row) = (self.tables, &self.rows[index]);
        row.record.writes.iter().enumerate().map(move |(number, write)| {
            let alone = TogetherRow {
                position: row.position,
                n: number_among(&row.record.writes, number),
                is_deleted: write.action == Action::Delete,
                values: Cow::Borrowed(&write.values),
                versions: 0..0,
            };
            (&tables[write.table], alone)
        })
    }

    /// Something newer than `row` is in its table, and so newer than all that this batch writes under its key.
    pub fn supersede(&self, row: &TogetherRow<'_>, verdicts: &mut [Verdict]) {
        for write in &self.versioned[row.versions.clone()] {
            if let Verdict::Done { superseded } = &mut verdicts[write.row] {
                superseded.push(write.write);
            }
        }
    }

    /// What became of each row, in order of position, by the `verdicts` in the same order.
    pub fn outcomes(&self, verdicts: &[Verdict]) -> Vec<Outcome> {
        let lasts = |write: &Write| matches!(write.action, Action::Append | Action::Add);
        let lasts =
            |row: &Row| !row.record.publications.is_empty() || row.record.writes.iter().any(lasts);
        let mut has_effect: Vec<bool> = self.rows.iter().map(lasts).collect();
        for range in self.keys() {
            let is_carried_out = |write: &&Versioned<'_>| match &verdicts[write.row] {
                Verdict::Done { superseded } => !superseded.contains(&write.write),
                Verdict::Refused(_) => false,
            };
            if let Some(last) = self.versioned[range].iter().rev().find(is_carried_out) {
                has_effect[last.row] = true;
            }
        }
        let outcome = |((row, verdict), has_effect): ((&Row, &Verdict), bool)| match verdict {
            Verdict::Refused(refusal) => Outcome::Refused(refusal.clone()),
            Verdict::Done { .. } if has_effect => Outcome::Written,
            Verdict::Done { .. } if row.record.writes.is_empty() => Outcome::Skipped,
            Verdict::Done { .. } => Outcome::Superseded,
        };
        self.rows.iter().zip(verdicts).zip(has_effect).map(outcome).collect()
    }

    /// For each key where its versions are.
    fn keys(&self) -> impl Iterator<Item = Range<usize>> {
        let is_same = |one: &Versioned<'_>, other: &Versioned<'_>| {
            compare_keys(self.tables, one, other).is_eq()
        };
        let mut start = 0;
        self.versioned.chunk_by(is_same).map(move |versions| {
            let range = start..start + versions.len();
            start = range.end;
            range
        })
    }
}

/// Which one it is, from 0, of those that its record appends to the same table.
fn number_among(writes: &[Write], number: usize) -> i32 {
    let table = writes[number].table;
    let earlier = writes[..number].iter().filter(|write| write.table == table).count();
    i32::try_from(earlier).unwrap_or(i32::MAX)
}

fn compare_keys(tables: &[Table], one: &Versioned<'_>, other: &Versioned<'_>) -> Ordering {
    (one.table, one.prefix)
        .cmp(&(other.table, other.prefix))
        .then_with(|| compare(tables[one.table].key(), one.values, other.values))
}

/// A number in the order of the values of a column; less exact than they are.
fn prefix(value: &Value) -> u128 {
    match value {
        Value::Uuid(id) => id.as_u128(),
        Value::Integer(number) | Value::Decimal(Decimal { unscaled: number, .. }) => {
            number.abs_diff(i64::MIN).into()
        }
        Value::Text(text) => {
            let mut first = [0; 16];
            let length = text.len().min(first.len());
            first[..length].copy_from_slice(&text.as_bytes()[..length]);
            u128::from_be_bytes(first)
        }
        _ => 0,
    }
}

fn compare(columns: &[usize], one: &[Value], other: &[Value]) -> Ordering {
    let values = columns.iter().map(|&column| one[column].cmp(&other[column]));
    values.fold(Ordering::Equal, Ordering::then)
}

/// One row for each key, in order of the keys.
fn summed<'a>(key: &[usize], mut rows: Vec<TogetherRow<'a>>) -> Option<Vec<TogetherRow<'a>>> {
    rows.sort_by(|one, other| compare(key, &one.values, &other.values));
    let mut sums: Vec<TogetherRow<'a>> = Vec::new();
    for row in rows {
        match sums.last_mut() {
            Some(sum) if compare(key, &sum.values, &row.values).is_eq() => {
                let values = sum.values.to_mut().iter_mut().zip(&*row.values).enumerate();
                for (_, (value, added)) in values.filter(|(column, _)| !key.contains(column)) {
                    *value = sum_of(value, added)?;
                }
                sum.position = row.position;
            }
            _ => sums.push(row),
        }
    }
    Some(sums)
}

fn sum_of(one: &Value, other: &Value) -> Option<Value> {
    Some(match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => Value::Integer(one.checked_add(*other)?),
        (Value::Decimal(one), Value::Decimal(other)) => {
            let unscaled = one.unscaled.checked_add(other.unscaled)?;
            Value::Decimal(Decimal { unscaled, scale: one.scale })
        }
        _ => return None,
    })
}

/// What is wrong with a write.
fn check(tables: &[Table], write: &Write) -> Result<(), String> {
    let Some(table) = tables.get(write.table) else {
        return Err("writes a table that it does not describe".to_owned());
    };
    let fits = match (&table.kind, write.action) {
        (TableKind::Keyed { .. }, Action::Upsert)
        | (TableKind::Appended, Action::Append)
        | (TableKind::Counters { .. }, Action::Add) => true,
        (TableKind::Keyed { marks_deletes, .. }, Action::Delete) => *marks_deletes,
        _ => false,
    };
    let name = &table.name;
    if !fits {
        return Err(format!("writes {name} in a way that its description does not allow"));
    }
    if write.values.len() != table.columns.len() {
        return Err(format!("writes {name} with the wrong number of values"));
    }
    for (index, (column, value)) in table.columns.iter().zip(&write.values).enumerate() {
        let is_left = write.action != Action::Delete || table.outlives_a_delete(index);
        let is_of_kind = match (value, column.kind) {
            (Value::Decimal(decimal), Type::Decimal { scale, .. }) => decimal.scale == scale,
            (value, kind) => value.is(kind),
        };
        if !(is_of_kind && (is_left || *value == Value::Null)) {
            return Err(format!(
                "writes a value into {name}.{} that is not of its type",
                column.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_prefix_has_the_order_of_the_values() {
        let integers = [i64::MIN, -1, 0, 1, i64::MAX].map(Value::Integer);
        let decimals =
            [-150, -7, 0, 99].map(|unscaled| Value::Decimal(Decimal { unscaled, scale: 2 }));
        let ids = [0, 1, 1 << 64, u128::MAX].map(|id| Value::Uuid(Uuid::from_u128(id)));
        let texts =
            ["", "a", "a\0", "a\0b", "aa", "b", "é", "0123456789abcdef", "0123456789abcdefg"];
        let mut texts = texts.map(|text| Value::Text(text.into()));
        texts.sort();
        for values in [&integers[..], &decimals, &ids, &texts] {
            let values: Vec<&Value> = [&Value::Null].into_iter().chain(values).collect();
            assert!(values.is_sorted());
            assert!(values.is_sorted_by_key(|value| prefix(value)), "{values:?}");
        }
        assert_eq!(prefix(&ids[2]), 1 << 64);
    }
}
