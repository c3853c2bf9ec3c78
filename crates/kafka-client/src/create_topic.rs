//! Creates topics.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::Api;
use crate::client::Client;
use crate::coordinator::Coordinated;
use crate::error::Error;

/// As many replicas as the brokers' `default.replication.factor` says.
const DEFAULT_REPLICATION: i16 = -1;

impl Client {
    /// Creates a topic with these settings, such as `cleanup.policy`, and with the brokers' default replication factor. From
    /// Kafka 2.4 on. Not all brokers may know of it yet when this returns.
    ///
    /// # Errors
    /// [`Error::NotCreated`]: its code is `TopicAlreadyExists` where there is one, perhaps by an earlier try of this call, and
    /// `TopicAuthorizationFailed` where this user lacks the right `Create`.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), Error> {
        let timeout = self.pool().settings().request_timeout;
        let build = |_| request(name, partitions, settings, timeout);
        let read = |broker: &Arc<str>, answer| created(broker, name, answer);
        self.ask_coordinator(&Coordinated::Topics, i16::MAX, build, read).await
    }
}

pub(crate) fn request(
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
    timeout: Duration,
) -> CreateTopicsRequest {
    let settings = settings.iter().map(|&(name, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string(name.to_owned()))
            .with_value(Some(StrBytes::from_string(value.to_owned())))
    });
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(DEFAULT_REPLICATION)
        .with_configs(settings.collect());
    CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
}

fn created(broker: &Arc<str>, name: &str, answer: CreateTopicsResponse) -> Result<(), Error> {
    let broker = broker.clone();
    let Some(result) = answer.topics.into_iter().find(|result| result.name.as_str() == name) else {
        let reason = format!("topic {name} is not in it");
        return Err(Error::Garbled { broker, api: Api::CreateTopics, reason });
    };
    match ResponseError::try_from_code(result.error_code) {
        None => Ok(()),
        Some(code) => {
            let reason = result.error_message.as_ref().map_or("no reason given", |m| m.as_str());
            let reason = reason.trim_end_matches('.').to_owned();
            Err(Error::NotCreated { broker, topic: name.into(), code, reason })
        }
    }
}
