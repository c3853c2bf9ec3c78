//! A batch that is being collected.

use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use tally_domain::amount::Notation;
use tally_domain::{Fields, Reason};
use tally_kafka_client::{Record, Records};
use tally_ports::{Batch, Headers, Item, Passed, Raw, passed};
use tokio::time::Instant;

use crate::cursor::{Cursor, LastRecord};

/// A batch holds at most this many bytes of records, or one record.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// A header takes so much memory beside its name and value, which may be empty.
const HEADER_SIZE: usize = size_of::<(String, Option<Bytes>)>();

/// The records of a batch of the log that are in no batch of ours yet.
pub(super) struct Unread {
    records: Records,
    /// The first of them.
    pub(super) next: Option<Received>,
    /// The offset after the last one that the batch of the log covers.
    pub(super) end: i64,
    no_headers: Headers,
}

impl Unread {
    pub(super) fn new(records: Records, end: i64, no_headers: &Headers) -> Self {
        let mut unread = Self { records, next: None, end, no_headers: Headers::clone(no_headers) };
        unread.advance();
        unread
    }

    /// Takes the first record.
    pub(super) fn advance(&mut self) -> Option<Received> {
        let following = self.records.next().filter(|record| record.offset < self.end);
        let following = following.map(|record| Received::new(record, &self.no_headers));
        std::mem::replace(&mut self.next, following)
    }
}

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
    fn new(record: Record, no_headers: &Headers) -> Self {
        let Record { offset, timestamp, key, value, headers } = record;
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let mut size = length(&key) + length(&value);
        let headers = if headers.is_empty() {
            Headers::clone(no_headers)
        } else {
            let pairs = headers.iter().map(|(name, value)| {
                size += name.len() + length(&value) + HEADER_SIZE;
                (String::from_utf8_lossy(&name).into_owned(), value)
            });
            pairs.collect()
        };
        let raw = Raw {
            key,
            payload: value,
            headers,
            // Kafka sends -1 for none.
            timestamp: DateTime::from_timestamp_millis(timestamp).filter(|_| timestamp >= 0),
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
    passed: Passed,
    closes_at: Option<Instant>,
    first_timestamp: Option<i64>,
    last_timestamp: i64,
}

impl Open {
    pub(super) fn new(first: i64) -> Self {
        Self {
            first,
            next: first,
            items: Vec::new(),
            bytes: 0,
            passed: Passed::default(),
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
        self.items.len() >= limit || self.has_items() && self.bytes + next.size > BATCH_BYTES
    }

    pub(super) fn push(
        &mut self,
        received: Received,
        content: Result<Fields, Reason>,
        linger: Duration,
    ) {
        let Received { offset, timestamp, size, raw } = received;
        self.pass(offset, passed::HOLE, linger);
        self.bytes += size;
        self.last_timestamp = timestamp;
        self.first_timestamp.get_or_insert(timestamp);
        self.items.push(Item { position: offset, raw, content });
        self.next = offset + 1;
        self.begin_to_linger(linger);
    }

    /// Passes the offsets before `next`, which have no records.
    pub(super) fn pass(&mut self, next: i64, why: &'static str, linger: Duration) {
        if next > self.next {
            self.passed.add(why, next - self.next);
            self.next = next;
            self.begin_to_linger(linger);
        }
    }

    fn begin_to_linger(&mut self, linger: Duration) {
        self.closes_at.get_or_insert_with(|| Instant::now() + linger);
    }

    /// Closes the batch; the next one begins after it. `cursor` is that of the previous batch, and becomes this one's.
    pub(super) fn close(&mut self, cursor: &mut Cursor) -> Batch {
        let open = std::mem::replace(self, Self::new(self.next));
        if let Some(Item { position, raw, .. }) = open.items.last() {
            let (key, payload) = (raw.key.as_deref(), raw.payload.as_deref());
            cursor.last = Some(LastRecord::new(*position, open.last_timestamp, key, payload));
        }
        Batch {
            first: open.first,
            last: open.next - 1,
            items: open.items,
            notation: Notation::Plain,
            cursor: cursor.to_json(),
            passed: open.passed,
            is_last: false, // a topic goes on
        }
    }
}
