//! The greatest counters of a table.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use tally_domain::CounterTable;
use tally_ports::{Greatest, KeyCount};

use crate::writes::{Dialect, quoted};

/// The greatest counters, at most `$1`, each beside the sum of all: one statement, so one snapshot.
pub fn greatest(dialect: &Dialect, table: CounterTable<'_>) -> String {
    let CounterTable { name, key, number } = table;
    let (name, number) = (quoted(name), quoted(&number.name));
    let kind = key.kind;
    let key = format!("t.{}", quoted(&key.name));
    let (text, ordered) = ((dialect.text)(kind, &key), (dialect.ordered)(kind, key));
    format!(
        "select {text} as key, t.{number} as number, (select cast(sum(s.{number}) as bigint) from {name} as s) as total \
         from {name} as t order by t.{number} desc, {ordered} limit $1"
    )
}

/// The value of `$1`.
pub fn limit(limit: Option<usize>) -> i64 {
    limit.and_then(|limit| limit.try_into().ok()).unwrap_or(i64::MAX)
}

/// A row of [`greatest`].
#[derive(QueryableByName)]
pub struct CountRow {
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    total: i64,
}

impl CountRow {
    pub fn greatest(rows: Vec<Self>) -> Greatest {
        let total = rows.first().map_or(0, |row| row.total);
        let counts =
            rows.into_iter().map(|Self { key, number, .. }| KeyCount { key, count: number });
        Greatest { counts: counts.collect(), total }
    }
}
