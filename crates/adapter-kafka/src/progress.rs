//! The progress of a partition's source.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;

use crate::Gap;

/// The progress of a partition's source, for display and metrics.
#[derive(Debug)]
pub struct PartitionProgress {
    state: Mutex<State>,
}

/// How far the commits are behind the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Offsets between the last one committed and the end of the log.
    pub records: i64,
    /// The age of the oldest record that was fetched and is not committed, by its own timestamp. For a blocked partition the
    /// next record is at least as old as that.
    pub oldest: Option<Duration>,
}

#[derive(Debug)]
struct State {
    /// The next offset after the last commit.
    committed: i64,
    /// The next offset after all that was fetched.
    fetched: i64,
    /// The end of the log, as far as it is known.
    end: i64,
    /// The batches that were handed out and are not committed: last offset, and timestamp of the first record.
    handed_out: VecDeque<(i64, i64)>,
    /// The timestamp of the first record that waits to be handed out.
    waiting: Option<i64>,
    gap: Option<Gap>,
    /// The time of that.
    blocked: Option<i64>,
}

impl PartitionProgress {
    pub(crate) fn new(next: i64) -> Self {
        let state = State {
            committed: next,
            fetched: next,
            end: next,
            handed_out: VecDeque::new(),
            waiting: None,
            gap: None,
            blocked: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// Everything before `next` is committed. Call it after each commit.
    pub fn committed(&self, next: i64) {
        let mut state = self.state();
        state.committed = next;
        while state.handed_out.front().is_some_and(|(last, _)| *last < next) {
            state.handed_out.pop_front();
        }
    }

    /// The broker was asked and said that the log ends at `end` (its last stable offset).
    pub fn saw_end(&self, end: i64) {
        let mut state = self.state();
        state.end = end.max(state.fetched);
    }

    /// How far the commits are behind.
    pub fn lag(&self) -> Lag {
        let state = self.state();
        let records = state.end.saturating_sub(state.committed).max(0);
        let oldest = state.handed_out.front().map(|(_, timestamp)| *timestamp);
        let oldest = oldest.or(state.waiting).or(state.blocked);
        let age = |timestamp| {
            let millis = Utc::now().timestamp_millis().saturating_sub(timestamp);
            Duration::from_millis(u64::try_from(millis).unwrap_or(0))
        };
        // Without a timestamp it is -1.
        Lag { records, oldest: oldest.filter(|timestamp| *timestamp >= 0).map(age) }
    }

    /// The range that blocks the source, if any.
    pub fn gap(&self) -> Option<Gap> {
        self.state().gap.clone()
    }

    /// Everything before `next` was fetched, and the log ends at `end` (its last stable offset).
    pub(crate) fn fetched(&self, next: i64, end: i64) {
        let mut state = self.state();
        state.fetched = next;
        state.end = end.max(next);
    }

    /// A batch was handed out; the timestamp of its first record, if it has any.
    pub(crate) fn handed_out(&self, last: i64, timestamp: Option<i64>) {
        if let Some(timestamp) = timestamp {
            self.state().handed_out.push_back((last, timestamp));
        }
    }

    /// The timestamp of the first record that waits to be handed out.
    pub(crate) fn waiting(&self, timestamp: Option<i64>) {
        self.state().waiting = timestamp;
    }

    pub(crate) fn block(&self, gap: Gap) {
        let mut state = self.state();
        state.gap = Some(gap);
        state.blocked.get_or_insert_with(|| Utc::now().timestamp_millis());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> i64 {
        Utc::now().timestamp_millis()
    }

    #[test]
    fn nothing_is_behind_before_anything_was_seen() {
        assert_eq!(PartitionProgress::new(100).lag(), Lag { records: 0, oldest: None });
    }

    #[test]
    fn records_are_counted_to_the_end_that_was_seen_last() {
        let progress = PartitionProgress::new(100);
        progress.fetched(110, 150);
        assert_eq!(progress.lag().records, 50);
        progress.saw_end(140); // an open transaction begins there
        progress.committed(105);
        assert_eq!(progress.lag().records, 35);
        progress.saw_end(103); // asked before the fetch, answered after it
        assert_eq!(progress.lag().records, 5);
        progress.committed(110);
        progress.fetched(110, 110);
        assert_eq!(progress.lag().records, 0);
    }

    #[test]
    fn the_oldest_is_the_first_that_is_not_committed() {
        let progress = PartitionProgress::new(0);
        let age = |progress: &PartitionProgress| progress.lag().oldest.map(|age| age.as_secs());
        progress.handed_out(9, Some(now() - 300_000));
        progress.handed_out(10, None);
        progress.handed_out(19, Some(now() - 200_000));
        progress.waiting(Some(now() - 100_000));
        assert_eq!(age(&progress), Some(300));
        progress.committed(10);
        assert_eq!(age(&progress), Some(200));
        progress.committed(20);
        assert_eq!(age(&progress), Some(100));
        progress.waiting(None);
        assert_eq!(age(&progress), None);
        progress.waiting(Some(now() + 100_000)); // a producer's clock may be ahead
        assert_eq!(age(&progress), Some(0));
        progress.waiting(Some(-1));
        assert_eq!(age(&progress), None);
    }
}
