//! What a run did, for its summary.

use std::collections::BTreeMap;

use tally_domain::Flow;
use tally_ports::{Commit, Committed};

/// Counts over the committed batches of a run; `read = written + superseded + skipped + dead_lettered`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read.
    pub read: i64,
    /// Records whose effect was written.
    pub written: i64,
    /// Records of which a newer version was written.
    pub superseded: i64,
    /// Records without effect.
    pub skipped: i64,
    /// Records that became dead letters.
    pub dead_lettered: i64,
    /// How many records got which answer of the model; those that became dead letters are not counted.
    pub answers: BTreeMap<String, i64>,
    /// Dead letters by code.
    pub dead_letters: BTreeMap<String, i64>,
    /// How many of the judged records broke each quality rule.
    pub quality: BTreeMap<String, Share>,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The part.
    pub count: usize,
    /// The whole.
    pub of: usize,
}

impl Totals {
    /// Takes in another run's.
    pub fn merge(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.superseded += other.superseded;
        self.skipped += other.skipped;
        self.dead_lettered += other.dead_lettered;
        for (name, count) in other.answers {
            *self.answers.entry(name).or_default() += count;
        }
        for (code, count) in other.dead_letters {
            *self.dead_letters.entry(code).or_default() += count;
        }
        for (rule, Share { count, of }) in other.quality {
            let share = self.quality.entry(rule).or_default();
            share.count += count;
            share.of += of;
        }
    }

    /// Takes in a committed batch of which `judged` records were judged by the quality rules.
    pub(crate) fn add<F: Flow>(
        &mut self,
        commit: &Commit<F>,
        judged: usize,
        committed: &Committed,
    ) {
        self.read += commit.read;
        self.written += committed.written;
        self.superseded += committed.superseded;
        self.skipped += committed.skipped;
        let refused = committed.refused.iter().map(|refused| refused.code.as_str());
        for code in commit.dead_letters.iter().map(|letter| &*letter.reason.code).chain(refused) {
            self.dead_lettered += 1;
            increment(&mut self.dead_letters, code);
        }
        for row in &commit.rows {
            let is_refused = committed
                .refused
                .binary_search_by_key(&row.position, |refused| refused.position)
                .is_ok();
            if let Some(name) = F::tally_name(&row.answer).filter(|_| !is_refused) {
                increment(&mut self.answers, name);
            }
        }
        for (rule, finding) in &commit.quality {
            let share = self.quality.entry(rule.clone()).or_default();
            share.count += finding.count;
            share.of += judged;
        }
    }
}

fn increment(counts: &mut BTreeMap<String, i64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        counts.insert(name.to_owned(), 1);
    }
}
