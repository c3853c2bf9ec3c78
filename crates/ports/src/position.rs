//! How far a partition was read, and who may go on.

use std::time::Duration;

use chrono::NaiveDateTime;
use serde_json::Value;

use crate::{Fault, StopKind};

/// The prefix of the names of files' streams, and of no other stream's.
pub const FILE: &str = "file/";

/// A partition of a stream, as the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The flow's name.
    pub flow: String,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub name: String,
    /// 0 for a file.
    pub partition: i32,
    /// Its label: a topic or a path.
    pub label: String,
}

/// The right to commit: good as long as the position's row has this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The position's row; the origin of the rows it leads to.
    pub position_id: i64,
    /// Raised by every claim.
    pub epoch: i64,
    /// How long the lease lives unless it is renewed.
    pub duration: Duration,
}

impl Lease {
    /// Another process owns what this lease was for.
    pub fn taken(&self) -> Fault {
        let Self { position_id: position, epoch, .. } = self;
        let message = format!(
            "the lease of position {position} (epoch {epoch}) is no longer ours: another process took it"
        );
        Fault::stop(StopKind::Taken, message)
    }
}

/// Where to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The right to commit.
    pub lease: Lease,
    /// Which reading of the stream this is, from 1.
    pub pass: i32,
    /// Which log of that name it is, from 1: raised by an accepted restart of a recreated topic.
    pub log: i64,
    /// The next position to read.
    pub next: i64,
    /// The source's cursor there; null at the start.
    pub cursor: Value,
    /// What the flow remembers of earlier batches; null at the start.
    pub stats: Value,
}

/// Which pass a claim begins where none is in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// The first position of the partition's first pass.
    pub at: i64,
    /// Whether a finished pass is followed by another one, from 0 on.
    pub again: bool,
}

/// Where a position is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetTo {
    /// The next position to read.
    pub next: i64,
    /// Whether the topic was recreated: what is read from now on is another log of the same name.
    pub is_recreated: bool,
    /// The source's cursor there.
    pub cursor: Value,
    /// The last pass and its next position that this was decided upon, (0, 0) if there was none; none where it does not
    /// matter.
    pub seen: Option<(i32, i64)>,
}

impl From<i64> for SetTo {
    fn from(next: i64) -> Self {
        Self { next, is_recreated: false, cursor: Value::Null, seen: None }
    }
}

/// The state of the last pass over a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    pub partition: i32,
    /// Which reading of the stream this is, from 1.
    pub pass: i32,
    /// The next position to read.
    pub next: i64,
    /// The source's cursor there.
    pub cursor: Value,
    /// The owner of a live lease.
    pub owner: Option<String>,
    /// When it was last changed, in UTC.
    pub updated_at: NaiveDateTime,
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is ours.
    Owned(Position),
    /// Another owner's lease is alive.
    Held {
        owner: String,
        /// How long the lease lives unless it is renewed.
        remaining: Duration,
        /// Grows whenever the owner renews: equal values mean that it did not. Falls when the store's clock went back.
        renewal: NaiveDateTime,
    },
    /// The last pass was finished and no other was requested.
    Finished(Finished),
}

/// A finished pass, by its ledger entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// When it was finished, in UTC.
    pub at: NaiveDateTime,
    /// How many records it read.
    pub read: i64,
    /// How many of them became dead letters.
    pub dead_lettered: i64,
    /// Whether these were more than the [`Tolerance`] allowed.
    pub is_rejected: bool,
}

/// How many records of a whole pass may become dead letters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// A pass of fewer records is never rejected.
    pub least: i64,
    /// The greatest share of dead letters, 0 to 1.
    pub ratio: f64,
}

impl Tolerance {
    /// Whether `dead_lettered` of `read` records are a greater share than allowed.
    #[expect(clippy::cast_precision_loss, reason = "a pass is far below 2^52 records")]
    pub fn is_exceeded(&self, read: i64, dead_lettered: i64) -> bool {
        // The share itself, as 0.29 * 100.0 is below 29.
        read > 0 && read >= self.least && dead_lettered as f64 / read as f64 > self.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_itself_is_allowed() {
        for percent in 1..100 {
            let ratio = format!("0.{percent:02}").parse().unwrap();
            let tolerance = Tolerance { least: 20, ratio };
            assert!(!tolerance.is_exceeded(100, percent), "{ratio}");
            assert!(tolerance.is_exceeded(100, percent + 1), "{ratio}");
        }
        assert!(!Tolerance { least: 0, ratio: 0.0 }.is_exceeded(0, 0));
        assert!(!Tolerance { least: 0, ratio: 1.0 }.is_exceeded(50, 50));
    }
}
