//! A batch that is being collected.

use std::time::Duration;

use bytes::Bytes;
use rskafka::record::RecordAndOffset;
use serde_json::Value;
use tally_domain::amount::Notation;
use tally_domain::{Fields, Reason};
use tally_ports::{Batch, Headers, Item, Passed, Raw, passed};
use tokio::time::Instant;

use super::cursor::Cursor;

/// A batch holds at most this many bytes of records, or one record.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A record that was received.
pub(super) struct Received {
    offset: i64,
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    /// How many bytes it has.
    size: usize,
    pub(super) raw: Raw,
}

impl Received {
    pub(super) fn new(found: RecordAndOffset, no_headers: &Headers) -> Self {
        let RecordAndOffset { record, offset } = found;
        let (timestamp, size) = (record.timestamp.timestamp_millis(), record.approximate_size());
        let headers = if record.headers.is_empty() {
            Headers::clone(no_headers)
        } else {
            record.headers.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect()
        };
        let raw = Raw {
            key: record.key.map(Bytes::from),
            payload: record.value.map(Bytes::from),
            headers,
            // Kafka sends -1 for none.
            timestamp: (timestamp >= 0).then_some(record.timestamp),
            line: None,
        };
        Self { offset, timestamp, size, raw }
    }
}

/// A batch that is being collected.
pub(super) struct Open {
    first: i64,
    /// The offset after the last one passed.
    next: i64,
    items: Vec<Item>,
    bytes: usize,
    /// Whether it passes a compacted range; it then has no items.
    is_compacted: bool,
    closes_at: Option<Instant>,
    first_timestamp: Option<i64>,
    last_timestamp: i64,
}

impl Open {
    pub(super) const fn new(first: i64) -> Self {
        Self {
            first,
            next: first,
            items: Vec::new(),
            bytes: 0,
            is_compacted: false,
            closes_at: None,
            first_timestamp: None,
            last_timestamp: 0,
        }
    }

    pub(super) const fn first(&self) -> i64 {
        self.first
    }

    pub(super) const fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) const fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    /// Whether there is something to commit.
    pub(super) const fn has_passed(&self) -> bool {
        self.next > self.first
    }

    /// When it has waited long enough for more.
    pub(super) const fn closes_at(&self) -> Option<Instant> {
        self.closes_at
    }

    pub(super) const fn first_timestamp(&self) -> Option<i64> {
        self.first_timestamp
    }

    /// Whether `next` belongs into the next batch.
    pub(super) fn is_complete(&self, limit: usize, next: &Received) -> bool {
        let is_full =
            self.items.len() >= limit || self.has_items() && self.bytes + next.size > BATCH_BYTES;
        is_full || self.is_compacted
    }

    pub(super) fn push(
        &mut self,
        received: Received,
        content: Result<Fields, Reason>,
        linger: Duration,
    ) {
        let Received { offset, timestamp, size, raw } = received;
        self.bytes += size;
        self.last_timestamp = timestamp;
        self.first_timestamp.get_or_insert(timestamp);
        self.items.push(Item { position: offset, raw, content });
        self.pass(offset + 1, linger);
    }

    /// Passes the offsets before `next`, which have no records.
    pub(super) fn pass(&mut self, next: i64, linger: Duration) {
        self.next = next;
        self.closes_at.get_or_insert_with(|| Instant::now() + linger);
    }

    /// The same for records that were compacted away.
    pub(super) fn pass_compacted(&mut self, next: i64, linger: Duration) {
        self.is_compacted = true;
        self.pass(next, linger);
    }

    /// Closes the batch; the next one begins after it. `cursor` is that of the previous batch, and becomes this one's.
    pub(super) fn close(&mut self, cursor: &mut Value) -> Batch {
        let open = std::mem::replace(self, Self::new(self.next));
        if let Some(Item { position, raw, .. }) = open.items.last() {
            let (key, payload) = (raw.key.as_deref(), raw.payload.as_deref());
            *cursor = Cursor::new(*position, open.last_timestamp, key, payload).to_json();
        }
        let (first, last) = (open.first, open.next - 1);
        let gap = open
            .is_compacted
            .then(|| format!("compacted: no records are left at offsets {first} to {last}"));
        let without = last - first + 1 - i64::try_from(open.items.len()).unwrap_or(i64::MAX);
        let why = if open.is_compacted { passed::HOLE } else { passed::UNKNOWN };
        Batch {
            first,
            last,
            items: open.items,
            notation: Notation::Plain,
            cursor: cursor.clone(),
            passed: Passed::of(why, without),
            gap,
        }
    }
}
