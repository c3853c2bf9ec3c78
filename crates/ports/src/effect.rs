//! What a batch's rows did to a flow's tables.

use tally_domain::Reason;

use crate::Row;

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store holds its effect.
    Written,
    /// A newer version of its key was written, in this batch or before it.
    Superseded,
    /// By the flow's rule it has no effect.
    Skipped,
    /// The database refused it.
    Refused(Refusal),
}

/// Why the database refused a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The SQLSTATE or `SQLite`'s constraint kind.
    pub code: String,
    /// The name of the constraint, where the database tells one. Never a value of the row.
    pub constraint: Option<String>,
}

impl Refusal {
    /// One of which only the code is known.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), constraint: None }
    }
}

impl From<&Refusal> for Reason {
    fn from(Refusal { code, constraint }: &Refusal) -> Self {
        Self::refused_by_database(code, constraint.as_deref())
    }
}

/// The rows of a batch in the order in which upserts by key touch them: by key, so that two writers never wait for
/// each other in a circle, and within a key by position, so that the last one wins.
#[derive(Debug)]
pub struct KeyOrder {
    /// Indices into the rows, and whether the row is the last of its key.
    order: Vec<(usize, bool)>,
}

impl KeyOrder {
    /// Orders `rows`, which stand in order of position.
    pub fn new<'a, K: Ord>(rows: &'a [Row], key: impl Fn(&'a Row) -> K) -> Self {
        let mut keyed: Vec<(K, usize)> =
            rows.iter().enumerate().map(|(index, row)| (key(row), index)).collect();
        keyed.sort_unstable();
        let is_last =
            |slot: usize| keyed.get(slot + 1).is_none_or(|(next, _)| *next != keyed[slot].0);
        let order =
            keyed.iter().enumerate().map(|(slot, &(_, index))| (index, is_last(slot))).collect();
        Self { order }
    }

    /// The index of every row.
    pub fn all(&self) -> impl ExactSizeIterator<Item = usize> + Clone {
        self.order.iter().map(|&(index, _)| index)
    }

    /// The index of the last row of each key.
    pub fn winners(&self) -> impl Iterator<Item = usize> + Clone {
        self.order.iter().filter(|(_, is_last)| *is_last).map(|&(index, _)| index)
    }

    /// What became of each row, in order of position, after the winners were written.
    pub fn outcomes_of_winners(&self) -> Vec<Outcome> {
        self.outcomes_of_all(&vec![None; self.order.len()])
    }

    /// What became of each row, in order of position, after all of them were upserted one after the other in this
    /// order; `refusals`, in this order too, says which were refused. The last one that was not refused was written.
    pub fn outcomes_of_all(&self, refusals: &[Option<Refusal>]) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Superseded; self.order.len()];
        let mut key_has_winner = false;
        for (&(index, is_last), refusal) in self.order.iter().zip(refusals).rev() {
            if is_last {
                key_has_winner = false;
            }
            outcomes[index] = match refusal {
                Some(refusal) => Outcome::Refused(refusal.clone()),
                None if key_has_winner => Outcome::Superseded,
                None => {
                    key_has_winner = true;
                    Outcome::Written
                }
            };
        }
        outcomes
    }
}
