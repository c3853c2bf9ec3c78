//! The status behind `/ready`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Whether work is in progress and what blocks it; shared by all parts that report to it.
#[derive(Debug, Default)]
pub struct Status {
    inner: Mutex<Snapshot>,
}

/// The status at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether a source is being read into the store.
    pub in_progress: bool,
    /// What is unavailable, by dependency.
    pub outages: BTreeMap<&'static str, String>,
    /// The blocked partitions, and why.
    pub blocked: BTreeMap<i32, String>,
    /// The last fault, even when it is over.
    pub last_error: Option<String>,
    /// When the last batch was committed.
    pub last_commit: Option<SystemTime>,
}

impl Snapshot {
    /// Whether records are being taken in.
    pub fn is_ready(&self) -> bool {
        self.in_progress && self.outages.is_empty() && self.blocked.is_empty()
    }
}

impl Status {
    /// The status now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Work begins or ends.
    pub fn set_in_progress(&self, in_progress: bool) {
        self.lock().in_progress = in_progress;
    }

    /// A batch was committed.
    pub fn committed(&self) {
        self.lock().last_commit = Some(SystemTime::now());
    }

    /// A partition is blocked.
    pub(crate) fn block(&self, partition: i32, message: &str) {
        let mut inner = self.lock();
        inner.last_error = Some(message.to_owned());
        inner.blocked.insert(partition, message.to_owned());
    }

    pub(crate) fn unblock(&self, partition: i32) {
        self.lock().blocked.remove(&partition);
    }

    /// Records an outage, or its latest message; returns whether it is new.
    pub(crate) fn outage_began(&self, dependency: &'static str, message: &str) -> bool {
        let mut inner = self.lock();
        inner.last_error = Some(format!("{dependency}: {message}"));
        inner.outages.insert(dependency, message.to_owned()).is_none()
    }

    pub(crate) fn outage_ended(&self, dependency: &'static str) {
        self.lock().outages.remove(dependency);
    }

    pub(crate) fn has_no_outage_of(&self, dependency: &'static str) -> bool {
        !self.lock().outages.contains_key(dependency)
    }

    pub(crate) fn outage_of(&self, dependency: &'static str) -> Option<String> {
        self.lock().outages.get(dependency).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
