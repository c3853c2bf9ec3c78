//! Where a partition begins and ends.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::Api;
use crate::error::Error;
use crate::partition::{Ask, Leader, Partition};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Which records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All, also those of transactions that are still open or were aborted.
    ReadUncommitted,
    /// Those of committed transactions and those without one, up to the first transaction that is still open: the last
    /// stable offset.
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn level(self) -> i8 {
        i8::from(self == Self::ReadCommitted)
    }
}

impl Partition {
    /// The first offset that the log still has.
    pub async fn earliest(&self) -> Result<i64, Error> {
        self.list(EARLIEST, Isolation::ReadUncommitted).await
    }

    /// The end of what can be read: the high watermark, or the last stable offset.
    pub async fn latest(&self, isolation: Isolation) -> Result<i64, Error> {
        self.list(LATEST, isolation).await
    }

    /// The first offset whose record is not older than `timestamp`, in milliseconds since 1970; none where all are.
    pub async fn at(&self, timestamp: i64, isolation: Isolation) -> Result<Option<i64>, Error> {
        // The negative ones mean something else.
        let found = self.list(timestamp.max(0), isolation).await?;
        Ok(Some(found).filter(|offset| *offset >= 0))
    }

    async fn list(&self, timestamp: i64, isolation: Isolation) -> Result<i64, Error> {
        let build = |_, leader: &Leader| {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(self.partition())
                .with_current_leader_epoch(leader.epoch)
                .with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default()
                .with_name(TopicName(StrBytes::from_string(self.topic().to_owned())))
                .with_partitions(vec![partition]);
            ListOffsetsRequest::default()
                .with_replica_id((-1).into())
                .with_isolation_level(isolation.level())
                .with_topics(vec![topic])
        };
        let read = |broker: &Arc<str>, answer| self.listed(broker, answer);
        self.ask(Ask { wait: Duration::ZERO, highest: i16::MAX, build, read }).await
    }

    fn listed(&self, broker: &Arc<str>, answer: ListOffsetsResponse) -> Result<i64, Error> {
        let (broker, api) = (broker.clone(), Api::ListOffsets);
        let is_ours =
            |found: &ListOffsetsPartitionResponse| found.partition_index == self.partition();
        let mut found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let Some(found) = found.find(is_ours) else {
            let reason = "the partition is not in it".to_owned();
            return Err(Error::Garbled { broker, api, reason });
        };
        match ResponseError::try_from_code(found.error_code) {
            None => Ok(found.offset),
            Some(code) => Err(Error::Refused { broker, api, about: self.about(), code }),
        }
    }
}
