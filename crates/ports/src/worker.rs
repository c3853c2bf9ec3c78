//! Who works on a stream.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::PartitionState;

/// A process that works on partitions of a stream, also while it owns none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its name, which no other process ever has; the owner of its leases.
    pub id: Arc<str>,
    /// The flow's name.
    pub flow: String,
    /// `GROUP/TOPIC`.
    pub stream: String,
    /// The machine's name, for people.
    pub host: String,
    /// The process id, for people.
    pub pid: u32,
}

/// Whether a worker may take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// It may.
    Joined(Membership),
    /// The store serves one worker, and another one lives.
    Full {
        worker: String,
        /// How long it lives unless it says so again.
        remaining: Duration,
        /// Grows whenever it says so: equal values mean that it did not. Falls when the store's clock went back.
        renewal: NaiveDateTime,
    },
}

/// All who work on a stream, and how far they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// How many workers live, at least one.
    pub live_workers: usize,
    /// The partitions that have a position, in order.
    pub partitions: Vec<PartitionState>,
}
