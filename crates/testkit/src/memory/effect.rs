//! What records do to tables in memory.

use std::collections::BTreeMap;

use tally_domain::{Action, Table, TableKind, Value, Write};
use tally_ports::{Commit, Outcome, Refusal};

use super::RefusalRule;
use crate::contract::Record;

/// Rows by their keys, by table.
pub(super) type Tables = BTreeMap<String, BTreeMap<Vec<Value>, Record>>;

/// Carries out what the records of a batch write, one after the other, but for those that a rule refuses.
pub(super) fn apply(tables: &mut Tables, rules: &[RefusalRule], commit: &Commit) -> Vec<Outcome> {
    let described = commit.flow.tables();
    let mut last_writer = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(commit.rows.len());
    for (index, row) in commit.rows.iter().enumerate() {
        let writes: Vec<_> = (0..)
            .zip(&row.record.writes)
            .map(|(n, write)| {
                let table = &described[write.table];
                (table, write, made(table, write, commit, row.position, n))
            })
            .collect();
        let refused = writes.iter().find_map(|(_, _, (_, record))| {
            rules.iter().find_map(|rule| rule(commit.flow.name(), record))
        });
        if let Some(code) = refused {
            outcomes.push(Outcome::Refused(Refusal::new(code)));
            continue;
        }
        for (table, write, (key, record)) in writes {
            if write.action == Action::Upsert {
                last_writer.insert((write.table, key.clone()), index);
            }
            tables.entry(table.name.to_string()).or_default().insert(key, record);
        }
        outcomes.push(if row.record.writes.is_empty() {
            Outcome::Skipped
        } else {
            Outcome::Written
        });
    }

    for (index, row) in commit.rows.iter().enumerate() {
        let is_overwritten = |write: &Write| {
            let key = key_of(&described[write.table], write);
            write.action == Action::Upsert
                && last_writer.get(&(write.table, key)).is_some_and(|&last| last != index)
        };
        if outcomes[index] == Outcome::Written && row.record.writes.iter().all(is_overwritten) {
            outcomes[index] = Outcome::Superseded;
        }
    }
    outcomes
}

fn key_of(table: &Table, write: &Write) -> Vec<Value> {
    table.key().iter().map(|&index| write.values[index].clone()).collect()
}

/// The row that a write makes, and its key.
fn made(
    table: &Table,
    write: &Write,
    commit: &Commit,
    position: i64,
    n: i64,
) -> (Vec<Value>, Record) {
    let names = table.columns.iter().map(|column| column.name.to_string());
    let own = names.zip(write.values.iter().map(text));
    let stream = &*commit.stream;
    let (key, added) = match &table.kind {
        TableKind::Appended => {
            let place = [
                ("flow", Value::Text(stream.flow.as_str().into())),
                ("stream", Value::Text(stream.name.as_str().into())),
                ("partition", Value::Integer(stream.partition.into())),
                ("log", Value::Integer(commit.log)),
                ("position", Value::Integer(position)),
                ("n", Value::Integer(n)),
            ];
            (place.iter().map(|(_, value)| value.clone()).collect(), place.to_vec())
        }
        TableKind::Keyed { .. } | TableKind::Counters { .. } => {
            let origin = Value::Integer(commit.lease.position);
            let place = [("origin", origin), ("position", Value::Integer(position))];
            (key_of(table, write), place.to_vec())
        }
    };
    let added = added.into_iter().map(|(name, value)| (name.to_owned(), text(&value)));
    (key, own.chain(added).collect())
}

/// As a database shows it.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Decimal(decimal) => decimal.to_string(),
        Value::Uuid(id) => id.to_string(),
        Value::Text(text) | Value::Json(text) => text.to_string(),
        Value::Timestamp(at) => at.to_string(),
        Value::Instant(at) => at.to_string(),
    })
}
