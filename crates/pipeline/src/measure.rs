//! The metrics of batches.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge, histogram};
use tally_domain::{Reason, Stage};
use tally_ports::{Commit, Committed, metric};

/// Counts a batch as in flight until dropped.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn begin() -> Self {
        gauge!(metric::INFLIGHT).increment(1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(metric::INFLIGHT).decrement(1.0);
    }
}

/// Records the duration of a stage that began at `since`.
pub(crate) fn observe(stage: &'static str, since: Instant) {
    histogram!(metric::STAGE_DURATION, "stage" => stage).record(since.elapsed());
}

/// Counts a committed batch.
pub(crate) fn count(commit: &Commit, committed: &Committed) {
    let flow = &commit.stream.flow;
    counter!(metric::BATCHES, "flow" => flow.clone()).increment(1);
    for (name, value) in [
        (metric::ROWS, commit.read),
        (metric::ROWS_WRITTEN, committed.written),
        (metric::ROWS_SUPERSEDED, committed.superseded),
        (metric::ROWS_SKIPPED, committed.skipped),
    ] {
        counter!(name, "flow" => flow.clone()).increment(value.unsigned_abs());
    }
    for Reason { stage, code, .. } in commit.dead_letters.iter().map(|letter| &letter.reason) {
        counter!(metric::DEAD_LETTERS, &labels(flow, *stage, code)).increment(1);
    }
    for refused in &committed.refused {
        counter!(metric::DEAD_LETTERS, &labels(flow, Stage::Write, &refused.code)).increment(1);
    }
    for (rule, finding) in &commit.quality {
        if let Some(rate) = finding.rate {
            gauge!(metric::QUALITY_RATE, "rule" => rule.clone()).set(rate);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 records")]
    gauge!(metric::LAST_BATCH_SIZE).set(commit.read as f64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(metric::LAST_SUCCESS).set(now.as_secs_f64());
}

/// The labels of a dead letter's counter.
fn labels(flow: &str, stage: Stage, code: &str) -> [(&'static str, String); 3] {
    [("flow", flow.to_owned()), ("stage", stage.to_string()), ("code", code.to_owned())]
}
