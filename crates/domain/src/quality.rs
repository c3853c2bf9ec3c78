//! Quality of a partition: how many of its last records break each rule, and the consequence.

mod recent;
mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use self::recent::Recent;
pub use self::rules::{Policy, Rule, Rules};
use crate::{Flow, Name, Reason, Record, Stage, UnknownStats};

/// How many positions a report lists per rule.
const POSITIONS_LISTED: usize = 20;

/// The finding of one rule in one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How many records of the batch break it.
    pub count: usize,
    /// The share that breaks it of the last so many records, 0 to 1: the greatest at any record of the batch. None where
    /// there were not enough records yet.
    pub rate: Option<f64>,
    /// How many records the rate is of.
    pub records: usize,
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

/// What is remembered of a partition's earlier batches.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stats {
    /// What the flow remembers.
    flow: Json,
    /// By rule.
    recent: BTreeMap<Name, Recent>,
}

impl Stats {
    /// Before rates were judged over several batches, statistics were the flow's alone.
    fn from_json(stored: Json) -> Self {
        let is_ours = stored.get("flow").is_some() && stored.get("recent").is_some();
        let ours = is_ours.then(|| serde_json::from_value(stored.clone()).ok()).flatten();
        ours.unwrap_or_else(|| Self { flow: stored, recent: BTreeMap::new() })
    }
}

/// The valid records of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    pub records: &'a [&'a Record],
    /// Where each of them was read.
    pub positions: &'a [i64],
    /// The last position of the batch, valid or not.
    pub last: i64,
    /// Whether the source ends with it.
    pub is_last: bool,
    /// See [`Rules::window`].
    pub window: usize,
}

/// Judges the valid records of a batch. `stats` includes all of them, whatever their later outcome. What ends with the
/// batch is judged over what there was, where that is less than a window.
///
/// # Errors
/// When `stats` is not what the flow remembers.
pub fn judge(
    flow: &dyn Flow,
    rules: &Rules,
    stats: &mut Json,
    judged: Judged<'_>,
) -> Result<Verdict, UnknownStats> {
    let mut verdict = Verdict::default();
    let Judged { records, positions, is_last, window, .. } = judged;
    if records.is_empty() && !is_last {
        return Ok(verdict);
    }
    let mut known = Stats::from_json(stats.take());
    for (name, broken_by) in flow.rules().iter().zip(flow.judge(&mut known.flow, judged)?) {
        let rule = rules.of(name);
        let recent = known.recent.entry(name.clone()).or_default();
        let rates = recent.judge(window, records.len(), &broken_by, is_last);
        let is_above = |rate: f64| rate > rule.threshold;
        let above_threshold = rates.highest.is_some_and(is_above);
        match rule.policy {
            Policy::Quarantine => {
                for &index in &broken_by {
                    if rates.around(index, window).any(is_above) {
                        verdict.quarantined.entry(index).or_insert_with(|| name.clone());
                    }
                }
            }
            Policy::Stop if above_threshold => verdict.stopped_by.push(name.clone()),
            Policy::Warn | Policy::Stop => {}
        }
        let listed =
            broken_by.iter().take(POSITIONS_LISTED).map(|&index| positions[index]).collect();
        let finding = Finding {
            count: broken_by.len(),
            rate: rates.highest,
            records: rates.of,
            above_threshold,
            positions: listed,
        };
        verdict.report.insert(name.to_string(), finding);
    }
    *stats = serde_json::to_value(known).map_err(|error| UnknownStats(error.to_string()))?;
    Ok(verdict)
}

/// The reason of a record that `rule` quarantined.
pub fn quarantine_reason(rule: &Name) -> Reason {
    let message = format!("quarantined: too many of the last records break the rule {rule}");
    Reason { stage: Stage::Quality, code: rule.clone(), message }
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
