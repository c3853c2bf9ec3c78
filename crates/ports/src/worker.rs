//! The workers of a stream.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::PartitionState;

/// A process that works on partitions of a stream, also while it owns none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its unique name; the owner of its leases.
    pub id: Arc<str>,
    /// The flow's name.
    pub flow: String,
    /// `GROUP/TOPIC`.
    pub stream: String,
    /// The machine's name, for display.
    pub host: String,
    /// The process id, for display.
    pub pid: u32,
}

/// Whether a worker may take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// It may.
    Joined(Membership),
    /// The store serves one worker, and another one is alive.
    Full {
        worker: String,
        /// How long it counts as alive unless it renews.
        remaining: Duration,
        /// Grows whenever it renews: equal values mean that it did not. Falls when the store's clock went back.
        renewal: NaiveDateTime,
    },
}

/// The live workers of a stream and the state of its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// How many workers are alive, including this one.
    pub live_workers: usize,
    /// The partitions that have a position, in order.
    pub partitions: Vec<PartitionState>,
}
