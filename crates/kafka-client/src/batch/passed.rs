//! Offsets without a record to be worked on.

use std::fmt;

use super::Broken;

/// A range of offsets without a record to be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its first offset.
    pub first: i64,
    /// Its last offset; not below the first.
    pub last: i64,
    /// Why there is none.
    pub why: Why,
}

/// Why there is no record to be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A control batch: the end of a transaction.
    Marker(Marker),
    /// Records of a transaction that was aborted.
    Aborted,
    /// A batch whose records were all compacted away, and which the broker keeps for its producer's sake.
    Empty,
    /// Offsets that no batch has: compaction removed them.
    Hole,
    /// A batch that cannot be decoded.
    Undecodable(Broken),
}

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The transaction is committed.
    Commit,
    /// The transaction is aborted.
    Abort,
    /// Something else, by its number.
    Other(i16),
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, why } = self;
        if first == last {
            write!(f, "offset {first} {why}")
        } else {
            write!(f, "offsets {first} to {last} {why}")
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marker(Marker::Commit) => f.write_str("marked as the commit of a transaction"),
            Self::Marker(Marker::Abort) => f.write_str("marked as the abort of a transaction"),
            Self::Marker(Marker::Other(kind)) => write!(f, "marked as control record {kind}"),
            Self::Aborted => f.write_str("written by an aborted transaction"),
            Self::Empty => f.write_str("empty after compaction"),
            Self::Hole => f.write_str("gone by compaction"),
            Self::Undecodable(broken) => write!(f, "cannot be decoded: {broken}"),
        }
    }
}
