//! The offsets of a consumer group.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetCommitResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::api::Api;
use crate::client::Client;
use crate::error::{About, Error};
use crate::metadata::address;

impl Client {
    /// Commits offsets of a topic for a group: for each partition the next offset to be read. From outside of the group, so
    /// that it is refused while the group has members.
    ///
    /// # Errors
    /// The first that one of the partitions is answered with.
    pub async fn commit_offsets(
        &self,
        group: &str,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), Error> {
        if let Some(known) = self.coordinator(group) {
            match self.commit_at(&known, group, topic, offsets).await {
                Err(error) if error.is_retriable() => {} // It may be another broker by now.
                result => return result,
            }
        }
        let found = self.find_coordinator(group).await?;
        self.set_coordinator(group, Some(found.clone()));
        let committed = self.commit_at(&found, group, topic, offsets).await;
        if committed.is_err() {
            self.set_coordinator(group, None);
        }
        committed
    }

    async fn find_coordinator(&self, group: &str) -> Result<Arc<str>, Error> {
        let (broker, answer) = self.ask_anyone(|_| coordinator_request(group)).await?;
        match ResponseError::try_from_code(answer.error_code) {
            None => Ok(address(&answer.host, answer.port)),
            Some(code) => {
                let (api, about) = (Api::FindCoordinator, About::default());
                Err(Error::Refused { broker, api, about, code })
            }
        }
    }

    async fn commit_at(
        &self,
        broker: &Arc<str>,
        group: &str,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), Error> {
        let build = |_| commit_request(group, topic, offsets);
        let answer: OffsetCommitResponse =
            self.pool().call(broker, Duration::ZERO, i16::MAX, build).await?;
        let mut answered = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let refused = answered.find_map(|answered| {
            let code = ResponseError::try_from_code(answered.error_code)?;
            Some((answered.partition_index, code))
        });
        let Some((partition, code)) = refused else { return Ok(()) };
        let about = About { topic: Some(topic.into()), partition: Some(partition) };
        Err(Error::Refused { broker: broker.clone(), api: Api::OffsetCommit, about, code })
    }
}

pub(crate) fn coordinator_request(group: &str) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()))
}

pub(crate) fn commit_request(
    group: &str,
    topic: &str,
    offsets: &[(i32, i64)],
) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|&(partition, offset)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions.collect());
    OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_topics(vec![topic])
}
