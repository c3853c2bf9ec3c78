//! The log lines about quality rules.

use std::collections::BTreeMap;

use tally_domain::quality::Rules;
use tally_ports::Commit;

/// A rate that has grown by so much is logged again.
const STEP: f64 = 0.1;
/// A rule is below its threshold again when its rate is at most this share of it: a rate at the threshold goes up and
/// down.
const ENDED: f64 = 0.8;

/// The rules of a partition that were logged as above their threshold, each with the rate that was logged last. The ledger
/// has every finding; a stream has many small batches.
#[derive(Default)]
pub(super) struct QualityLog(BTreeMap<String, f64>);

impl QualityLog {
    /// Logs what a committed batch changes: a rule that is above its threshold now, or further above, or no more.
    pub(super) fn note(&mut self, commit: &Commit, rules: &Rules) {
        let (stream, partition) = (&*commit.stream.label, commit.stream.partition);
        let (first, last) = (commit.first, commit.last);
        for (rule, finding) in &commit.quality {
            let Some(rate) = finding.rate else { continue };
            let (records, threshold) = (finding.records, rules.of(rule).threshold);
            let logged = self.0.get(rule).copied();
            if finding.above_threshold && logged.is_none_or(|logged| rate >= logged + STEP) {
                tracing::warn!(
                    stream,
                    partition,
                    rule,
                    rate,
                    records,
                    first,
                    last,
                    "quality rule above its threshold"
                );
                self.0.insert(rule.clone(), rate);
            } else if logged.is_some() && rate <= threshold * ENDED {
                tracing::info!(
                    stream,
                    partition,
                    rule,
                    rate,
                    records,
                    first,
                    last,
                    "quality rule below its threshold again"
                );
                self.0.remove(rule);
            }
        }
    }
}
