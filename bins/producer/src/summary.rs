//! What was sent, and what was not.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How many rows that were not sent are logged one by one.
const NAMED: u64 = 20;
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What was sent, and what was not: `read = sent + refused`.
pub struct Summary {
    began: Instant,
    said: Instant,
    read: u64,
    sent: u64,
    refused: BTreeMap<String, u64>,
    named: u64,
}

impl Summary {
    /// An empty summary.
    pub fn new() -> Self {
        let now = Instant::now();
        Self { began: now, said: now, read: 0, sent: 0, refused: BTreeMap::new(), named: 0 }
    }

    /// Counts acknowledged records.
    pub fn sent(&mut self, count: usize) {
        self.read += count as u64;
        self.sent += count as u64;
        if self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            tracing::info!("{} records sent, {} records/s", self.sent, self.rate());
        }
    }

    /// Counts the rows of a transaction that was aborted, or of which nobody knows.
    pub fn not_committed(&mut self, count: usize, code: &str) {
        if count > 0 {
            self.read += count as u64;
            *self.refused.entry(code.to_owned()).or_default() += count as u64;
        }
    }

    /// Counts a row that was not sent. The first few are logged.
    pub fn refused(&mut self, path: &str, row: i64, code: &str, message: &str) {
        self.read += 1;
        *self.refused.entry(code.to_owned()).or_default() += 1;
        self.named += 1;
        if self.named <= NAMED {
            tracing::warn!("{path}: row {row} is not sent: {message} ({code})");
        }
        if self.named == NAMED {
            tracing::warn!("further rows that are not sent are only counted");
        }
    }

    /// How many rows were read, and how many of them were not sent.
    pub fn left_out(&self) -> (u64, u64) {
        (self.read, self.read - self.sent)
    }

    fn rate(&self) -> u64 {
        let milliseconds = self.began.elapsed().as_millis().max(1);
        u64::try_from(u128::from(self.sent) * 1000 / milliseconds).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (read, sent, seconds) = (self.read, self.sent, self.began.elapsed().as_secs_f64());
        writeln!(f, "{read} rows read, {sent} sent in {seconds:.2} s, {} records/s", self.rate())?;
        for (code, count) in &self.refused {
            writeln!(f, "  not sent: {code:<22}{count:>11}")?;
        }
        Ok(())
    }
}
