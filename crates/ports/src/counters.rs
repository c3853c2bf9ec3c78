//! Counters by size.

use std::future::Future;

use tally_domain::CounterTable;

use crate::Fault;

/// Reads counters.
pub trait Counters: Send + Sync + 'static {
    /// The greatest counters of `table`, at most `limit`, if there is one, and the sum of all, in one snapshot. The greatest
    /// comes first; equal ones are in the order of their keys, texts byte by byte.
    fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> impl Future<Output = Result<Greatest, Fault>> + Send;
}

/// The greatest counters of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greatest {
    /// In order.
    pub counts: Vec<KeyCount>,
    /// The sum of all counters of the table.
    pub total: i64,
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCount {
    /// The text of its key; times are in UTC.
    pub key: String,
    pub count: i64,
}
