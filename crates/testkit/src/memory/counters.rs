//! Counters by size, in memory.

use std::cmp::Reverse;

use tally_domain::CounterTable;
use tally_ports::{Counters, Fault, Greatest, KeyCount};

use super::MemoryStore;

impl Counters for MemoryStore {
    async fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> Result<Greatest, Fault> {
        let rows = self.rows(table.name);
        let counts = rows.iter().map(|row| KeyCount {
            key: row[&table.key.name].to_owned(),
            count: row.number(&table.number.name),
        });
        let mut counts: Vec<KeyCount> = counts.collect();
        let total = counts.iter().map(|counted| counted.count).sum();
        // The rows are in the order of their keys, which equal ones keep.
        counts.sort_by_key(|counted| Reverse(counted.count));
        counts.truncate(limit.unwrap_or(usize::MAX));
        Ok(Greatest { counts, total })
    }
}
