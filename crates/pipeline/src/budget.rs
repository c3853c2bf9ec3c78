//! Stops a run because of its data: too many dead letters, or a quality rule whose policy is `stop`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tally_domain::quality::{Finding, Verdict};
use tally_ports::{Batch, Commit, DeadLetterBudget, Refused, Stop, StopKind, Tolerance};
use uuid::Uuid;

/// How many codes are named.
const NAMED: usize = 3;

/// A whole pass of fewer records is not judged.
const LEAST_OF_PASS: i64 = 20;

/// How many records may become dead letters before a setting must be wrong rather than the records: judged while they
/// are read, over the last `window` and in a row, and at the end of a pass over all that it read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The greatest share, 0 to 1: of the last `window` records, not judged before so many were read, and of a whole pass.
    pub ratio: f64,
    /// How many records the share is of.
    pub window: usize,
    /// This many in a row are too many.
    pub in_a_row: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { ratio: 0.9, window: 10_000, in_a_row: 1_000 }
    }
}

impl Budget {
    /// The limits of a whole pass.
    pub const fn of_pass(self) -> Tolerance {
        Tolerance { least: LEAST_OF_PASS, ratio: self.ratio }
    }
}

/// The last records of a process in the order in which their batches were admitted.
///
/// A batch counts from its admission on, not from its commit: partitions commit concurrently, and each must know what
/// the others are about to commit. A batch that is not committed no longer counts.
pub(crate) struct BudgetWindow {
    budget: Budget,
    last: VecDeque<Noted>,
    /// The batches whose commit has no outcome yet.
    in_flight: BTreeSet<Uuid>,
}

/// A record that was read.
struct Noted {
    batch: Uuid,
    position: i64,
    /// Why it became a dead letter, if it did.
    code: Option<Arc<str>>,
}

impl BudgetWindow {
    pub(crate) const fn new(budget: Budget) -> Self {
        Self { budget, last: VecDeque::new(), in_flight: BTreeSet::new() }
    }

    /// Notes the records of a batch.
    fn note(&mut self, commit: &Commit) {
        let kept = self.budget.window.max(self.budget.in_a_row);
        while self.last.len() > kept
            && self.last.front().is_some_and(|noted| !self.in_flight.contains(&noted.batch))
        {
            self.last.pop_front();
        }
        let rows = commit.rows.iter().map(|row| (row.position, None));
        let letters = commit.dead_letters.iter();
        let letters =
            letters.map(|letter| (letter.position, Some(Arc::from(&*letter.reason.code))));
        let mut records: Vec<(i64, Option<Arc<str>>)> = rows.chain(letters).collect();
        records.sort_unstable_by_key(|(position, _)| *position);
        let batch = commit.id;
        self.in_flight.insert(batch);
        self.last.extend(records.into_iter().map(|(position, code)| Noted {
            batch,
            position,
            code,
        }));
    }

    /// Notes what the database refused of a batch.
    fn note_refused(&mut self, batch: Uuid, refused: &[Refused]) {
        let codes: BTreeMap<i64, &str> =
            refused.iter().map(|row| (row.position, row.code.as_str())).collect();
        for noted in self.last.iter_mut().filter(|noted| noted.batch == batch) {
            if let Some(code) = codes.get(&noted.position) {
                noted.code = Some(Arc::from(*code));
            }
        }
    }

    /// How many became dead letters, where that is more than the budget allows.
    #[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 records")]
    fn overrun(&self) -> Option<String> {
        let Budget { ratio, window, in_a_row } = self.budget;
        let most = ratio * window as f64;
        let (mut dead, mut row) = (0_usize, 0_usize);
        for (index, noted) in self.last.iter().enumerate() {
            let is_dead = noted.code.is_some();
            dead += usize::from(is_dead);
            row = if is_dead { row + 1 } else { 0 };
            if let Some(out) = index.checked_sub(window) {
                dead -= usize::from(self.last[out].code.is_some());
            }
            if row >= in_a_row {
                return Some(format!("{row} records in a row"));
            }
            if index + 1 >= window && dead as f64 > most {
                return Some(format!("{dead} of the last {window} records"));
            }
        }
        None
    }

    /// Forgets all records: later ones are judged by themselves.
    pub(crate) fn forget(&mut self) {
        self.last.clear();
    }

    /// The most frequent codes and how often each came.
    fn top_codes(&self) -> String {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for code in self.last.iter().filter_map(|noted| noted.code.as_deref()) {
            *counts.entry(code).or_default() += 1;
        }
        top_codes(counts)
    }
}

/// The most frequent codes and how often each came.
pub(crate) fn top_codes<'a>(counts: impl IntoIterator<Item = (&'a str, i64)>) -> String {
    let mut codes: Vec<(i64, &str)> =
        counts.into_iter().map(|(code, count)| (count, code)).collect();
    codes.sort_unstable_by(|one, other| other.cmp(one));
    let named = codes.iter().take(NAMED).map(|(count, code)| format!("{code} ({count})"));
    named.collect::<Vec<_>>().join(", ")
}

/// A batch that the budget let in; forgotten with this value, unless it [was committed](Self::was_committed).
pub(crate) struct BudgetedBatch {
    budget_window: Arc<Mutex<BudgetWindow>>,
    batch: Uuid,
    /// How messages name it.
    name: String,
}

impl BudgetedBatch {
    /// Lets the batch in.
    ///
    /// # Errors
    /// When with it too many records become dead letters.
    pub(crate) fn enter(
        budget_window: &Arc<Mutex<BudgetWindow>>,
        commit: &Commit,
    ) -> Result<Self, Stop> {
        let (label, first, last) = (&commit.stream.label, commit.first, commit.last);
        let name = format!("{label} from {first} to {last}");
        let budgeted = Self { budget_window: Arc::clone(budget_window), batch: commit.id, name };
        budgeted.judge(|budget_window| budget_window.note(commit))?;
        Ok(budgeted)
    }

    /// Its records now count even after this value is dropped.
    pub(crate) fn was_committed(&self) {
        self.budget_window().in_flight.remove(&self.batch);
    }

    fn budget_window(&self) -> MutexGuard<'_, BudgetWindow> {
        self.budget_window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, note: impl FnOnce(&mut BudgetWindow)) -> Result<(), Stop> {
        let mut budget_window = self.budget_window();
        note(&mut budget_window);
        let Some(what) = budget_window.overrun() else { return Ok(()) };
        let message = format!(
            "{what} became dead letters with {}, most of them {}: a setting must be wrong",
            self.name,
            budget_window.top_codes()
        );
        Err(Stop { kind: StopKind::Data, message })
    }
}

impl Drop for BudgetedBatch {
    fn drop(&mut self) {
        let mut budget_window = self.budget_window();
        if budget_window.in_flight.remove(&self.batch) {
            budget_window.last.retain(|noted| noted.batch != self.batch);
        }
    }
}

impl fmt::Debug for BudgetedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl DeadLetterBudget for BudgetedBatch {
    fn admit(&self, refused: &[Refused]) -> Result<(), Stop> {
        if refused.is_empty() {
            return Ok(());
        }
        self.judge(|budget_window| budget_window.note_refused(self.batch, refused))
    }
}

/// Applies the quality rules to a batch.
///
/// # Errors
/// When a rule above its threshold has the policy `stop`.
pub(crate) fn admit_quality(verdict: &Verdict, batch: &Batch) -> Result<(), Stop> {
    let Some(rule) = verdict.stopped_by.first() else { return Ok(()) };
    let Finding { count, rate, records, positions, .. } = &verdict.report[&**rule];
    let (first, last) = (batch.first, batch.last);
    let found = positions
        .first()
        .map_or_else(String::new, |at| format!(", {count} of them there, the first at {at}"));
    let message = format!(
        "quality rule {rule} stops the run: {:.1} % of the last {records} records break it at positions {first} to {last}{found}",
        rate.unwrap_or_default() * 100.0,
    );
    Err(Stop { kind: StopKind::Data, message })
}

/// The budget of a batch that is published: none of its rows may be refused any more.
#[derive(Debug)]
pub(crate) struct NoneRefused;

impl DeadLetterBudget for NoneRefused {
    fn admit(&self, refused: &[Refused]) -> Result<(), Stop> {
        let Some(Refused { position, code }) = refused.first() else { return Ok(()) };
        let message = format!(
            "the database refuses with {code} what the record at {position} adds to counters, and its batch is published: \
             change the table and run again, or set the position by positions set"
        );
        Err(Stop { kind: StopKind::Data, message })
    }
}

#[cfg(test)]
mod tests {
    use tally_domain::transactions::Transactions;
    use tally_ports::{Begin, Claim, Positions};
    use tally_testkit::build::{LONG, commit, dead_letter, plain_commit, stream};
    use tally_testkit::memory::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_batch_counts_before_it_is_committed() {
        let stream = stream::<Transactions>("group/topic");
        let claim = MemoryStore::default().claim(&stream, "a", LONG, Begin::default()).await;
        let Ok(Claim::Owned(position)) = claim else { panic!("not owned") };
        let bad = |positions: std::ops::Range<i64>| {
            let letters = positions.clone().map(dead_letter).collect();
            let positions = positions.start..=positions.end - 1;
            commit(&position, &stream, positions, Vec::new(), letters)
        };
        let budget = Budget { in_a_row: 1_000, ..Budget::default() };

        // Several partitions are about to commit at once.
        let budget_window = Arc::new(Mutex::new(BudgetWindow::new(budget)));
        let first = BudgetedBatch::enter(&budget_window, &bad(0..600)).unwrap();
        let stop = BudgetedBatch::enter(&budget_window, &bad(600..1_000)).unwrap_err();
        assert!(stop.message.contains("1000 records in a row"), "{stop}");

        // What was not committed does not count: neither the one that was not let in nor one that failed.
        BudgetedBatch::enter(&budget_window, &bad(600..999)).unwrap();
        first.was_committed();
        drop(first);
        let second = BudgetedBatch::enter(&budget_window, &bad(600..999)).unwrap();
        assert!(BudgetedBatch::enter(&budget_window, &bad(999..1_000)).is_err());
        drop(second);
        BudgetedBatch::enter(&budget_window, &bad(999..1_000)).unwrap();
    }

    #[tokio::test]
    async fn what_the_database_refuses_is_found_out_when_others_have_entered() {
        let stream = stream::<Transactions>("group/topic");
        let claim = MemoryStore::default().claim(&stream, "a", LONG, Begin::default()).await;
        let Ok(Claim::Owned(position)) = claim else { panic!("not owned") };
        let good = |first: i64| plain_commit(&position, &stream, first..=first + 599);
        let budget = Budget { in_a_row: 600, window: 10, ..Budget::default() };
        let budget_window = Arc::new(Mutex::new(BudgetWindow::new(budget)));
        let budgeted = BudgetedBatch::enter(&budget_window, &good(0)).unwrap();
        let _others = [600, 1_200, 1_800]
            .map(|first| BudgetedBatch::enter(&budget_window, &good(first)).unwrap());
        let refused = |position| Refused { position, code: "23514".to_owned() };
        let refused: Vec<Refused> = (0..600).map(refused).collect();
        let stop = budgeted.admit(&refused).unwrap_err();
        assert!(stop.message.contains("10 of the last 10 records"), "{stop}");
    }
}
