//! What a run did, for its summary.

use std::collections::BTreeMap;

use tally_domain::AnsweredColumn;
use tally_ports::{Commit, Committed};

use crate::budget;

/// How many dead letters are named one by one.
const NAMED: usize = 10;

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
    /// The first ten dead letters, in order of position.
    pub first_dead_letters: Vec<Refusal>,
    /// How many of the judged records broke each quality rule.
    pub quality: BTreeMap<String, Share>,
}

/// Where a record was read that became a dead letter, and why it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its position.
    pub position: i64,
    /// The physical line, from 1, where it starts in its file; `None` for a topic's.
    pub line: Option<u64>,
    /// The reason in one word.
    pub code: String,
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
    /// The most frequent codes of dead letters and how often each came.
    pub fn top_codes(&self) -> String {
        budget::top_codes(self.dead_letters.iter().map(|(code, count)| (code.as_str(), *count)))
    }

    /// Takes in another run's counts. Its first dead letters are left out: positions of two partitions have no order.
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
    pub(crate) fn add(&mut self, commit: &Commit, judged: usize, committed: &Committed) {
        self.read += commit.read;
        self.written += committed.written;
        self.superseded += committed.superseded;
        self.skipped += committed.skipped;
        self.add_dead_letters(commit, committed);
        let answered = AnsweredColumn::all(commit.flow.tables());
        for row in &commit.rows {
            let is_refused = committed
                .refused
                .binary_search_by_key(&row.position, |refused| refused.position)
                .is_ok();
            if let Some(name) = row.record.answer(&answered).filter(|_| !is_refused) {
                increment(&mut self.answers, name);
            }
        }
        for (rule, finding) in &commit.quality {
            let share = self.quality.entry(rule.clone()).or_default();
            share.count += finding.count;
            share.of += judged;
        }
    }

    fn add_dead_letters(&mut self, commit: &Commit, committed: &Committed) {
        let before = commit.dead_letters.iter();
        let before = before.map(|letter| (letter.position, letter.raw.line, &*letter.reason.code));
        let refused = committed.refused.iter().map(|refused| {
            let row = commit.rows.binary_search_by_key(&refused.position, |row| row.position);
            let line = row.ok().and_then(|row| commit.rows[row].raw.line);
            (refused.position, line, refused.code.as_str())
        });
        let mut letters: Vec<_> = before.chain(refused).collect();
        letters.sort_unstable();
        for (position, line, code) in letters {
            self.dead_lettered += 1;
            increment(&mut self.dead_letters, code);
            if self.first_dead_letters.len() < NAMED {
                self.first_dead_letters.push(Refusal { position, line, code: code.to_owned() });
            }
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
