//! Builders of what crosses the ports.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::DateTime;
use serde_json::json;
use tally_domain::amount::Notation;
use tally_domain::quality::{Finding, Report};
use tally_domain::transactions::Transactions;
use tally_domain::{Field, Fields, Flow, Incoming, Raw, Reason, Record, Stage, Value};
use tally_ports::publish::default_topics;
use tally_ports::{
    Act, Begin, Commit, DeadLetter, Passed, Position, Row, Stream, Tolerance, Worker,
};
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::alerts::Alerts;
use crate::visits::Visits;

/// A lease that no test outlives.
pub const LONG: Duration = Duration::from_mins(1);

/// Another pass after a finished one.
pub const AGAIN: Begin = Begin { at: 0, again: true };

/// No pass of fewer than 20 records is rejected, nor one of which a tenth is good.
pub const TOLERANCE: Tolerance = Tolerance { least: 20, ratio: 0.9 };

/// Partition 0 of a stream of the flow `F`.
pub fn stream<F: Flow + Default>(name: &str) -> Arc<Stream> {
    Arc::new(Stream {
        flow: F::default().name().to_owned(),
        name: name.to_owned(),
        partition: 0,
        label: format!("{name}.csv"),
    })
}

/// A worker on the partitions of the stream `name` of the flow `F`.
pub fn worker<F: Flow + Default>(id: &str, name: &str) -> Worker {
    Worker {
        id: id.into(),
        flow: F::default().name().to_owned(),
        stream: name.to_owned(),
        host: "here".to_owned(),
        pid: 4_711,
    }
}

/// An act of `ann` on positions, because of `reason`.
pub fn act(reason: &str) -> Act {
    Act {
        who: "ann".to_owned(),
        verb: "positions set",
        flow: Transactions::NAME.to_owned(),
        target: "group/topic/0".to_owned(),
        reason: reason.to_owned(),
        result: json!({ "to": 7 }),
    }
}

/// A transaction as it is read; valid unless `amount` is not. A negative amount is a debit.
pub fn fields(id: u128, amount: &str) -> Fields {
    let side = if amount.starts_with('-') { "debit" } else { "credit" };
    let texts = [
        &*id.to_string(),
        "CB BOULANGERIE \"L'Épi d'or\"",
        amount,
        "2024-01-15 08:30:00.25",
        "L'Épi d'or",
        "payment",
        side,
    ];
    texts.into_iter().map(|text| Field::Text(text.into())).collect()
}

/// The transaction of valid `fields` that the model has put into a category.
pub fn record(fields: Fields, category: &'static str) -> Record {
    let raw = Raw::default();
    let incoming = Incoming { fields, notation: Notation::Plain, raw: &raw };
    let mut record = Transactions::default().read(incoming).expect("a valid transaction");
    *record.writes[0].values.last_mut().expect("the category") = Value::Text(category.into());
    record
}

/// A valid transaction of the category `Food`.
pub fn transaction(id: u128, amount: &str) -> Record {
    record(fields(id, amount), "Food")
}

/// A row of a valid transaction.
pub fn row(position: i64, id: u128, amount: &str) -> Row {
    let payload = Bytes::from(format!("{id},{amount}"));
    let raw = Raw { key: Some(id.to_string().into()), payload: Some(payload), ..Raw::default() };
    Row { position, record: transaction(id, amount), raw }
}

/// Rows of valid transactions, each with an id of its own: its position.
pub fn rows(positions: RangeInclusive<i64>) -> Vec<Row> {
    positions.map(|position| row(position, position.unsigned_abs().into(), "-12.34")).collect()
}

/// A dead letter of a record that could not be decoded, U+0000 in its payload, two headers and a timestamp.
pub fn dead_letter(position: i64) -> DeadLetter {
    let headers = [("csv.header", &b"id,amount"[..]), ("x", &[0, 255])];
    let raw = Raw {
        key: Some(Bytes::from_static(b"\0key")),
        payload: Some(Bytes::from_static(b"7,\0,\xff\xfe")),
        headers: headers
            .map(|(name, value)| (name.to_owned(), Some(Bytes::from_static(value))))
            .into(),
        timestamp: DateTime::from_timestamp_millis(1_705_307_400_120),
        line: None,
    };
    DeadLetter::first(
        position,
        Reason::new(Stage::Decode, "fields", "the record has too few fields"),
        raw,
    )
}

/// The test flow of this name.
pub fn flow_named(name: &str) -> Arc<dyn Flow> {
    match name {
        Transactions::NAME => Arc::new(Transactions::default()),
        Visits::NAME => Arc::new(Visits::default()),
        Accounts::NAME => Arc::new(Accounts::default()),
        Alerts::NAME => Arc::new(Alerts),
        _ => panic!("no flow {name}"),
    }
}

/// A batch over `positions`, every one of them a row or a dead letter, as the next commit of `position`.
pub fn commit(
    position: &Position,
    stream: &Arc<Stream>,
    positions: RangeInclusive<i64>,
    rows: Vec<Row>,
    dead_letters: Vec<DeadLetter>,
) -> Commit {
    let read = i64::try_from(rows.len() + dead_letters.len()).expect("a small batch");
    Commit {
        flow: flow_named(&stream.flow),
        id: Uuid::now_v7(),
        stream: Arc::clone(stream),
        lease: position.lease,
        worker: "worker-1".into(),
        pass: position.pass,
        log: position.log,
        first: *positions.start(),
        last: *positions.end(),
        read,
        rows,
        dead_letters,
        topics: default_topics(&*flow_named(&stream.flow)),
        cursor: json!({ "byte": 100 * (positions.end() + 1) }),
        stats: serde_json::Value::Null,
        quality: Report::from([("missing_merchant".to_owned(), finding())]),
        passed: Passed::default(),
        started: Instant::now(),
        mask: None,
        dead_letter_budget: None,
    }
}

/// A batch over `positions` with [`rows`] only.
pub fn plain_commit(
    position: &Position,
    stream: &Arc<Stream>,
    positions: RangeInclusive<i64>,
) -> Commit {
    commit(position, stream, positions.clone(), rows(positions), Vec::new())
}

/// A batch over `positions` of which the first `dead_letters` are [dead letters](dead_letter) and the others [`rows`].
pub fn mixed_commit(
    position: &Position,
    stream: &Arc<Stream>,
    positions: RangeInclusive<i64>,
    dead_letters: i64,
) -> Commit {
    let first_row = positions.start() + dead_letters;
    let letters = (*positions.start()..first_row).map(dead_letter).collect();
    let rows = rows(first_row..=*positions.end());
    commit(position, stream, positions, rows, letters)
}

fn finding() -> Finding {
    Finding { count: 1, rate: Some(0.1), records: 10, above_threshold: false, positions: vec![3] }
}
