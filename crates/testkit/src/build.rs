//! Builders of what crosses the ports.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tally_domain::amount::Notation;
use tally_domain::quality::{Finding, Report};
use tally_domain::transactions::{Transaction, Transactions, Wire};
use tally_domain::{Flow, Reason, Stage};
use tally_ports::{Act, Begin, Commit, DeadLetter, Position, Raw, Row, Stream, Tolerance, Worker};
use uuid::Uuid;

/// A lease that no test outlives.
pub const LONG: Duration = Duration::from_mins(1);

/// Another pass after a finished one.
pub const AGAIN: Begin = Begin { at: 0, again: true };

/// No pass of fewer than 20 records is rejected, nor one of which a tenth is good.
pub const TOLERANCE: Tolerance = Tolerance { least: 20, ratio: 0.9 };

/// Partition 0 of a stream of the flow `F`.
pub fn stream<F: Flow>(name: &str) -> Arc<Stream> {
    Arc::new(Stream {
        flow: F::NAME,
        name: name.to_owned(),
        partition: 0,
        label: format!("{name}.csv"),
    })
}

/// A worker on the partitions of the stream `name` of the flow `F`.
pub fn worker<F: Flow>(id: &str, name: &str) -> Worker {
    Worker {
        id: id.into(),
        flow: F::NAME,
        stream: name.to_owned(),
        host: "here".to_owned(),
        pid: 4_711,
    }
}

/// What somebody called `ann` does to positions, because of `reason`.
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
pub fn wire(id: u128, amount: &str) -> Wire {
    let text = |text: &str| Some(text.to_owned());
    Wire {
        id: Some(id.to_string()),
        description: text("CB BOULANGERIE \"L'Épi d'or\""),
        amount: text(amount),
        timestamp: text("2024-01-15 08:30:00.25"),
        merchant: text("L'Épi d'or"),
        operation_type: text("payment"),
        side: text(if amount.starts_with('-') { "debit" } else { "credit" }),
    }
}

/// A valid transaction.
pub fn transaction(id: u128, amount: &str) -> Transaction {
    Transactions::validate(wire(id, amount), Notation::Plain).expect("a valid transaction")
}

/// A row of a valid transaction.
pub fn row(position: i64, id: u128, amount: &str) -> Row<Transactions> {
    let payload = Bytes::from(format!("{id},{amount}"));
    let raw = Raw { key: Some(id.to_string().into()), payload: Some(payload), ..Raw::default() };
    Row { position, record: transaction(id, amount), answer: "Food".to_owned(), raw }
}

/// Rows of valid transactions, each with an id of its own: its position.
pub fn rows(positions: RangeInclusive<i64>) -> Vec<Row<Transactions>> {
    positions.map(|position| row(position, position.unsigned_abs().into(), "-12.34")).collect()
}

/// A dead letter of a record that could not be decoded, U+0000 in its payload and two headers.
pub fn dead_letter(position: i64) -> DeadLetter {
    let headers = [("csv.header", &b"id,amount"[..]), ("x", &[0, 255])];
    let raw = Raw {
        key: Some(Bytes::from_static(b"\0key")),
        payload: Some(Bytes::from_static(b"7,\0,\xff\xfe")),
        headers: headers.map(|(name, value)| (name.to_owned(), Bytes::from_static(value))).into(),
        line: None,
    };
    DeadLetter::first(
        position,
        Reason::new(Stage::Decode, "fields", "the record has too few fields"),
        raw,
    )
}

/// A batch over `positions`, every one of them a row or a dead letter, as the next commit of `position`.
pub fn commit<F: Flow>(
    position: &Position,
    stream: &Arc<Stream>,
    positions: RangeInclusive<i64>,
    rows: Vec<Row<F>>,
    dead_letters: Vec<DeadLetter>,
) -> Commit<F> {
    let read = i64::try_from(rows.len() + dead_letters.len()).expect("a small batch");
    Commit {
        id: Uuid::now_v7(),
        stream: Arc::clone(stream),
        lease: position.lease,
        worker: "worker-1".into(),
        pass: position.pass,
        first: *positions.start(),
        last: *positions.end(),
        read,
        rows,
        dead_letters,
        cursor: json!({ "byte": 100 * (positions.end() + 1) }),
        stats: Value::Null,
        quality: Report::from([("missing_merchant".to_owned(), finding())]),
        gap: None,
        started: Instant::now(),
        mask: None,
        admission: None,
    }
}

/// A batch over `positions` with [`rows`] only.
pub fn plain_commit(
    position: &Position,
    stream: &Arc<Stream>,
    positions: RangeInclusive<i64>,
) -> Commit<Transactions> {
    commit(position, stream, positions.clone(), rows(positions), Vec::new())
}

/// A batch over `positions` of which the first `dead_letters` are [dead letters](dead_letter) and the others [`rows`].
pub fn mixed_commit(
    position: &Position,
    stream: &Arc<Stream>,
    positions: RangeInclusive<i64>,
    dead_letters: i64,
) -> Commit<Transactions> {
    let first_row = positions.start() + dead_letters;
    let letters = (*positions.start()..first_row).map(dead_letter).collect();
    let rows = rows(first_row..=*positions.end());
    commit(position, stream, positions, rows, letters)
}

fn finding() -> Finding {
    Finding { count: 1, rate: 0.1, above_threshold: false, positions: vec![3] }
}
