//! One partition in batches.

mod log_position;
mod open;
mod reader;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tally_ports::{Batch, Fault, Headers, Source, Stop, passed};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use self::log_position::{Halt, LogPosition};
use self::open::{Open, Unread};
use self::reader::{Event, Reader};
use crate::cursor::Cursor;
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
    cluster: Cluster,
    decoder: Arc<Decoder>,
    topic: Arc<str>,
    partition: i32,
    progress: Arc<PartitionProgress>,
    until: Option<i64>,
    /// The position's cursor, until it is read.
    given: Option<Value>,
    /// The cursor of the last batch.
    cursor: Cursor,
    reader: Option<Reader>,
    /// Whether the topic was there once.
    was_there: bool,
    /// Whether the broker answered since the last fault: until it does, nothing is idle.
    is_connected: bool,
    /// Records that were received and are in no batch yet.
    unread: Option<Unread>,
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
    /// Returns within the linger time, half a second, or, at first and after a fault, the time that opening takes. Cancel
    /// safe.
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch>, Fault> {
        let batch = self.collect(limit.max(1)).await;
        let first = self.open.first_timestamp();
        let next = self.unread.as_ref().and_then(|unread| unread.next.as_ref());
        let next = next.map(|received| received.timestamp);
        self.progress.waiting(first.or(next));
        batch
    }
}

/// Whether the log of a partition is another one than that which was read up to before `next`, where `cursor` is that of the
/// position.
///
/// # Errors
/// When the brokers are unavailable, or the topic is not there.
pub async fn is_recreated(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    next: i64,
    cursor: &Value,
) -> Result<bool, Fault> {
    let log_position = LogPosition {
        cluster: cluster.clone(),
        topic: topic.into(),
        partition,
        next,
        cursor: Cursor::from_json(cursor)?,
        was_there: false,
    };
    match log_position.open().await {
        Err(Halt::Blocked(why)) => Ok(why.0.is_recreated),
        Err(Halt::Fault(fault)) => Err(fault),
        Ok(_) | Err(Halt::Abandoned) => Ok(false),
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
            cluster,
            decoder,
            topic: topic.into(),
            partition,
            progress: Arc::clone(&progress),
            until,
            given: Some(cursor.clone()),
            cursor: Cursor::default(),
            reader: None,
            was_there: !cursor.is_null(),
            is_connected: false,
            unread: None,
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
        let linger = self.cluster.settings().linger;
        while let Some(unread) = &mut self.unread {
            let Some(next) = &unread.next else {
                self.open.pass(unread.end, passed::HOLE, linger);
                self.unread = None;
                break;
            };
            if self.open.is_complete(limit, next) {
                return Ok(true);
            }
            let content = self.decoder.decode(next.raw.payload.as_ref()).await?;
            if let Some(received) = unread.advance() {
                self.open.push(received, content, linger);
            }
            if self.open.len().is_multiple_of(RECORDS_PER_TURN) {
                yield_now().await;
            }
        }
        Ok(self.open.len() >= limit)
    }

    /// The next event; `None` when the open batch has waited long enough, or nothing comes.
    async fn receive(&mut self, idle_at: Instant) -> Option<Event> {
        let reader = self.reader.get_or_insert_with(|| {
            let log_position = LogPosition {
                cluster: self.cluster.clone(),
                topic: Arc::clone(&self.topic),
                partition: self.partition,
                next: self.open.first(),
                cursor: self.cursor,
                was_there: self.was_there,
            };
            Reader::start(log_position, self.until, Arc::clone(&self.progress))
        });
        let event = match self.open.closes_at() {
            Some(at) => timeout_at(at, reader.events.recv()).await.ok()?,
            None if self.is_connected => timeout_at(idle_at, reader.events.recv()).await.ok()?,
            None => reader.events.recv().await,
        };
        let died =
            || Event::Fault(Fault::outage(format!("{}: reading ended", self.cluster.name())));
        Some(event.unwrap_or_else(died))
    }

    fn receive_event(&mut self, event: Event) {
        let until = self.until.unwrap_or(i64::MAX);
        match event {
            Event::Opened { topic_id } => {
                self.cursor.topic_id = topic_id;
                (self.is_connected, self.was_there) = (true, true);
            }
            Event::Records(batch) => {
                let end = until.min(batch.last() + 1);
                self.unread = Some(Unread::new(batch.records(), end, &self.no_headers));
            }
            Event::Passed { last, why } => {
                self.open.pass(until.min(last + 1), why, self.cluster.settings().linger);
            }
            Event::End => self.end(Ending::End),
            Event::Blocked(why) => self.end(Ending::Blocked(why)),
            Event::Fault(fault) => self.end(Ending::Fault(fault)),
        }
    }

    fn end(&mut self, ending: Ending) {
        self.reader = None;
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
        if let Some(cursor) = &self.given {
            self.cursor = Cursor::from_json(cursor)?;
            self.given = None;
        }
        Ok(())
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("next", &self.open.first())
            .finish_non_exhaustive()
    }
}
