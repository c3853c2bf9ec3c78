//! The calls whose records are on their way, and what they are told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::Outcome;
use crate::error::Error;
use crate::producer::Undelivered;
use crate::producer::lane::Settled;

#[derive(Default)]
pub(super) struct Calls {
    open: HashMap<u64, OpenCall>,
    /// The first failure of one.
    failed: Option<Error>,
    flushes: Vec<oneshot::Sender<Result<(), Error>>>,
}

/// What a call waits for.
struct OpenCall {
    open: usize,
    too_large: Vec<usize>,
    failed: Option<Error>,
    outcomes: watch::Sender<Option<Outcome>>,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn is_open(&self, delivery: u64) -> bool {
        self.open.contains_key(&delivery)
    }

    /// A call with so many records.
    pub(super) fn open(
        &mut self,
        delivery: u64,
        records: usize,
        outcomes: watch::Sender<Option<Outcome>>,
        permit: Option<Arc<OwnedSemaphorePermit>>,
    ) {
        let (open, too_large, failed) = (records, Vec::new(), None);
        let call = OpenCall { open, too_large, failed, outcomes, _permit: permit };
        self.open.insert(delivery, call);
        self.close(delivery);
    }

    /// Tells calls that their records are not written yet.
    pub(super) fn tell(&self, deliveries: impl Iterator<Item = u64>, error: &Error) {
        let mut told = HashSet::new();
        for delivery in deliveries.filter(|delivery| told.insert(*delivery)) {
            if let Some(call) = self.open.get(&delivery) {
                let error = error.clone();
                call.outcomes.send_replace(Some(Err(Undelivered { error, is_on_its_way: true })));
            }
        }
    }

    pub(super) fn settle(&mut self, settled: Vec<Settled>) {
        for settled in settled {
            let (entries, error, is_too_large) = match settled {
                Settled::Delivered(entries) => (entries, None, false),
                Settled::TooLarge(entry) => (vec![entry], None, true),
                Settled::Failed(entries, error) => (entries, Some(error), false),
            };
            for of_call in entries.chunk_by(|one, next| one.delivery == next.delivery) {
                let delivery = of_call[0].delivery;
                let Some(call) = self.open.get_mut(&delivery) else { continue };
                call.open -= of_call.len();
                if is_too_large {
                    call.too_large.extend(of_call.iter().map(|entry| entry.index));
                }
                if call.failed.is_none() {
                    call.failed.clone_from(&error);
                }
                self.close(delivery);
            }
        }
    }

    fn close(&mut self, delivery: u64) {
        if self.open.get(&delivery).is_none_or(|call| call.open > 0) {
            return;
        }
        let Some(call) = self.open.remove(&delivery) else { return };
        let OpenCall { mut too_large, failed, outcomes, .. } = call;
        too_large.sort_unstable();
        if self.failed.is_none() {
            self.failed.clone_from(&failed);
        }
        let failed = failed.map(|error| Undelivered { error, is_on_its_way: false });
        outcomes.send_replace(Some(failed.map_or(Ok(too_large), Err)));
        self.answer_flushes();
    }

    /// Answers who waits for the end of all calls.
    fn answer_flushes(&mut self) {
        if self.open.is_empty() {
            for flushed in self.flushes.drain(..) {
                let failed = self.failed.clone().map(Box::new).map(Error::TransactionFailed);
                let _ = flushed.send(failed.map_or(Ok(()), Err));
            }
        }
    }

    /// Answers when all calls have ended, with the first failure since the producer began.
    pub(super) fn flush(&mut self, flushed: oneshot::Sender<Result<(), Error>>) {
        self.flushes.push(flushed);
        self.answer_flushes();
    }

    /// Forgets all calls.
    pub(super) fn begin(&mut self) {
        self.open.clear();
        self.failed = None;
        self.answer_flushes();
    }

    /// Forgets those for which nobody waits any more; whether there were any.
    pub(super) fn forget_dropped(&mut self) -> bool {
        let before = self.open.len();
        self.open.retain(|_, call| !call.outcomes.is_closed());
        self.open.len() < before
    }
}
