//! A position in a log, and whether it is still valid.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rskafka::client::partition::OffsetAt;
use tally_ports::{Fault, Stop, StopKind};

use super::cursor::Cursor;
use super::fetch_size::ONE_BATCH;
use crate::Gap;
use crate::cluster::{Answer, Cluster, Partition};
use crate::fault::setting;

/// A position in a partition's log.
#[derive(Clone)]
pub(super) struct LogPosition {
    pub(super) cluster: Cluster,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The next offset to read.
    pub(super) next: i64,
    /// The last record before it that was read, if one was.
    pub(super) tail: Option<Cursor>,
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

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl LogPosition {
    pub(super) async fn open(&self) -> Result<Partition, Fault> {
        let missing = if self.was_there { Fault::outage } else { setting };
        Partition::open(&self.cluster, &self.topic, self.partition, missing).await
    }

    /// Makes sure that the log is still the one that was read up to here, and still holds the next offset.
    ///
    /// Without a tail, or where that was deleted or compacted away, only the log's ends can tell.
    pub(super) async fn verify(&self, log: &Partition) -> Result<(), Halt> {
        let (start, end) =
            (log.offset(OffsetAt::Earliest).await?, log.offset(OffsetAt::Latest).await?);
        if self.next > end {
            return Err(self.recreated(start, &format!("its log ends at {end}")));
        }
        if self.next < start {
            return Err(self.deleted(start));
        }
        let readable = start..self.next;
        let Some(tail) = self.tail.filter(|tail| readable.contains(&tail.offset)) else {
            return Ok(());
        };
        let is_another = match log.fetch(tail.offset, ONE_BATCH, Duration::ZERO).await? {
            Answer::Records { records, .. } => records
                .first()
                .is_some_and(|found| found.offset == tail.offset && Cursor::of(found) != tail),
            // Either it is that record, or the record was compacted away and this is the next one.
            Answer::Marker => {
                let next = log.fetch(tail.offset + 1, ONE_BATCH, Duration::ZERO).await?;
                matches!(next, Answer::Records { .. })
            }
            // The record was in a batch that could be decoded.
            Answer::Undecodable(_) => true,
            Answer::OutOfRange => return Err(self.moved().into()),
        };
        if is_another {
            let offset = tail.offset;
            return Err(
                self.recreated(start, &format!("offset {offset} is not what was read there"))
            );
        }
        Ok(())
    }

    /// The batch here cannot be decoded: looks for its end, offset by offset, as the client reports nothing else about
    /// it.
    pub(super) async fn undecodable(&self, log: &Partition, why: &str) -> Halt {
        match self.end_of_undecodable(log).await {
            Ok(last) => {
                let text = format!(
                    "a batch there cannot be decoded (an old format, an unknown compression, a header without a value or with a name that is not UTF-8): {why}"
                );
                self.blocked(self.next..last + 1, last + 1, false, &text)
            }
            Err(fault) => fault.into(),
        }
    }

    async fn end_of_undecodable(&self, log: &Partition) -> Result<i64, Fault> {
        let end = log.offset(OffsetAt::Latest).await?;
        let mut last = self.next;
        while last + 1 < end {
            match log.fetch(last + 1, ONE_BATCH, Duration::ZERO).await? {
                Answer::Undecodable(_) => last += 1,
                Answer::Records { .. } | Answer::Marker => break,
                Answer::OutOfRange => return Err(self.moved()),
            }
        }
        Ok(last)
    }

    /// The log's ends changed while they were looked up.
    pub(super) fn moved(&self) -> Fault {
        let Self { topic, partition, .. } = self;
        Fault::outage(format!("{}: {topic}/{partition} changes", self.cluster.name()))
    }

    fn deleted(&self, start: i64) -> Halt {
        let text = format!("they are no longer in the log, which begins at {start}");
        self.blocked(self.next..start, start, false, &text)
    }

    fn recreated(&self, start: i64, why: &str) -> Halt {
        let text = format!("the topic was recreated: {why}");
        self.blocked(0..self.next, start, true, &text)
    }

    fn blocked(&self, range: Range<i64>, resume: i64, is_recreated: bool, why: &str) -> Halt {
        let (first, last) = (range.start, range.end - 1);
        let (topic, partition) = (self.topic.to_string(), self.partition);
        let gap = Gap { topic, partition, first, last, resume, is_recreated };
        let message = format!(
            "{}: {}/{partition}, offsets {first} to {last}: {why}; to resume at {resume} without them, once: --accept-gap {gap}",
            self.cluster.name(),
            self.topic,
        );
        Halt::Blocked(Box::new((gap, Stop { kind: StopKind::Blocked, message })))
    }
}
