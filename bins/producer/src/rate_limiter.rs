//! `--rate`.

use tokio::time::{Duration, Instant, sleep_until};

use crate::arguments::Rate;

/// How often records are sent when a rate is set.
const TICKS_PER_SECOND: u32 = 20;

/// Limits the records per second.
pub struct RateLimiter {
    rate: Option<Rate>,
    next: Instant,
}

impl RateLimiter {
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, next: Instant::now() }
    }

    /// Waits until `records` more may be sent. Time lost in an outage is not made up for.
    pub async fn wait(&mut self, records: usize) {
        let Some(Rate(rate)) = self.rate else { return };
        self.next = self.next.max(Instant::now());
        sleep_until(self.next).await;
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.next += Duration::from_secs(1) * records / rate;
    }
}

/// How many rows go together, so that records go out evenly.
pub fn rows_at_once(Rate(rate): Rate) -> usize {
    usize::try_from(rate / TICKS_PER_SECOND).unwrap_or(usize::MAX).max(1)
}
