//! Fetches ahead of the source.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use rskafka::client::partition::OffsetAt;
use rskafka::record::RecordAndOffset;
use tally_ports::{Fault, Stop, metric};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::cursor::Cursor;
use super::fetch_size::{FetchSize, ONE_BATCH};
use super::log_position::{Halt, LogPosition};
use crate::cluster::{Answer, Partition};
use crate::{Gap, PartitionProgress};

/// How long a fetch waits for new records.
const WAIT: Duration = Duration::from_millis(500);

/// After this long without a fetch the cursor is verified again: a topic that was deleted, recreated and filled
/// meanwhile would answer the next fetch as if nothing had happened.
const UNSEEN: Duration = Duration::from_secs(1);

/// An event of the log, in order.
pub(super) enum Event {
    /// The log is the one that was read before.
    Verified,
    /// Records, at least one.
    Records(Vec<RecordAndOffset>),
    /// There are no records before this offset: transactions ended there, or they were compacted away.
    Passed { next: i64, is_compacted: bool },
    /// The source's end is reached.
    End,
    /// The partition is blocked.
    Blocked(Box<(Gap, Stop)>),
    /// A fault; a later fetch may succeed.
    Fault(Fault),
}

/// A task that reads ahead: one response is in the channel and one waits to be sent.
pub(super) struct Prefetch {
    pub(super) events: mpsc::Receiver<Event>,
    _task: AbortOnDropHandle<()>,
}

impl Prefetch {
    /// Reads from `log_position` up to `until`, until the first fault.
    pub(super) fn start(
        log_position: LogPosition,
        until: Option<i64>,
        progress: Arc<PartitionProgress>,
    ) -> Self {
        let (sender, events) = mpsc::channel(1);
        let settings = log_position.cluster.settings();
        let (fetch_size, wait) =
            (FetchSize::new(settings.fetch_bytes), WAIT.min(settings.timeout / 2));
        let reader = Reader { log_position, until, progress, wait, fetch_size, events: sender };
        Self { events, _task: AbortOnDropHandle::new(tokio::spawn(reader.run())) }
    }
}

struct Reader {
    log_position: LogPosition,
    until: Option<i64>,
    progress: Arc<PartitionProgress>,
    wait: Duration,
    fetch_size: FetchSize,
    events: mpsc::Sender<Event>,
}

impl Reader {
    async fn run(mut self) {
        let event = match self.read().await {
            Ok(()) => Event::End,
            Err(Halt::Blocked(why)) => Event::Blocked(why),
            Err(Halt::Fault(fault)) => Event::Fault(fault),
            Err(Halt::Abandoned) => return,
        };
        let _nobody_listens = self.events.send(event).await;
    }

    async fn read(&mut self) -> Result<(), Halt> {
        let log = self.open().await?;
        self.send(Event::Verified).await?;
        let mut seen = Instant::now();
        // The end of the log before the fetch; the offset of a response without records, and how much to fetch
        // there.
        let (mut end, mut nothing) = (i64::MIN, None);
        while self.until.is_none_or(|until| self.log_position.next < until) {
            let next = self.log_position.next;
            if seen.elapsed() > UNSEEN {
                self.log_position.verify(&log).await?;
            }
            let bare = nothing.filter(|(at, _)| *at == next).map(|(_, limit)| limit);
            let wait = if next < end && bare.is_none() { Duration::ZERO } else { self.wait };
            let limit = bare.unwrap_or(self.fetch_size.limit());
            let asked = Instant::now();
            let answer = log.fetch(next, limit, wait).await?;
            seen = Instant::now();
            // A broker waits only while it has nothing to send: a response that came sooner holds a batch, with records or not.
            let is_batch = seen - asked < wait;
            match answer {
                Answer::Records { records, high } if !records.is_empty() => {
                    self.fetch_size.went_well();
                    self.take(records, high).await?;
                }
                Answer::Records { high, .. } if high <= next => self.reached_end(),
                Answer::Records { .. } if next >= end => {
                    // An open transaction, or records that just arrived, or a compacted range.
                    end = log.offset(OffsetAt::Latest).await?;
                    if end <= next {
                        self.reached_end();
                    }
                }
                Answer::Records { .. } if bare.is_some() && is_batch => {
                    self.pass(next + 1, true).await?;
                    nothing = Some((next + 1, limit));
                }
                Answer::Records { .. } => {
                    nothing = Some((next, bare.unwrap_or(self.fetch_size.most())));
                }
                // It may be one after the batch that holds this offset.
                Answer::Marker | Answer::Undecodable(_) if bare.is_some() && limit > ONE_BATCH => {
                    nothing = Some((next, ONE_BATCH));
                }
                Answer::Marker if limit == ONE_BATCH => {
                    self.fetch_size.went_well();
                    self.pass(next + 1, false).await?;
                }
                Answer::Undecodable(why) if limit == ONE_BATCH => {
                    return Err(self.log_position.undecodable(&log, &why).await);
                }
                Answer::Marker | Answer::Undecodable(_) => self.fetch_size.failed(),
                Answer::OutOfRange => {
                    self.log_position.verify(&log).await?;
                    return Err(self.log_position.moved().into());
                }
            }
        }
        Ok(())
    }

    /// Opens the log and verifies the cursor, within the timeout of one call: the gate's probe waits for it.
    async fn open(&self) -> Result<Partition, Halt> {
        let opening = async {
            let log = self.log_position.open().await?;
            self.log_position.verify(&log).await?;
            Ok(log)
        };
        let LogPosition { cluster, topic, partition, .. } = &self.log_position;
        cluster.within(cluster.generation(), &format!("open {topic}/{partition}"), opening).await?
    }

    /// Sends the records before the end.
    async fn take(&mut self, mut records: Vec<RecordAndOffset>, high: i64) -> Result<(), Halt> {
        let until = self.until.unwrap_or(i64::MAX);
        let before_end = records.partition_point(|record| record.offset < until);
        let goes_beyond = before_end < records.len();
        records.truncate(before_end);
        let Some(last) = records.last() else { return self.pass(until, true).await };

        let (tail, next) = (Cursor::of(last), last.offset + 1);
        self.progress.fetched(next, high);
        self.send(Event::Records(records)).await?;
        self.log_position.tail = Some(tail);
        self.log_position.next = next;
        if goes_beyond && next < until {
            self.pass(until, false).await?;
        }
        Ok(())
    }

    async fn pass(&mut self, next: i64, is_compacted: bool) -> Result<(), Halt> {
        self.send(Event::Passed { next, is_compacted }).await?;
        self.log_position.next = next;
        Ok(())
    }

    fn reached_end(&self) {
        counter!(metric::KAFKA_POLL_EMPTY).increment(1);
        self.progress.reached_end(self.log_position.next);
    }

    async fn send(&self, event: Event) -> Result<(), Halt> {
        self.events.send(event).await.map_err(|_| Halt::Abandoned)
    }
}
