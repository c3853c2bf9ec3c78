//! Quality of a batch: how many records break each rule, and the consequence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Flow, Name, Reason, Record, Stage, UnknownStats};

/// How many positions a report lists per rule.
const POSITIONS_LISTED: usize = 20;

/// The consequence when the rate of a rule is above its threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It appears in the log, the ledger and the metrics.
    #[default]
    Warn,
    /// The records that break the rule become dead letters.
    Quarantine,
    /// The batch is not committed and the run stops.
    Stop,
}

/// The settings of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The share of a batch's records, 0 to 1, above which the policy applies.
    pub threshold: f64,
    /// The consequence then.
    pub policy: Policy,
}

impl Default for Rule {
    fn default() -> Self {
        Self { threshold: 0.1, policy: Policy::Warn }
    }
}

/// The settings of a flow's rules; a rule that is not named has the default.
pub type Rules = BTreeMap<String, Rule>;

/// The finding of one rule in one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How many records break it.
    pub count: usize,
    /// Their share of the judged records, 0 to 1.
    pub rate: f64,
    /// Whether the rate is above the threshold.
    pub above_threshold: bool,
    /// The positions of the first of them.
    pub positions: Vec<i64>,
}

/// The report of one batch, by rule.
pub type Report = BTreeMap<String, Finding>;

/// The findings in one batch, and their consequences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// For the ledger.
    pub report: Report,
    /// The indices of records to take out, each with the first rule it breaks; in ascending order.
    pub quarantined: BTreeMap<usize, Name>,
    /// The rules that stop the run.
    pub stopped_by: Vec<Name>,
}

/// Judges the valid records of a batch. `stats` includes all of them, whatever their later outcome.
///
/// # Errors
/// When `stats` is not what the flow remembers.
pub fn judge(
    flow: &dyn Flow,
    rules: &Rules,
    stats: &mut Json,
    positions: &[i64],
    records: &[&Record],
) -> Result<Verdict, UnknownStats> {
    let mut verdict = Verdict::default();
    if records.is_empty() {
        return Ok(verdict);
    }
    for (name, broken_by) in flow.rules().iter().zip(flow.judge(stats, records)?) {
        let rule = rules.get(&**name).copied().unwrap_or_default();
        let rate = share(broken_by.len(), records.len());
        let above_threshold = rate > rule.threshold;
        if above_threshold {
            match rule.policy {
                Policy::Warn => {}
                Policy::Quarantine => {
                    for &index in &broken_by {
                        verdict.quarantined.entry(index).or_insert_with(|| name.clone());
                    }
                }
                Policy::Stop => verdict.stopped_by.push(name.clone()),
            }
        }
        let listed =
            broken_by.iter().take(POSITIONS_LISTED).map(|&index| positions[index]).collect();
        let finding = Finding { count: broken_by.len(), rate, above_threshold, positions: listed };
        verdict.report.insert(name.to_string(), finding);
    }
    Ok(verdict)
}

/// The reason of a record that `rule` quarantined.
pub fn quarantine_reason(rule: &Name) -> Reason {
    let message = format!("quarantined: the batch has too many records that break the rule {rule}");
    Reason { stage: Stage::Quality, code: rule.clone(), message }
}

#[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 records")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// Count, mean and sum of squared distances of a stream of numbers (Welford's method).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// Adds a number.
    #[expect(clippy::cast_precision_loss, reason = "a partition is far below 2^52 records")]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.m2 += distance * (value - self.mean);
    }

    /// How many numbers were added.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether `value` is more than `sigmas` standard deviations away from the mean.
    #[expect(clippy::cast_precision_loss, reason = "a partition is far below 2^52 records")]
    pub fn is_outlier(&self, value: f64, sigmas: f64) -> bool {
        let variance = self.m2 / self.count as f64;
        (value - self.mean).abs() > sigmas * variance.sqrt()
    }
}
