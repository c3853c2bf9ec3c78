//! How many records a request has.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The most records of a request: halved when an answer times out, doubled when one comes in under a quarter of that time.
#[derive(Debug)]
pub(crate) struct RequestSize {
    most: usize,
    now: AtomicUsize,
}

impl RequestSize {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, now: AtomicUsize::new(most) }
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// A request of `asked` records was not answered in time. How many the next one has at most.
    pub(crate) fn timed_out(&self, asked: usize) -> usize {
        let half = (asked / 2).max(1);
        // Those in flight together met the same limit.
        self.now.fetch_min(half, Ordering::Relaxed).min(half)
    }

    /// A request of `asked` records was answered after `took`, of at most `timeout`.
    pub(crate) fn answered(&self, asked: usize, took: Duration, timeout: Duration) {
        if asked < self.most && took < timeout / 4 {
            let doubled = (asked * 2).min(self.most);
            // Only from what it was asked with: another call may have met the limit meanwhile.
            let _is_other =
                self.now.compare_exchange(asked, doubled, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_halved_by_timeouts_and_doubled_by_quick_answers_to_full_requests() {
        let (size, timeout) = (RequestSize::new(1000), Duration::from_secs(4));
        for (asked, next) in [(1000, 500), (1000, 500), (500, 250), (1000, 250), (3, 1), (1, 1)] {
            assert_eq!(size.timed_out(asked), next);
            assert_eq!(size.now(), next);
        }
        let quick = Duration::from_millis(999);
        size.answered(1, Duration::from_secs(1), timeout);
        assert_eq!(size.now(), 1);
        for (asked, next) in [(1, 2), (1, 2), (2, 4), (4, 8), (600, 8)] {
            size.answered(asked, quick, timeout);
            assert_eq!(size.now(), next);
        }
        for _ in 0..8 {
            size.answered(size.now(), quick, timeout);
        }
        assert_eq!(size.now(), 1000);
    }
}
