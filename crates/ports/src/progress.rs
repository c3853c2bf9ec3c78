//! How far what a partition publishes in transactions goes.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use tally_domain::{Action, Flow, Reason, Value, Write};
use uuid::Uuid;

use crate::{Commit, Earlier, Passed, Row, Stop, StopKind, Writes};

/// 128 bits.
const DIGEST_DIGITS: usize = 32;
const DIGEST_PIECE: usize = 64 * 1024;

/// What the last transaction of a partition says. It stands in the progress topic, and is there if and only if the
/// records of the transaction are. Each transaction repeats what it does not change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The epoch of the lease under which it was written.
    pub epoch: i64,
    /// The last batch that was published before its commit to the database.
    pub batch: Option<PublishedBatch>,
    /// The last records of the outbox.
    pub outbox: Option<PublishedOutbox>,
}

/// A batch that was published: all that its commit to the database says, but for what is read again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedBatch {
    /// Its id in the ledger.
    pub id: Uuid,
    /// Which reading of the stream it is of.
    pub pass: i32,
    /// Which log of that name.
    pub log: i64,
    pub first: i64,
    pub last: i64,
    /// How many records were read.
    pub read: i64,
    /// Of the keys and payloads of the records that are no dead letters.
    pub digest: String,
    /// As the ledger has it.
    pub passed: Json,
    /// The records that have no effect by the flow's rule: ranges of positions, inclusive.
    pub skipped: Vec<(i64, i64)>,
    /// Why records became dead letters, by position.
    pub dead_letters: Vec<(i64, Reason)>,
    /// What all records together add to counters.
    pub added: Vec<Added>,
}

/// Numbers that are added to the counters of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Added {
    /// The table's name.
    pub table: String,
    /// For each column of the table its value.
    pub values: Vec<Box<RawValue>>,
}

/// Records of an outbox that were published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedOutbox {
    /// The number of the first one.
    pub first: i64,
    /// Its `tally.id`.
    pub first_id: String,
    /// The number of the last one.
    pub last: i64,
}

/// How far the database is with a batch that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// It is committed, or an operator has set the position since.
    Settled,
    /// It is the next one to be committed.
    Pending,
    /// The database knows nothing of what precedes it.
    Ahead,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.epoch)?;
        if let Some(PublishedBatch { pass, log, first, last, .. }) = &self.batch {
            write!(f, " published positions {first} to {last} of pass {pass} over log {log}")?;
        }
        if let Some(outbox) = &self.outbox {
            write!(f, " and the outbox up to its record {}", outbox.last)?;
        }
        Ok(())
    }
}

impl PublishedBatch {
    /// The batch of `commit`, whose model has answered, where earlier passes left `earlier`.
    ///
    /// # Errors
    /// When a record does not fit the flow's description: a bug in the flow.
    pub fn new(commit: &Commit, earlier: &Earlier) -> Result<Self, Stop> {
        let mut skipped: Vec<(i64, i64)> = Vec::new();
        for row in commit.rows.iter().filter(|row| is_skipped(row)) {
            match skipped.last_mut() {
                Some((_, last)) if *last + 1 == row.position => *last = row.position,
                _ => skipped.push((row.position, row.position)),
            }
        }
        let letters = commit.dead_letters.iter();
        Ok(Self {
            id: commit.id,
            pass: commit.pass,
            log: commit.log,
            first: commit.first,
            last: commit.last,
            read: commit.read,
            digest: digest(&commit.rows),
            passed: commit.passed.to_json(),
            skipped,
            dead_letters: letters.map(|letter| (letter.position, letter.reason.clone())).collect(),
            added: added(&*commit.flow, &earlier.without_counted(&commit.rows))?,
        })
    }

    /// How far a database is with it whose position is `next` in that pass over the log.
    pub fn state(&self, log: i64, pass: i32, next: i64) -> BatchState {
        let of_pass = (self.log, self.pass).cmp(&(log, pass));
        if of_pass.is_lt() || (of_pass.is_eq() && self.last < next) {
            BatchState::Settled
        } else if of_pass.is_eq() && self.first == next {
            BatchState::Pending
        } else {
            BatchState::Ahead
        }
    }

    /// The positions without a record; `None` where the ledger knows no such reason.
    pub fn passed(&self) -> Option<Passed> {
        Passed::from_json(&self.passed)
    }

    /// Whether the record at this position has no effect.
    pub fn has_skipped(&self, position: i64) -> bool {
        self.skipped.iter().any(|(first, last)| (*first..=*last).contains(&position))
    }

    /// What is added to counters.
    ///
    /// # Errors
    /// When the flow does not describe it.
    pub fn writes(&self, flow: &dyn Flow) -> Result<Vec<Write>, Stop> {
        let write = |added: &Added| {
            let table = flow.tables().iter().position(|table| table.name == added.table)?;
            let kinds = flow.tables()[table].columns.iter().map(|column| column.kind);
            let values = kinds.zip(&added.values).map(|(kind, json)| Value::from_json(kind, json));
            let values = values.collect::<Option<Vec<_>>>()?;
            Some(Write { table, action: Action::Add, values })
        };
        let write = |added: &Added| {
            write(added).ok_or_else(|| Stop {
                kind: StopKind::Data,
                message: format!(
                    "the flow {} does not describe what its published batch {} adds to {}",
                    flow.name(),
                    self.id,
                    added.table
                ),
            })
        };
        self.added.iter().map(write).collect()
    }
}

/// Of the keys and payloads of the rows, in hexadecimal digits.
pub fn digest(rows: &[Row]) -> String {
    let mut hasher = blake3::Hasher::new();
    // It takes long pieces much faster than short ones.
    let mut piece = Vec::new();
    for Row { position, raw, .. } in rows {
        piece.extend_from_slice(&position.to_be_bytes());
        for part in [&raw.key, &raw.payload] {
            let length = part.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64);
            piece.extend_from_slice(&length.to_be_bytes());
            piece.extend_from_slice(part.as_deref().unwrap_or_default());
        }
        if piece.len() >= DIGEST_PIECE {
            hasher.update(&piece);
            piece.clear();
        }
    }
    hasher.update(&piece);
    hasher.finalize().to_hex()[..DIGEST_DIGITS].to_owned()
}

/// By the flow's rule, whatever earlier passes did.
fn is_skipped(row: &Row) -> bool {
    row.record.writes.is_empty() && row.record.publications.is_empty()
}

/// By table and key; a sum that is too large for 64 bits is left in its parts.
fn added(flow: &dyn Flow, rows: &[Row]) -> Result<Vec<Added>, Stop> {
    let unfit = |error: serde_json::Error| Stop {
        kind: StopKind::Data,
        message: format!("what the flow {} adds to counters is no JSON: {error}", flow.name()),
    };
    let added = |table: &str, values: &[Value]| {
        let values = values.iter().map(serde_json::value::to_raw_value);
        let values = values.collect::<Result<_, _>>().map_err(unfit)?;
        Ok(Added { table: table.to_owned(), values })
    };
    let writes = Writes::new(flow, rows)?;
    if let Some(tables) = writes.together() {
        let rows = tables.iter().flat_map(|of| of.rows.iter().map(|row| (&*of.table.name, row)));
        return rows.map(|(table, row)| added(table, &row.values)).collect();
    }
    let alone = (0..rows.len()).flat_map(|index| writes.alone(index));
    alone.map(|(table, row)| added(&table.name, &row.values)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_stands_beside_a_position() {
        let batch = PublishedBatch {
            id: Uuid::nil(),
            pass: 2,
            log: 1,
            first: 10,
            last: 19,
            read: 10,
            digest: String::new(),
            passed: Passed::default().to_json(),
            skipped: Vec::new(),
            dead_letters: Vec::new(),
            added: Vec::new(),
        };
        for (log, pass, next, expected) in [
            (1, 2, 20, BatchState::Settled),
            (1, 2, 25, BatchState::Settled),
            (1, 3, 0, BatchState::Settled),
            (2, 3, 10, BatchState::Settled),
            (1, 2, 10, BatchState::Pending),
            (1, 2, 9, BatchState::Ahead),
            (1, 2, 15, BatchState::Ahead),
            (1, 1, 20, BatchState::Ahead),
        ] {
            assert_eq!(batch.state(log, pass, next), expected, "{log} {pass} {next}");
        }
    }
}
