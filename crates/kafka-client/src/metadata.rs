//! Brokers, topics and who leads their partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::Api;
use crate::error::{About, Error};

/// A topic as a broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Another one each time a topic of that name is created. None from brokers before Kafka 2.8.
    pub id: Option<Uuid>,
    /// Whether Kafka made it for itself.
    pub is_internal: bool,
    /// Its partitions, ascending.
    pub partitions: Vec<Led>,
}

/// A partition of a topic, and who leads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// Its number.
    pub partition: i32,
    /// The number of its leader; none while one is elected.
    pub leader: Option<i32>,
    /// How often its leader changed, roughly. None from brokers before Kafka 2.3.
    pub leader_epoch: Option<i32>,
}

/// Where the brokers are.
#[derive(Default)]
pub(crate) struct Brokers {
    by_id: BTreeMap<i32, Arc<str>>,
}

impl Brokers {
    pub(crate) fn of(answer: &MetadataResponse) -> Self {
        let addresses = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, address(&broker.host, broker.port)));
        Self { by_id: addresses.collect() }
    }

    pub(crate) fn address(&self, id: i32) -> Option<Arc<str>> {
        self.by_id.get(&id).cloned()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_id.values()
    }
}

/// `HOST:PORT`.
pub(crate) fn address(host: &str, port: i32) -> Arc<str> {
    if host.contains(':') {
        format!("[{host}]:{port}").into()
    } else {
        format!("{host}:{port}").into()
    }
}

/// About one topic, or about all.
pub(crate) fn request(topic: Option<&str>) -> MetadataRequest {
    let topics = topic.map(|name| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        vec![MetadataRequestTopic::default().with_name(Some(name))]
    });
    MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false)
}

/// About the brokers alone.
pub(crate) fn brokers() -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(Vec::new())).with_allow_auto_topic_creation(false)
}

pub(crate) fn one_topic(
    broker: &Arc<str>,
    name: &str,
    answer: &MetadataResponse,
) -> Result<Topic, Error> {
    let broker = broker.clone();
    let is_it = |topic: &MetadataResponseTopic| {
        topic.name.as_ref().is_some_and(|found| found.as_str() == name)
    };
    let Some(topic) = answer.topics.iter().find(|topic| is_it(topic)) else {
        let reason = format!("topic {name} is not in it");
        return Err(Error::Garbled { broker, api: Api::Metadata, reason });
    };
    match ResponseError::try_from_code(topic.error_code) {
        None => Ok(topic_of(topic)),
        Some(ResponseError::UnknownTopicOrPartition) => {
            Err(Error::MissingTopic { broker, topic: name.into() })
        }
        Some(code) => {
            let about = About { topic: Some(name.into()), partition: None };
            Err(Error::Refused { broker, api: Api::Metadata, about, code })
        }
    }
}

pub(crate) fn all_topics(answer: &MetadataResponse) -> Vec<Topic> {
    let known = answer.topics.iter().filter(|topic| topic.error_code == 0);
    let mut topics: Vec<_> = known.map(topic_of).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics
}

fn topic_of(topic: &MetadataResponseTopic) -> Topic {
    let partitions = topic.partitions.iter().map(|partition| Led {
        partition: partition.partition_index,
        leader: Some(partition.leader_id.0).filter(|id| *id >= 0),
        leader_epoch: Some(partition.leader_epoch).filter(|epoch| *epoch >= 0),
    });
    let mut partitions: Vec<_> = partitions.collect();
    partitions.sort_by_key(|led| led.partition);
    Topic {
        name: topic.name.as_ref().map_or("", |name| name.as_str()).into(),
        id: Some(topic.topic_id).filter(|id| !id.is_nil()),
        is_internal: topic.is_internal,
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_topic_is_created_by_asking() {
        for topic in [None, Some("misspelt")] {
            assert!(!request(topic).allow_auto_topic_creation);
        }
        assert!(!brokers().allow_auto_topic_creation);
    }
}
