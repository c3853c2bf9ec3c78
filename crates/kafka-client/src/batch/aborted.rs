//! Which batches belong to aborted transactions.

use std::collections::{HashSet, VecDeque};

/// A transaction that was aborted: all that its producer wrote transactionally from `first_offset` up to its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first offset; it may lie before the wanted one.
    pub first_offset: i64,
}

/// The aborted transactions of an answer, as the walk passes them.
#[derive(Clone, Debug)]
pub(super) struct Aborted {
    ahead: VecDeque<AbortedTransaction>,
    open: HashSet<i64>,
}

impl Aborted {
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| transaction.first_offset);
        Self { ahead: aborted.into(), open: HashSet::new() }
    }

    /// The walk has come to a batch that ends at `last`.
    pub(super) fn pass(&mut self, last: i64) {
        while let Some(transaction) = self.ahead.pop_front_if(|next| next.first_offset <= last) {
            self.open.insert(transaction.producer_id);
        }
    }

    pub(super) fn holds(&self, producer_id: i64) -> bool {
        self.open.contains(&producer_id)
    }

    /// The producer's transaction ends with this marker, whichever it is: the first one after an aborted transaction
    /// began is that transaction's.
    pub(super) fn end(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }

    /// Whether a marker up to `last` could have ended one of these.
    pub(super) fn could_end(&self, last: i64) -> bool {
        let next_begins = self.ahead.front().is_some_and(|next| next.first_offset <= last);
        next_begins || !self.open.is_empty()
    }
}
