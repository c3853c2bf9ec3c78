//! What stops a run because of the data: too many dead letters, or a quality rule whose policy is `stop`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tally_domain::Flow;
use tally_domain::quality::Verdict;
use tally_ports::{Commit, Committed, Stop, StopKind};

/// How many codes are named.
const NAMED: usize = 3;

/// How many records may become dead letters before something else than the records must be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The greatest share, 0 to 1, of the last `window` records; it is not judged before so many were read.
    pub ratio: f64,
    /// How many records the share is of.
    pub window: usize,
    /// So many in a row are too many.
    pub in_a_row: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { ratio: 0.9, window: 10_000, in_a_row: 1_000 }
    }
}

/// The last records of a process in the order of its commits, each with its code if it became a dead letter.
#[derive(Clone)]
pub(crate) struct Guard {
    budget: Budget,
    last: VecDeque<Option<Arc<str>>>,
    /// How many of them became dead letters.
    dead: usize,
    in_a_row: usize,
}

impl Guard {
    pub(crate) const fn new(budget: Budget) -> Self {
        Self { budget, last: VecDeque::new(), dead: 0, in_a_row: 0 }
    }

    /// Whether a batch may be committed. Rows that only the database will refuse are not known yet.
    ///
    /// # Errors
    /// When with it too many records become dead letters.
    pub(crate) fn admit<F: Flow>(&self, commit: &Commit<F>) -> Result<(), Stop> {
        if commit.dead_letters.is_empty() {
            return Ok(());
        }
        self.clone().take(commit, &Committed::default())
    }

    /// Remembers a batch that was committed.
    ///
    /// # Errors
    /// When with what the database refused there are too many: the next one must not be committed.
    pub(crate) fn take<F: Flow>(
        &mut self,
        commit: &Commit<F>,
        committed: &Committed,
    ) -> Result<(), Stop> {
        let refused = committed.refused.iter().map(|row| (row.position, row.code.as_str()));
        let letters =
            commit.dead_letters.iter().map(|letter| (letter.position, &*letter.reason.code));
        let dead: BTreeMap<i64, &str> = refused.chain(letters).collect();
        let rows = commit.rows.iter().map(|row| row.position);
        let mut positions: Vec<i64> =
            rows.chain(commit.dead_letters.iter().map(|letter| letter.position)).collect();
        positions.sort_unstable();
        for position in positions {
            self.note(dead.get(&position).copied());
            let too_many = self.too_many();
            if let Some(what) = too_many {
                let (label, first, last) = (&commit.stream.label, commit.first, commit.last);
                let message = format!(
                    "{label}: {what} became dead letters up to position {position} of the batch from {first} to {last}, most of them {}: a setting must be wrong",
                    self.top_codes()
                );
                return Err(Stop { kind: StopKind::Data, message });
            }
        }
        Ok(())
    }

    fn note(&mut self, code: Option<&str>) {
        self.in_a_row = if code.is_some() { self.in_a_row + 1 } else { 0 };
        if self.last.len() == self.budget.window {
            let oldest = self.last.pop_front().flatten();
            self.dead -= usize::from(oldest.is_some());
        }
        self.dead += usize::from(code.is_some());
        self.last.push_back(code.map(Arc::from));
    }

    #[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 records")]
    fn too_many(&self) -> Option<String> {
        let Budget { ratio, window, in_a_row } = self.budget;
        if self.in_a_row >= in_a_row {
            return Some(format!("{} records in a row", self.in_a_row));
        }
        let is_full = self.last.len() == window;
        (is_full && self.dead as f64 > ratio * window as f64)
            .then(|| format!("{} of the last {window} records", self.dead))
    }

    /// The most frequent codes and how often each came.
    fn top_codes(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for code in self.last.iter().flatten() {
            *counts.entry(code).or_default() += 1;
        }
        let mut codes: Vec<(usize, &str)> =
            counts.into_iter().map(|(code, count)| (count, code)).collect();
        codes.sort_unstable_by(|one, other| other.cmp(one));
        let named = codes.iter().take(NAMED).map(|(count, code)| format!("{code} ({count})"));
        named.collect::<Vec<_>>().join(", ")
    }
}

/// Whether the quality rules let a batch of `judged` records go on, which reaches from `first` to `last`.
///
/// # Errors
/// When a rule above its threshold has the policy `stop`.
pub(crate) fn admit_quality(
    verdict: &Verdict,
    judged: usize,
    first: i64,
    last: i64,
) -> Result<(), Stop> {
    let Some(rule) = verdict.stopped_by.first() else { return Ok(()) };
    let finding = &verdict.report[*rule];
    let message = format!(
        "quality rule {rule} stops the run: {} of {judged} records at positions {first} to {last} break it ({:.1} %), the first at {}",
        finding.count,
        finding.rate * 100.0,
        finding.positions[0],
    );
    Err(Stop { kind: StopKind::Data, message })
}
