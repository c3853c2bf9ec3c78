//! What a flow's rows are in memory.

use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::Row;

use crate::contract::{Record, TRANSACTIONS, VISITS};
use crate::visits::Visits;

/// A flow whose rows replace each other by a key.
pub trait MemoryEffect: Flow {
    /// The key of a row of the source `origin`; rows are listed in its order.
    fn key(origin: i64, row: &Row<Self>) -> String;

    /// The row as texts.
    fn record(origin: i64, row: &Row<Self>) -> Record;
}

impl MemoryEffect for Transactions {
    fn key(_: i64, row: &Row<Self>) -> String {
        row.record.id().to_string()
    }

    fn record(origin: i64, row: &Row<Self>) -> Record {
        let record = &row.record;
        TRANSACTIONS.record([
            Some(record.id().to_string()),
            Some(record.description().to_owned()),
            Some(record.amount().to_string()),
            Some(record.timestamp().to_string()),
            record.merchant().map(str::to_owned),
            Some(record.operation_type().to_owned()),
            Some(record.side().as_str().to_owned()),
            Some(row.answer.clone()),
            Some(origin.to_string()),
            Some(row.position.to_string()),
        ])
    }
}

impl MemoryEffect for Visits {
    fn key(origin: i64, row: &Row<Self>) -> String {
        format!("{origin:020} {:020}", row.position)
    }

    fn record(origin: i64, row: &Row<Self>) -> Record {
        let visit = &row.record;
        let texts = [
            origin.to_string(),
            row.position.to_string(),
            visit.who.clone(),
            visit.page.clone(),
            visit.at.to_string(),
        ];
        VISITS.record(texts.map(Some))
    }
}
