//! What a producer asks brokers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::Identity;
use crate::api::Api;
use crate::error::{About, Error};

/// All in-sync replicas.
const ALL: i16 = -1;

/// A new identity without a transactional id.
pub(super) fn init_producer_id() -> InitProducerIdRequest {
    let none = Identity { id: -1, epoch: -1 };
    InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(none.id.into())
        .with_producer_epoch(none.epoch)
}

/// The identity of a transactional id with a higher epoch, which fences the one before and aborts its transaction; if
/// `former` is given only where that is still the last one.
pub(super) fn init_transactions(
    id: &str,
    timeout: Duration,
    former: Option<Identity>,
) -> InitProducerIdRequest {
    let former = former.unwrap_or(Identity { id: -1, epoch: -1 });
    InitProducerIdRequest::default()
        .with_transactional_id(Some(to_transactional_id(id)))
        .with_transaction_timeout_ms(milliseconds(timeout))
        .with_producer_id(former.id.into())
        .with_producer_epoch(former.epoch)
}

pub(super) fn identity(
    broker: &Arc<str>,
    answer: &InitProducerIdResponse,
) -> Result<Identity, Error> {
    match ResponseError::try_from_code(answer.error_code) {
        None => Ok(Identity { id: answer.producer_id.0, epoch: answer.producer_epoch }),
        Some(code) => {
            let (broker, api, about) = (broker.clone(), Api::InitProducerId, About::default());
            Err(Error::Refused { broker, api, about, code })
        }
    }
}

/// The batches of one request, each of another partition.
pub(super) fn produce<'a>(
    transactional_id: Option<&str>,
    timeout: Duration,
    batches: impl Iterator<Item = (&'a Arc<str>, i32, Bytes)>,
) -> ProduceRequest {
    let mut topics: BTreeMap<&Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
    for (topic, partition, packed) in batches {
        let batch =
            PartitionProduceData::default().with_index(partition).with_records(Some(packed));
        topics.entry(topic).or_default().push(batch);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_string())))
            .with_partition_data(partitions)
    });
    ProduceRequest::default()
        .with_transactional_id(transactional_id.map(to_transactional_id))
        .with_acks(ALL)
        .with_timeout_ms(milliseconds(timeout))
        .with_topic_data(topics.collect())
}

pub(super) fn add_partitions(
    id: &str,
    identity: Identity,
    topic: &str,
    partitions: Vec<i32>,
) -> AddPartitionsToTxnRequest {
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions);
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(to_transactional_id(id))
        .with_v3_and_below_producer_id(identity.id.into())
        .with_v3_and_below_producer_epoch(identity.epoch)
        .with_v3_and_below_topics(vec![topic])
}

/// Why a partition is not part of the transaction.
pub(super) fn added(broker: &Arc<str>, answer: &AddPartitionsToTxnResponse) -> Result<(), Error> {
    for topic in &answer.results_by_topic_v3_and_below {
        for result in &topic.results_by_partition {
            if let Some(code) = ResponseError::try_from_code(result.partition_error_code) {
                let (broker, api) = (broker.clone(), Api::AddPartitionsToTxn);
                let topic = Some(topic.name.as_str().into());
                let about = About { topic, partition: Some(result.partition_index) };
                return Err(Error::Refused { broker, api, about, code });
            }
        }
    }
    Ok(())
}

pub(super) fn end(id: &str, identity: Identity, is_committed: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(to_transactional_id(id))
        .with_producer_id(identity.id.into())
        .with_producer_epoch(identity.epoch)
        .with_committed(is_committed)
}

/// The identity of the next transaction, where it is another one.
pub(super) fn ended(broker: &Arc<str>, answer: &EndTxnResponse) -> Result<Option<Identity>, Error> {
    match ResponseError::try_from_code(answer.error_code) {
        None => {
            let next = Identity { id: answer.producer_id.0, epoch: answer.producer_epoch };
            Ok(Some(next).filter(|next| next.id >= 0))
        }
        Some(code) => {
            let (broker, api, about) = (broker.clone(), Api::EndTxn, About::default());
            Err(Error::Refused { broker, api, about, code })
        }
    }
}

fn to_transactional_id(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
