//! What records do to tables in memory.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use tally_domain::{Decimal, Table, TableKind, Value, Version};
use tally_ports::{Commit, Origin, Outcome, Refusal, Row, Stop, TogetherRow, Verdict, Writes};

use super::{PositionRow, RefusalRule};
use crate::contract::Record;

/// Rows by their keys, by table.
pub(super) type Tables = BTreeMap<String, BTreeMap<Vec<Value>, Stored>>;

/// A row.
#[derive(Clone)]
pub(super) struct Stored {
    values: Vec<Value>,
    origin: i64,
    position: i64,
    /// As a database shows it.
    pub(super) record: Record,
}

/// Carries out what the `rows` of a batch write, one after the other, but for those that a rule refuses.
pub(super) fn apply(
    tables: &mut Tables,
    rules: &[RefusalRule],
    positions: &[PositionRow],
    commit: &Commit,
    rows: &[Row],
    now: NaiveDateTime,
) -> Result<Vec<Outcome>, Stop> {
    let origin = commit.origin();
    clear(tables, &origin, commit.first, commit.last);
    let writes = Writes::new(origin.flow, rows)?;
    let mut verdicts = vec![Verdict::DONE; rows.len()];
    for &index in writes.order() {
        verdicts[index] = write_row(tables, rules, positions, &origin, &writes, index, now);
    }
    Ok(writes.outcomes(&verdicts))
}

/// Deletes what an earlier reading of these positions appended.
fn clear(tables: &mut Tables, origin: &Origin<'_>, first: i64, last: i64) {
    for table in origin.flow.tables().iter().filter(|table| table.kind == TableKind::Appended) {
        let log = log_key(origin);
        let is_earlier = |key: &Vec<Value>| {
            let Value::Integer(position) = key[4] else { unreachable!("as it was appended") };
            key[..4] == log && (first..=last).contains(&position)
        };
        tables.entry(table.name.to_string()).or_default().retain(|key, _| !is_earlier(key));
    }
}

fn log_key(origin: &Origin<'_>) -> [Value; 4] {
    [
        Value::Text(origin.flow.name().into()),
        Value::Text(origin.stream.into()),
        Value::Integer(origin.partition.into()),
        Value::Integer(origin.log),
    ]
}

/// All that a record writes, or nothing.
fn write_row(
    tables: &mut Tables,
    rules: &[RefusalRule],
    positions: &[PositionRow],
    origin: &Origin<'_>,
    writes: &Writes<'_>,
    index: usize,
    now: NaiveDateTime,
) -> Verdict {
    let mut superseded = Vec::new();
    let mut before = Vec::new();
    for (number, (table, row)) in writes.alone(index).enumerate() {
        let rows = tables.entry(table.name.to_string()).or_default();
        let key = key_of(table, origin, &row);
        let found = rows.get(&key);
        if found.is_some_and(|found| !wins(table, positions, origin, found, &row)) {
            superseded.push(number);
            continue;
        }
        let stored = made(table, origin, found, &row, now);
        if let Some(code) = rules.iter().find_map(|rule| rule(origin.flow.name(), &stored.record)) {
            for (name, key, stored) in before.into_iter().rev() {
                let rows: &mut BTreeMap<Vec<Value>, Stored> = tables.entry(name).or_default();
                match stored {
                    Some(stored) => rows.insert(key, stored),
                    None => rows.remove(&key),
                };
            }
            return Verdict::Refused(Refusal::new(code));
        }
        let replaced = rows.insert(key.clone(), stored);
        before.push((table.name.to_string(), key, replaced));
    }
    Verdict::Done { superseded }
}

fn key_of(table: &Table, origin: &Origin<'_>, row: &TogetherRow<'_>) -> Vec<Value> {
    match &table.kind {
        TableKind::Appended => {
            let number = [Value::Integer(row.position), Value::Integer(row.n.into())];
            log_key(origin).into_iter().chain(number).collect()
        }
        TableKind::Keyed { key, .. } | TableKind::Counters { key } => {
            key.iter().map(|&column| row.values[column].clone()).collect()
        }
    }
}

/// Whether a row takes the place of the one that is found under its key.
fn wins(
    table: &Table,
    positions: &[PositionRow],
    origin: &Origin<'_>,
    found: &Stored,
    row: &TogetherRow<'_>,
) -> bool {
    let TableKind::Keyed { version, .. } = &table.kind else { return true };
    let by_position = || {
        let index = usize::try_from(found.origin - 1).expect("an id");
        let PositionRow { stream, log, .. } = &positions[index];
        let is_elsewhere = (&*stream.name, stream.partition) != (origin.stream, origin.partition);
        is_elsewhere || (*log, found.position) <= (origin.log, row.position)
    };
    match version {
        Version::LastWrite => true,
        Version::Position => by_position(),
        Version::Columns(columns) => {
            let version = |values: &[Value]| -> Vec<Value> {
                columns.iter().map(|&column| values[column].clone()).collect()
            };
            let (stored, written) = (version(&found.values), version(&row.values));
            stored < written || stored == written && by_position()
        }
    }
}

fn made(
    table: &Table,
    origin: &Origin<'_>,
    found: Option<&Stored>,
    row: &TogetherRow<'_>,
    now: NaiveDateTime,
) -> Stored {
    let mut values = row.values.to_vec();
    let mut added = Vec::new();
    match &table.kind {
        TableKind::Counters { key } => {
            let counters = (0..values.len()).filter(|column| !key.contains(column));
            for column in counters {
                if let Some(found) = found {
                    values[column] = sum_of(&found.values[column], &values[column]);
                }
            }
        }
        TableKind::Appended => {
            let names = ["flow", "stream", "partition", "log", "position", "n"];
            added.extend(names.into_iter().zip(key_of(table, origin, row)));
        }
        TableKind::Keyed { marks_deletes, .. } => {
            if *marks_deletes {
                let deleted = if row.is_deleted { Value::Timestamp(now) } else { Value::Null };
                added.push(("deleted_at", deleted));
            }
            added.push(("origin", Value::Integer(origin.id)));
            added.push(("position", Value::Integer(row.position)));
        }
    }
    let own = table.columns.iter().map(|column| &*column.name).zip(&values);
    let all = own.chain(added.iter().map(|(name, value)| (*name, value)));
    let record = all.map(|(name, value)| (name.to_owned(), text(value))).collect();
    Stored { values, origin: origin.id, position: row.position, record }
}

fn sum_of(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => Value::Integer(one + other),
        (Value::Decimal(one), Value::Decimal(other)) => {
            Value::Decimal(Decimal { unscaled: one.unscaled + other.unscaled, scale: one.scale })
        }
        _ => panic!("a counter that is no number"),
    }
}

/// As a database shows it.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Decimal(decimal) => decimal.to_string(),
        Value::Uuid(id) => id.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Json(text) => text.to_string(),
        Value::Timestamp(at) => at.to_string(),
        Value::Instant(at) => at.naive_utc().to_string(),
    })
}
