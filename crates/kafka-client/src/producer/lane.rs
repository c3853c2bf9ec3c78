//! What goes to one partition: its order, its sequence numbers, and what is sent again.
//!
//! The broker takes a batch only if its sequence number follows on the last one it has of this producer and epoch. So
//! batches keep their numbers until it is known what became of them, and go out in the order of their numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

use super::pack::{self, Packing};
use super::{Identity, ProducerRecord};
use crate::batch::header::LEN;
use crate::error::Error;

/// The first pause before a batch is sent again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A record on its way.
pub(super) struct Entry {
    /// The call that sent it, and its index there.
    pub(super) delivery: u64,
    pub(super) index: usize,
    pub(super) record: ProducerRecord,
    /// In milliseconds since 1970.
    pub(super) time: i64,
    /// The most that it takes.
    pub(super) size: usize,
}

/// Records that go together.
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Given when it is sent for the first time; counted on after the largest that fits the wire.
    sequence: Option<i64>,
    packed_bytes: usize,
}

/// What became of records.
pub(super) enum Settled {
    Delivered(Vec<Entry>),
    TooLarge(Entry),
    Failed(Vec<Entry>, Error),
}

pub(super) struct Lane {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The broker that leads it, as far as that is known.
    pub(super) leader: Option<Arc<str>>,
    /// The most that a batch may take, by the topic's settings.
    limit: usize,
    /// The same, as far as refusals tell: a setting takes effect only after a while.
    max_batch_bytes: usize,
    epoch: i16,
    next_sequence: i64,
    /// To be sent again, in the order of their numbers; then those without one.
    waiting: VecDeque<Batch>,
    /// Not yet in a batch.
    entries: VecDeque<Entry>,
    entry_bytes: usize,
    /// When the oldest of them has lingered.
    lingers_until: Option<Instant>,
    pub(super) in_flight: usize,
    /// The first number that the broker will never get, as it lost it, refused it or it was given up: what follows needs a
    /// new epoch.
    missing: Option<i64>,
    /// After a failure nothing is sent until all that is in flight is answered, and not before this.
    resumes: Option<Instant>,
    pause: Duration,
    pub(super) failing_since: Option<Instant>,
}

impl Lane {
    pub(super) fn new(topic: Arc<str>, partition: i32, max_batch_bytes: usize, epoch: i16) -> Self {
        Self {
            topic,
            partition,
            leader: None,
            limit: max_batch_bytes,
            max_batch_bytes,
            epoch,
            next_sequence: 0,
            waiting: VecDeque::new(),
            entries: VecDeque::new(),
            entry_bytes: 0,
            lingers_until: None,
            in_flight: 0,
            missing: None,
            resumes: None,
            pause: FIRST_PAUSE,
            failing_since: None,
        }
    }

    /// Begins with another identity; what is on its way is forgotten.
    pub(super) fn reset(&mut self, identity: Identity) {
        let leader = self.leader.take();
        let (topic, partition) = (self.topic.clone(), self.partition);
        let fresh = Self::new(topic, partition, self.max_batch_bytes, identity.epoch);
        *self = Self { leader, ..fresh };
    }

    /// What refusals have told holds until the topic's settings change.
    pub(super) fn set_limit(&mut self, limit: usize) {
        if self.limit != limit {
            (self.limit, self.max_batch_bytes) = (limit, limit);
        }
    }

    /// Before anything is sent.
    pub(super) fn set_epoch(&mut self, epoch: i16) {
        self.epoch = epoch;
    }

    /// Nothing of what waits will be sent.
    pub(super) fn give_up(&mut self) -> Vec<Entry> {
        miss(&mut self.missing, self.waiting.front().and_then(|batch| batch.sequence));
        self.entry_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let entries = std::mem::take(&mut self.entries);
        waiting.into_iter().flat_map(|batch| batch.entries).chain(entries).collect()
    }

    pub(super) fn push(&mut self, entry: Entry, lingers_until: Instant) {
        self.entry_bytes += entry.size;
        self.lingers_until.get_or_insert(lingers_until);
        self.entries.push_back(entry);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.entries.is_empty() && self.in_flight == 0
    }

    /// The calls whose records wait.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = u64> {
        let waiting = self.waiting.iter().flat_map(|batch| &batch.entries);
        waiting.chain(&self.entries).map(|entry| entry.delivery)
    }

    /// Forgets the waiting records of which all that would go together are unwanted.
    pub(super) fn drop_unwanted(&mut self, is_wanted: impl Fn(u64) -> bool) {
        let is_wanted = |entry: &Entry| is_wanted(entry.delivery);
        self.waiting.retain(|batch| {
            let keeps = batch.entries.iter().any(is_wanted);
            if !keeps {
                miss(&mut self.missing, batch.sequence);
            }
            keeps
        });
        self.entries.retain(is_wanted);
        self.entry_bytes = self.entries.iter().map(|entry| entry.size).sum();
    }

    /// Whether a batch may be sent; else, from when on, if that is only a matter of time.
    pub(super) fn is_ready(&self, now: Instant, batch_bytes: usize) -> Result<(), Option<Instant>> {
        if self.in_flight > 0 && (self.resumes.is_some() || self.must_begin_epoch()) {
            return Err(None);
        }
        if let Some(resumes) = self.resumes.filter(|resumes| *resumes > now) {
            return Err(Some(resumes));
        }
        if !self.waiting.is_empty() || self.entry_bytes >= batch_bytes.min(self.max_batch_bytes) {
            return Ok(());
        }
        match self.lingers_until {
            Some(until) if until > now => Err(Some(until)),
            Some(_) if !self.entries.is_empty() => Ok(()),
            _ => Err(None),
        }
    }

    /// The next batch, packed, where the lane [is ready](Self::is_ready). A record that does not fit alone goes to `settled`.
    pub(super) fn take(
        &mut self,
        packing: Packing,
        producer_id: i64,
        batch_bytes: usize,
        settled: &mut Vec<Settled>,
    ) -> Option<(Batch, Bytes)> {
        self.resumes = None;
        loop {
            if self.must_begin_epoch() {
                if self.in_flight > 0 {
                    return None;
                }
                self.begin_epoch(packing, settled);
            }
            let mut batch = self.waiting.pop_front().or_else(|| self.form(batch_bytes))?;
            let sequence = batch.sequence.unwrap_or(self.next_sequence);
            let identity = Identity { id: producer_id, epoch: self.epoch };
            let records = batch.entries.iter().map(|entry| (&entry.record, entry.time));
            let packed = match pack::pack(packing, identity, sequence, records) {
                Ok(packed) => packed,
                Err(error) => {
                    let error = Error::Setting(format!("cannot pack a batch: {error}"));
                    settled.push(Settled::Failed(batch.entries, error));
                    continue;
                }
            };
            // What may have been written is only known again whole.
            if packed.len() <= self.max_batch_bytes || batch.sequence.is_some() {
                if batch.sequence.is_none() {
                    batch.sequence = Some(sequence);
                    self.next_sequence += count(&batch.entries);
                }
                batch.packed_bytes = packed.len();
                self.in_flight += 1;
                return Some((batch, packed));
            }
            self.split(batch, settled);
        }
    }

    fn form(&mut self, batch_bytes: usize) -> Option<Batch> {
        let most = batch_bytes.min(self.max_batch_bytes.saturating_sub(LEN));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = self.entries.front() {
            if bytes + entry.size > most && !entries.is_empty() {
                break;
            }
            bytes += entry.size;
            entries.extend(self.entries.pop_front());
        }
        self.entry_bytes -= bytes;
        if self.entries.is_empty() {
            self.lingers_until = None;
        }
        (!entries.is_empty()).then_some(Batch { entries, sequence: None, packed_bytes: 0 })
    }

    /// The halves go on in its place, under its numbers.
    fn split(&mut self, mut batch: Batch, settled: &mut Vec<Settled>) {
        let behind = batch.entries.split_off(batch.entries.len() / 2);
        let sequence = batch.sequence.map(|sequence| sequence + count(&batch.entries));
        let behind = Batch { entries: behind, sequence, packed_bytes: 0 };
        if batch.entries.is_empty() {
            miss(&mut self.missing, batch.sequence);
            settled.extend(behind.entries.into_iter().map(Settled::TooLarge));
        } else {
            self.wait(behind);
            self.wait(batch);
        }
    }

    /// In the order of the numbers.
    fn wait(&mut self, batch: Batch) {
        let comes_after = |other: &Batch| match (batch.sequence, other.sequence) {
            (Some(ours), Some(others)) => others > ours,
            (Some(_), None) => true,
            // Only halves of the first have none: they come before all that have none.
            (None, other) => other.is_none(),
        };
        let place = self.waiting.iter().position(comes_after).unwrap_or(self.waiting.len());
        self.waiting.insert(place, batch);
    }

    /// What the leader answered. Says whether another broker may lead by now.
    pub(super) fn answered(
        &mut self,
        batch: Batch,
        code: Option<ResponseError>,
        error: impl FnOnce(ResponseError) -> Error,
        packing: Packing,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> Option<Error> {
        self.in_flight -= 1;
        match code {
            None | Some(ResponseError::DuplicateSequenceNumber) => {
                self.failing_since = None;
                self.pause = FIRST_PAUSE;
                settled.push(Settled::Delivered(batch.entries));
                None
            }
            Some(ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge) => {
                self.max_batch_bytes = self.max_batch_bytes.min(batch.packed_bytes - 1);
                self.resumes = Some(now);
                self.split(batch, settled);
                None
            }
            // What comes behind a batch that was not taken is answered so; it goes again behind it.
            Some(
                ResponseError::OutOfOrderSequenceNumber
                | ResponseError::UnknownProducerId
                | ResponseError::InvalidProducerEpoch,
            ) if self.misses_an_earlier(&batch) || !packing.is_transactional => {
                if self.misses_an_earlier(&batch) {
                    self.resumes.get_or_insert(now);
                } else {
                    miss(&mut self.missing, batch.sequence);
                    self.back_off(now);
                }
                self.wait(batch);
                None
            }
            // The end of the transaction before is still being written.
            Some(ResponseError::ConcurrentTransactions) => {
                self.wait(batch);
                self.back_off(now);
                None
            }
            Some(code) => {
                let error = error(code);
                if code.is_retriable() && !ends_transaction(code) {
                    return Some(self.failed(batch, error, now));
                }
                miss(&mut self.missing, batch.sequence);
                settled.push(Settled::Failed(batch.entries, error));
                None
            }
        }
    }

    fn misses_an_earlier(&self, batch: &Batch) -> bool {
        let waiting = self.waiting.front().and_then(|first| first.sequence);
        [waiting, self.missing].into_iter().flatten().any(|earlier| Some(earlier) < batch.sequence)
    }

    /// All that comes before what is missing is sent.
    fn must_begin_epoch(&self) -> bool {
        let next = self.waiting.front().and_then(|first| first.sequence);
        self.missing.is_some_and(|missing| next.is_none_or(|next| next >= missing))
    }

    /// Nobody knows whether the broker has taken the batch: it goes again under its number.
    pub(super) fn lost(&mut self, batch: Batch, error: Error, now: Instant) -> Error {
        self.in_flight -= 1;
        self.failed(batch, error, now)
    }

    fn failed(&mut self, batch: Batch, error: Error, now: Instant) -> Error {
        self.wait(batch);
        self.back_off(now);
        error
    }

    /// Before anything could be sent, or after it failed.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.failing_since.get_or_insert(now);
        if self.resumes.is_none_or(|resumes| resumes <= now) {
            self.resumes = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Numbers begin again. A transaction cannot go on without what it misses.
    fn begin_epoch(&mut self, packing: Packing, settled: &mut Vec<Settled>) {
        let next = self.epoch.checked_add(1).filter(|_| !packing.is_transactional);
        let Some(next) = next else {
            let entries = self.give_up();
            let (topic, partition) = (self.topic.clone(), self.partition);
            let error = Error::BatchLost { topic, partition };
            settled.push(Settled::Failed(entries, error));
            return;
        };
        self.epoch = next;
        self.missing = None;
        self.next_sequence = 0;
        for batch in &mut self.waiting {
            batch.sequence = None;
        }
    }
}

fn miss(missing: &mut Option<i64>, sequence: Option<i64>) {
    *missing = missing.iter().copied().chain(sequence).min();
}

fn count(entries: &[Entry]) -> i64 {
    i64::try_from(entries.len()).unwrap_or(i64::MAX)
}

/// The coordinator knows better: the transaction must be aborted, or the producer begins again.
fn ends_transaction(code: ResponseError) -> bool {
    matches!(
        code,
        ResponseError::InvalidProducerEpoch
            | ResponseError::ProducerFenced
            | ResponseError::InvalidProducerIdMapping
            | ResponseError::InvalidTxnState
            | ResponseError::OutOfOrderSequenceNumber
            | ResponseError::UnknownProducerId
    )
}

#[cfg(test)]
mod tests;
