//! A position in a log, and whether it is still valid.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tally_kafka_client::{Broken, Error, Fetch, Fetched, Isolation, Partition, Piece};
use tally_ports::{Fault, Stop, StopKind};

use super::cursor::{Cursor, LastRecord};
use crate::Gap;
use crate::cluster::Cluster;
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
            return Err(self.recreated(&log, &format!("its id was {was} and is {is} now")).await);
        }
        let (start, end) = self.ends(&log).await?;
        if self.next > end {
            return Err(self.recreated(&log, &format!("its log ends at {end}")).await);
        }
        if self.next < start {
            return Err(self.deleted(start, &log));
        }
        let Some(last) = self.cursor.last.filter(|last| last.offset >= start) else {
            return Ok(log);
        };
        if self.is_another(&log, last).await? {
            let why = format!("offset {} is not what was read there", last.offset);
            return Err(self.recreated(&log, &why).await);
        }
        Ok(log)
    }

    /// What the log that was being read says of the next offset is that there is none, or something else went wrong.
    pub(super) async fn halt(&self, log: &Partition, error: Error) -> Halt {
        match error {
            Error::OutOfRange { .. } => match self.open().await {
                Err(halt) => halt,
                Ok(_) => self.changes(log),
            },
            Error::Recreated { was, is, .. } => match self.find().await {
                Ok(log) => self.recreated(&log, &format!("its id was {was} and is {is} now")).await,
                Err(halt) => halt,
            },
            error => Halt::Fault(fault(&format!("read {}", self.name()), &error)),
        }
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
            Broken::TooLarge { .. } => ": raise kafka.max_batch_bytes to read it",
            _ => "",
        };
        let text = format!("the batch there cannot be decoded: {broken}{raise}");
        self.blocked(range, resume, false, log, &text)
    }

    async fn find(&self) -> Result<Partition, Halt> {
        let found = self.cluster.client().partition(&self.topic, self.partition).await;
        found.map_err(|error| {
            let missing =
                matches!(error, Error::MissingTopic { .. } | Error::MissingPartition { .. });
            let what = format!("open {}", self.name());
            Halt::Fault(match missing {
                true if self.was_there => Fault::outage(format!("cannot {what}: {error}")),
                true => setting(format!("cannot {what}: {error}")),
                false => fault(&what, &error),
            })
        })
    }

    async fn ends(&self, log: &Partition) -> Result<(i64, i64), Halt> {
        let ends = async {
            Ok::<_, Error>((log.earliest().await?, log.latest(Isolation::ReadCommitted).await?))
        };
        ends.await.map_err(|error| {
            Halt::Fault(fault(&format!("ask for offsets of {}", self.name()), &error))
        })
    }

    /// Whether the log holds another record than the `last` that was read. Where that was compacted away, or cannot be
    /// read any more, nobody can tell.
    async fn is_another(&self, log: &Partition, last: LastRecord) -> Result<bool, Halt> {
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
                Err(error) => {
                    return Err(Halt::Fault(fault(&format!("read {}", self.name()), &error)));
                }
            }
        };
        let Some(Piece::Records(batch)) = answer.batches.next() else { return Ok(false) };
        let found = batch.records().next().filter(|found| found.offset == last.offset);
        Ok(found.is_some_and(|found| LastRecord::of(&found) != last))
    }

    fn name(&self) -> String {
        format!("{}/{}", self.topic, self.partition)
    }

    /// The log's ends changed while they were looked up.
    fn changes(&self, log: &Partition) -> Halt {
        let (topic, partition) = (log.topic(), log.partition());
        Halt::Fault(Fault::outage(format!("{}: {topic}/{partition} changes", self.cluster.name())))
    }

    fn deleted(&self, start: i64, log: &Partition) -> Halt {
        let text = format!("they are no longer in the log, which begins at {start}");
        self.blocked(self.next..=start - 1, start, false, log, &text)
    }

    async fn recreated(&self, log: &Partition, why: &str) -> Halt {
        match self.ends(log).await {
            Err(halt) => halt,
            Ok((start, _)) => {
                let text = format!("the topic was recreated: {why}");
                self.blocked(0..=(self.next - 1).max(0), start, true, log, &text)
            }
        }
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
        let gap = Gap { topic, partition, first, last, resume, is_recreated, cursor };
        let message = format!(
            "{}: {}, offsets {first} to {last}: {why}; to resume at {resume} without them, once: --accept-gap {gap}",
            self.cluster.name(),
            self.name(),
        );
        Halt::Blocked(Box::new((gap, Stop { kind: StopKind::Blocked, message })))
    }
}
