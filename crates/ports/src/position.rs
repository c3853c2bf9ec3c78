//! How far a partition was read, and who may go on.

use std::time::Duration;

use chrono::NaiveDateTime;
use serde_json::Value;

/// With this the names of files' streams begin, and no other stream's.
pub const FILE: &str = "file/";

/// A partition of a stream, as the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The flow's name.
    pub flow: &'static str,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub name: String,
    /// 0 for a file.
    pub partition: i32,
    /// What people call it: a topic, a path.
    pub label: String,
}

/// The right to commit: good as long as the position's row has this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The position's row; the origin of the rows it leads to.
    pub position: i64,
    /// Raised by every claim.
    pub epoch: i64,
    /// How long the lease lives unless it is renewed.
    pub duration: Duration,
}

/// Where to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The right to commit.
    pub lease: Lease,
    /// Which reading of the stream this is, from 1.
    pub pass: i32,
    /// The next position to read.
    pub next: i64,
    /// Where that is, in the source's own words; null at the start.
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

/// Where the last pass over a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The partition.
    pub partition: i32,
    /// Which reading of the stream this is, from 1.
    pub pass: i32,
    /// The next position to read.
    pub next: i64,
    /// Whose lease is alive.
    pub owner: Option<String>,
    /// When it was last changed, in UTC.
    pub updated_at: NaiveDateTime,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is ours.
    Owned(Position),
    /// Somebody's lease is alive.
    Held {
        /// Who.
        owner: String,
        /// How long the lease lives unless it is renewed.
        remaining: Duration,
        /// Grows whenever the owner renews: equal values mean that it did not. Falls when the store's clock went back.
        renewal: NaiveDateTime,
    },
    /// The last pass was finished and no other was asked for.
    Finished {
        /// When, in UTC.
        at: NaiveDateTime,
        /// How many positions it passed.
        records: i64,
    },
}
