//! A position in a log, and whether it is still valid.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tally_kafka_client::{Broken, Error, Fetch, Fetched, Isolation, Partition, Piece, Timestamps};
use tally_ports::{Fault, Stop, StopKind};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::Gap;
use crate::cluster::Cluster;
use crate::cursor::{Cursor, LastRecord};
use crate::fault::{fault, setting};

/// For so small a size, a broker sends exactly one batch.
const ONE_BATCH: i32 = 1;

/// A position in a partition's log.
#[derive(Clone)]
pub(super) struct LogPosition {
    pub(super) cluster: Cluster,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The next offset to read.
    pub(super) next: i64,
    /// What was read before it.
    pub(super) cursor: Cursor,
    /// Whether the topic existed before: if it is gone now, it may be about to be recreated.
    pub(super) was_there: bool,
}

/// Why reading ends.
pub(super) enum Halt {
    /// The partition is blocked.
    Blocked(Box<(Gap, Stop)>),
    Fault(Fault),
    /// The receiver is gone.
    Abandoned,
}

impl LogPosition {
    /// Makes sure that the log is still the one that was read up to here, and still holds the next offset.
    ///
    /// It is another one if the topic's id is another, if it ends before the position, or if the last record that was read is
    /// there no longer although another one is.
    pub(super) async fn open(&self) -> Result<Partition, Halt> {
        let log = self.find().await?;
        if let (Some(was), Some(is)) = (self.cursor.topic_id, log.topic_id())
            && was != is
        {
            return Err(self.recreated(was, is).await);
        }
        let (start, end) = self.ends(&log).await?;
        if self.next > end {
            return Err(self.ends_before(&log, start, end));
        }
        if self.next < start {
            let text = format!("they are no longer in the log, which begins at {start}");
            return Err(self.blocked(self.next..=start - 1, start, false, &log, &text));
        }
        if let Some(last) = self.cursor.last.filter(|last| last.offset >= start)
            && !self.is_there(&log, last).await?
        {
            let why = format!("offset {} is not what was read there", last.offset);
            return Err(self.restarts(&log, start, &why));
        }
        Ok(log)
    }

    /// What follows from the error of a fetch at the next offset.
    pub(super) async fn halt(&self, error: Error) -> Halt {
        match error {
            Error::OutOfRange { .. } => match self.open().await {
                Err(halt) => halt,
                Ok(log) => self.changes(&log),
            },
            Error::Recreated { was, is, .. } => self.recreated(was, is).await,
            Error::Damaged { .. } => {
                let message = format!("cannot read {}: {error}", self.name());
                Halt::Fault(Fault::stop(StopKind::Data, message))
            }
            error => self.fault("read", &error),
        }
    }

    /// A place in memory for one unpacked batch.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, Halt> {
        let bytes = self.cluster.settings().max_batch_bytes;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let place = Arc::clone(self.cluster.memory()).acquire_many_owned(bytes).await;
        place.map_err(|_| Halt::Abandoned)
    }

    /// A range of the log cannot be decoded.
    pub(super) fn undecodable(
        &self,
        range: RangeInclusive<i64>,
        broken: &Broken,
        log: &Partition,
    ) -> Halt {
        let resume = range.end() + 1;
        let raise = match broken {
            Broken::TooLarge { .. } | Broken::Unread { .. } => {
                ": raise kafka.max_batch_bytes to read it"
            }
            _ => "",
        };
        let text = format!("the batch there cannot be decoded: {broken}{raise}");
        self.blocked(range, resume, false, log, &text)
    }

    async fn find(&self) -> Result<Partition, Halt> {
        let found = self.cluster.client().partition(&self.topic, self.partition).await;
        found.map_err(|error| match error {
            Error::MissingTopic { .. } | Error::MissingPartition { .. } if !self.was_there => {
                Halt::Fault(setting(format!("cannot open {}: {error}", self.name())))
            }
            error => self.fault("open", &error),
        })
    }

    async fn ends(&self, log: &Partition) -> Result<(i64, i64), Halt> {
        let ends = async {
            Ok::<_, Error>((log.earliest().await?, log.latest(Isolation::ReadCommitted).await?))
        };
        ends.await.map_err(|error| self.fault("ask for offsets of", &error))
    }

    /// Whether the log holds the `last` record that was read. Where that was compacted away, or cannot be read any more,
    /// nobody can tell, and it is believed.
    async fn is_there(&self, log: &Partition, last: LastRecord) -> Result<bool, Halt> {
        let fetch = Fetch {
            max_wait: Duration::ZERO,
            max_bytes: ONE_BATCH,
            max_batch_bytes: self.cluster.settings().max_batch_bytes,
            ..Fetch::from(last.offset)
        };
        let mut answer = loop {
            match log.fetch(fetch).await {
                Ok(Fetched::Answer(answer)) => break answer,
                Ok(Fetched::Throttled(_)) => {}
                Err(Error::OutOfRange { .. }) => return Err(self.changes(log)),
                Err(error) => return Err(self.fault("read", &error)),
            }
        };
        // One batch of a process at a time, without a place: those that have one may wait for this to go on.
        let Ok(_one) = self.cluster.comparing().acquire().await else {
            return Err(Halt::Abandoned);
        };
        let Some(Piece::Records(batch)) = answer.batches.next() else { return Ok(true) };
        let found = batch.records().next().filter(|found| found.offset == last.offset);
        // Cursors from before topics' ids were looked at have the producer's time, whatever the topic is set to.
        let is_timestamp_known =
            self.cursor.topic_id.is_some() || batch.timestamps() == Timestamps::Create;
        Ok(found.is_none_or(|found| last.is(&found, is_timestamp_known)))
    }

    fn name(&self) -> String {
        format!("{}/{}", self.topic, self.partition)
    }

    fn fault(&self, tried: &str, error: &Error) -> Halt {
        Halt::Fault(fault(&format!("{tried} {}", self.name()), error))
    }

    /// The log's ends changed while they were looked up.
    fn changes(&self, log: &Partition) -> Halt {
        let (topic, partition) = (log.topic(), log.partition());
        Halt::Fault(Fault::outage(format!("{}: {topic}/{partition} changes", self.cluster.name())))
    }

    /// The log ends before the position: it has lost records, or, where topics have no ids, its topic was recreated.
    fn ends_before(&self, log: &Partition, start: i64, end: i64) -> Halt {
        if self.cursor.topic_id.is_none() {
            return self.restarts(log, start, &format!("its log ends at {end}"));
        }
        let text = format!(
            "the log lost these records and ends at {end} now (an unclean leader election?); new records take their offsets"
        );
        self.blocked(end..=self.next - 1, end, true, log, &text)
    }

    /// The topic of that name is another one now.
    async fn recreated(&self, was: Uuid, is: Uuid) -> Halt {
        let found = async {
            let log = self.find().await?;
            let (start, _) = self.ends(&log).await?;
            Ok((log, start))
        };
        match found.await {
            Err(halt) => halt,
            Ok((log, start)) => {
                self.restarts(&log, start, &format!("its id was {was} and is {is} now"))
            }
        }
    }

    /// All of the log has to be read again.
    fn restarts(&self, log: &Partition, start: i64, why: &str) -> Halt {
        let text = format!("the topic was recreated: {why}");
        self.blocked(0..=(self.next - 1).max(0), start, true, log, &text)
    }

    fn blocked(
        &self,
        range: RangeInclusive<i64>,
        resume: i64,
        is_recreated: bool,
        log: &Partition,
        why: &str,
    ) -> Halt {
        let (first, last) = range.into_inner();
        let cursor = Cursor { topic_id: log.topic_id(), last: None }.to_json();
        let (topic, partition) = (self.topic.to_string(), self.partition);
        let why = why.to_owned();
        let gap = Gap { topic, partition, first, last, resume, is_recreated, cursor, why };
        let message = format!(
            "{}: {}, offsets {first} to {last}: {}; to resume at {resume} without them, once: --accept-gap {gap}",
            self.cluster.name(),
            self.name(),
            gap.why,
        );
        Halt::Blocked(Box::new((gap, Stop { kind: StopKind::Blocked, message })))
    }
}
