//! The offsets of a consumer group.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::Api;
use crate::client::Client;
use crate::coordinator::Coordinated;
use crate::error::{About, Error};

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
        let build = |_| commit_request(group, topic, offsets);
        let read = |broker: &Arc<str>, answer: OffsetCommitResponse| {
            let mut answered = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let refused = answered.find_map(|answered| {
                let code = ResponseError::try_from_code(answered.error_code)?;
                Some((answered.partition_index, code))
            });
            let Some((partition, code)) = refused else { return Ok(()) };
            let about = About { topic: Some(topic.into()), partition: Some(partition) };
            Err(Error::Refused { broker: broker.clone(), api: Api::OffsetCommit, about, code })
        };
        let group = Coordinated::Group(group.to_owned());
        self.ask_coordinator(&group, i16::MAX, build, read).await
    }
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
