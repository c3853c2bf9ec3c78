//! How much a flow has published.

use serde::Serialize;

/// How much a flow has published.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Published {
    pub flow: String,
    pub topics: Vec<PublishedTo>,
    /// Records in the topics whose ids are those of positions that were read.
    pub records: u64,
    /// How many of them are there once more.
    pub repeats: u64,
    /// Records of other flows, of streams that this database has not read, and without ids.
    pub others: u64,
    /// Records that should be there, according to the sources that are given.
    pub expected: u64,
    /// Records that stand in the outbox.
    pub unpublished: u64,
    /// Records read of which something is in the topics, and which are not committed.
    pub uncommitted: u64,
    /// Records that are not there, in topics from which records were deleted.
    pub deleted: u64,
}

/// A topic that a flow publishes to.
#[derive(Clone, Debug, Serialize)]
pub struct PublishedTo {
    pub topic: String,
    /// Records of everybody.
    pub records: u64,
    /// Whether it still holds all that was ever written to it, readable.
    pub is_whole: bool,
}
