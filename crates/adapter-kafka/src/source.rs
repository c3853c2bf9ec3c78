//! One partition in batches.

mod cursor;
mod fetch_size;
mod log_position;
mod open;
mod prefetch;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tally_ports::{Batch, Fault, Headers, Source, Stop};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use self::cursor::Cursor;
use self::log_position::LogPosition;
use self::open::{Open, Received};
use self::prefetch::{Event, Prefetch};
use crate::wire::Decoder;
use crate::{Cluster, Gap, PartitionProgress};

/// After this long without records, the source returns an idle batch.
const IDLE: Duration = Duration::from_millis(500);

/// After this many records it yields to the runtime.
const RECORDS_PER_TURN: usize = 512;

/// One partition of a topic in batches, from an offset on.
///
/// A task of its own fetches ahead, as far as its buffer goes. See the crate's doc for what becomes of offsets
/// without a record, and when it stops.
pub struct KafkaSource {
    decoder: Arc<Decoder>,
    progress: Arc<PartitionProgress>,
    until: Option<i64>,
    linger: Duration,
    /// The offset after everything that was received.
    log_position: LogPosition,
    /// The position's cursor, until it is read.
    unread: Option<Value>,
    /// The cursor of the last batch.
    cursor: Value,
    prefetch: Option<Prefetch>,
    /// Whether the broker answered since the last fault: until it does, nothing is idle.
    is_connected: bool,
    /// Records that were received and are in no batch yet.
    records: VecDeque<Received>,
    /// The end of a range without records after the batch being collected.
    compacted: Option<i64>,
    open: Open,
    /// The event after the batch being collected.
    ending: Option<Ending>,
    no_headers: Headers,
}

/// How reading ended.
enum Ending {
    /// At the configured end.
    End,
    /// For good.
    Blocked(Box<(Gap, Stop)>),
    /// Until the next call.
    Fault(Fault),
}

impl Source for KafkaSource {
    /// Returns within the linger time, half a second, or, at first and after a fault, the timeout of a call. Cancel
    /// safe.
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch>, Fault> {
        let batch = self.collect(limit.max(1)).await;
        let first = self.open.first_timestamp();
        let next = self.records.front().map(|received| received.timestamp);
        self.progress.waiting(first.or(next));
        batch
    }
}

impl KafkaSource {
    /// The partition from `next` on, where `cursor` is that of the position, up to `until` if that is set. The broker is not
    /// called before the first batch.
    pub fn new(
        cluster: Cluster,
        decoder: Arc<Decoder>,
        topic: &str,
        partition: i32,
        next: i64,
        cursor: &Value,
        until: Option<i64>,
    ) -> (Self, Arc<PartitionProgress>) {
        let progress = Arc::new(PartitionProgress::new(next));
        let source = Self {
            decoder,
            progress: Arc::clone(&progress),
            until,
            linger: cluster.settings().linger,
            log_position: LogPosition {
                cluster,
                topic: topic.into(),
                partition,
                next,
                tail: None,
                was_there: false,
            },
            unread: Some(cursor.clone()),
            cursor: cursor.clone(),
            prefetch: None,
            is_connected: false,
            records: VecDeque::new(),
            compacted: None,
            open: Open::new(next),
            ending: None,
            no_headers: Headers::default(),
        };
        (source, progress)
    }

    async fn collect(&mut self, limit: usize) -> Result<Option<Batch>, Fault> {
        self.read_cursor()?;
        let idle_at = Instant::now() + IDLE;
        loop {
            let is_complete = match self.take_in(limit).await {
                Ok(is_complete) => is_complete,
                // The decoded records go first; the next call meets the fault again.
                Err(_) if self.open.has_items() => true,
                Err(fault) => return Err(fault),
            };
            if is_complete {
                return Ok(Some(self.close()));
            }
            if let Some(ending) = &self.ending {
                if self.open.has_passed() {
                    return Ok(Some(self.close()));
                }
                return match ending {
                    Ending::End => Ok(None),
                    Ending::Blocked(why) => {
                        self.progress.block(why.0.clone());
                        Err(Fault::Stop(why.1.clone()))
                    }
                    Ending::Fault(fault) => {
                        let fault = fault.clone();
                        self.ending = None;
                        Err(fault)
                    }
                };
            }
            match self.receive(idle_at).await {
                Some(event) => self.receive_event(event),
                None if self.open.has_passed() => return Ok(Some(self.close())),
                None => return Ok(Some(Batch::idle(self.open.first()))),
            }
        }
    }

    /// Moves received records into the open batch; returns whether it is complete.
    async fn take_in(&mut self, limit: usize) -> Result<bool, Fault> {
        while let Some(received) = self.records.front() {
            if self.open.is_complete(limit, received) {
                return Ok(true);
            }
            let content = self.decoder.decode(received.raw.payload.as_ref()).await?;
            let Some(received) = self.records.pop_front() else { break };
            self.open.push(received, content, self.linger);
            if self.open.len().is_multiple_of(RECORDS_PER_TURN) {
                yield_now().await;
            }
        }
        if let Some(next) = self.compacted {
            if self.open.has_items() {
                return Ok(true);
            }
            self.open.pass_compacted(next, IDLE);
            self.compacted = None;
        }
        Ok(self.open.len() >= limit)
    }

    /// The next fetched event; `None` when the open batch has waited long enough, or nothing comes.
    async fn receive(&mut self, idle_at: Instant) -> Option<Event> {
        let prefetch = self.prefetch.get_or_insert_with(|| {
            Prefetch::start(self.log_position.clone(), self.until, Arc::clone(&self.progress))
        });
        let event = match self.open.closes_at() {
            Some(at) => timeout_at(at, prefetch.events.recv()).await.ok()?,
            None if self.is_connected => timeout_at(idle_at, prefetch.events.recv()).await.ok()?,
            None => prefetch.events.recv().await,
        };
        let died = || {
            Event::Fault(Fault::outage(format!(
                "{}: reading ended",
                self.log_position.cluster.name()
            )))
        };
        Some(event.unwrap_or_else(died))
    }

    fn receive_event(&mut self, event: Event) {
        match event {
            Event::Verified => (self.is_connected, self.log_position.was_there) = (true, true),
            Event::Records(records) => {
                if let Some(last) = records.last() {
                    self.log_position.next = last.offset + 1;
                    self.log_position.tail = Some(Cursor::of(last));
                }
                let received =
                    records.into_iter().map(|found| Received::new(found, &self.no_headers));
                self.records = received.collect();
            }
            Event::Passed { next, is_compacted } => {
                self.log_position.next = next;
                if is_compacted {
                    self.compacted = Some(next);
                } else {
                    self.open.pass(next, self.linger);
                }
            }
            Event::End => self.end(Ending::End),
            Event::Blocked(why) => self.end(Ending::Blocked(why)),
            Event::Fault(fault) => self.end(Ending::Fault(fault)),
        }
    }

    fn end(&mut self, ending: Ending) {
        self.prefetch = None;
        self.is_connected = false;
        self.ending = Some(ending);
    }

    fn close(&mut self) -> Batch {
        let timestamp = self.open.first_timestamp();
        let batch = self.open.close(&mut self.cursor);
        self.progress.handed_out(batch.last, timestamp);
        batch
    }

    fn read_cursor(&mut self) -> Result<(), Fault> {
        if let Some(cursor) = &self.unread {
            self.log_position.tail = Cursor::from_json(cursor)?;
            self.unread = None;
        }
        Ok(())
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("topic", &self.log_position.topic)
            .field("partition", &self.log_position.partition)
            .field("next", &self.open.first())
            .finish_non_exhaustive()
    }
}
