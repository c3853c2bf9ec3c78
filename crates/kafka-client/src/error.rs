//! What can go wrong with a broker.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use uuid::Uuid;

use crate::api::Api;
use crate::security::Mechanism;

/// Why a call failed. Each says which broker, which request and which topic it was about, where there is one:
/// [`broker`](Self::broker), [`api`](Self::api), [`topic`](Self::topic), [`partition`](Self::partition).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The broker cannot be reached.
    #[error("cannot connect to kafka at {broker}: {source}")]
    Connect {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Connecting, encrypting and logging in took too long.
    #[error("cannot connect to kafka at {broker} within {limit:?}")]
    ConnectTimeout {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// How long it may take.
        limit: Duration,
    },
    /// The broker's certificate is refused, or it does not speak TLS.
    #[error("cannot set up TLS with kafka at {broker}: {source}")]
    Tls {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// What rustls says.
        source: Arc<io::Error>,
    },
    /// The broker does not let this user in, or does not prove that it knows the password.
    #[error("cannot log in to kafka at {broker} by {mechanism}: {reason}")]
    Login {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// By which mechanism.
        mechanism: Mechanism,
        /// What the broker says, or what is wrong with that.
        reason: String,
    },
    /// The broker does not answer in time.
    #[error("kafka at {broker} does not answer {api} within {limit:?}")]
    Timeout {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// What was asked.
        api: Api,
        /// How long it may take.
        limit: Duration,
    },
    /// The connection broke before the answer was there.
    #[error("the connection to kafka at {broker} broke during {api}: {source}")]
    Lost {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// What was asked.
        api: Api,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The answer is larger than allowed.
    #[error(
        "kafka at {broker} answers {api} with {size} bytes, over the limit of {limit}: \
         raise the limit, or check that this is a port of kafka and whether it expects TLS"
    )]
    AnswerTooLarge {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// What was asked.
        api: Api,
        /// What the answer announces.
        size: i64,
        /// How many bytes are allowed.
        limit: usize,
    },
    /// The answer makes no sense.
    #[error("kafka at {broker} answers {api} with something that cannot be read: {reason}")]
    Garbled {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// What was asked.
        api: Api,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no version of a request that both sides speak.
    #[error(
        "kafka at {broker} speaks {api} in {theirs}, and this client in versions {} to {}: \
         use a broker from {} on", ours.0, ours.1, api.since()
    )]
    Version {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// Which request.
        api: Api,
        /// The lowest and the highest version of this client.
        ours: (i16, i16),
        /// Those of the broker.
        theirs: BrokerVersions,
    },
    /// The broker refuses a request, by one of Kafka's error codes.
    #[error("kafka at {broker} answers {api}{about} with {code} (code {})", code.code())]
    Refused {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// What was asked.
        api: Api,
        /// What it was about.
        about: About,
        /// Kafka's error code.
        code: ResponseError,
    },
    /// The wanted offset is not in the log: retention removed it, or it lies beyond the end.
    #[error(
        "kafka at {broker} does not have offset {offset}{about}: ask for its first and last one"
    )]
    OutOfRange {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// Which partition.
        about: About,
        /// The wanted one.
        offset: i64,
    },
    /// The broker cannot read its own log: the length or the format of a batch on its disk, at the wanted offset or not
    /// far before it, is damaged.
    #[error(
        "kafka at {broker} cannot read its own log at offset {offset}{about} and answers {code} (code {}): \
         a batch there, or not far before it, is damaged on its disk", code.code()
    )]
    Damaged {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// Which partition.
        about: About,
        /// The wanted one.
        offset: i64,
        /// Kafka's error code.
        code: ResponseError,
    },
    /// There is no such topic, or not yet, or this user may not know of it.
    #[error("kafka at {broker} has no topic {topic}")]
    MissingTopic {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// Its name.
        topic: Arc<str>,
    },
    /// The topic is not created.
    #[error(
        "kafka at {broker} does not create topic {topic} and answers {code} (code {}): {reason}",
        code.code()
    )]
    NotCreated {
        /// `HOST:PORT`.
        broker: Arc<str>,
        /// Its name.
        topic: Arc<str>,
        /// Kafka's error code.
        code: ResponseError,
        /// What the broker says.
        reason: String,
    },
    /// There is no controller at the moment, which creates topics.
    #[error("kafka at {broker} knows of no controller at the moment")]
    NoController {
        /// `HOST:PORT`.
        broker: Arc<str>,
    },
    /// The topic has fewer partitions.
    #[error("topic {topic} has no partition {partition}, only {count} from 0 on")]
    MissingPartition {
        /// The topic.
        topic: Arc<str>,
        /// The wanted partition.
        partition: i32,
        /// How many it has.
        count: usize,
    },
    /// The topic was deleted and created again: the log is another one, and no offset of the old one means anything.
    #[error("topic {topic} was recreated: its id was {was} and is {is} now")]
    Recreated {
        /// The topic.
        topic: Arc<str>,
        /// The id it had.
        was: Uuid,
        /// The id it has.
        is: Uuid,
    },
    /// The partition has no leader at the moment.
    #[error("partition {partition} of topic {topic} has no leader at the moment")]
    NoLeader {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// A batch was lost or given up, so that what follows it in the partition cannot be part of the transaction, or has used
    /// up the epochs of the producer.
    #[error(
        "a batch for partition {partition} of topic {topic} is missing: abort the transaction, or begin another producer"
    )]
    BatchLost {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// Something that was sent failed for good.
    #[error("the transaction cannot be committed: {0}")]
    TransactionFailed(Box<Error>),
    /// The producer began again before it was known what became of the records.
    #[error("the transaction was aborted before its records were acknowledged")]
    Abandoned,
    /// None of the brokers can be used.
    #[error("no broker can be used: {}", in_a_row(tried))]
    NoBroker {
        /// What happened with each.
        tried: Vec<Error>,
    },
}

/// What a request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The topic, if it was about one.
    pub topic: Option<Arc<str>>,
    /// The partition, if it was about one.
    pub partition: Option<i32>,
}

/// The versions of a request that a broker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerVersions {
    /// None at all.
    None,
    /// From the first to the second.
    Range(i16, i16),
}

impl Error {
    /// Whether the same call may succeed later without anybody changing a setting.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Setting(_)
            | Self::Login { .. }
            | Self::AnswerTooLarge { .. }
            | Self::Version { .. }
            | Self::OutOfRange { .. }
            | Self::Damaged { .. }
            | Self::MissingPartition { .. }
            | Self::Recreated { .. }
            | Self::BatchLost { .. }
            | Self::TransactionFailed(_)
            | Self::Abandoned => false,
            Self::Tls { source, .. } => !is_untrusted(source),
            Self::Refused { code, .. } | Self::NotCreated { code, .. } => !is_final(*code),
            Self::NoBroker { tried } => tried.iter().any(Self::is_retriable),
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Timeout { .. }
            | Self::Lost { .. }
            | Self::Garbled { .. }
            | Self::MissingTopic { .. }
            | Self::NoController { .. }
            | Self::NoLeader { .. } => true,
        }
    }

    /// The broker, as `HOST:PORT`.
    pub fn broker(&self) -> Option<&str> {
        match self {
            Self::Connect { broker, .. }
            | Self::ConnectTimeout { broker, .. }
            | Self::Tls { broker, .. }
            | Self::Login { broker, .. }
            | Self::Timeout { broker, .. }
            | Self::Lost { broker, .. }
            | Self::AnswerTooLarge { broker, .. }
            | Self::Garbled { broker, .. }
            | Self::Version { broker, .. }
            | Self::Refused { broker, .. }
            | Self::OutOfRange { broker, .. }
            | Self::Damaged { broker, .. }
            | Self::MissingTopic { broker, .. }
            | Self::NotCreated { broker, .. }
            | Self::NoController { broker } => Some(broker),
            _ => None,
        }
    }

    /// The request.
    pub fn api(&self) -> Option<Api> {
        match self {
            Self::Timeout { api, .. }
            | Self::Lost { api, .. }
            | Self::AnswerTooLarge { api, .. }
            | Self::Garbled { api, .. }
            | Self::Version { api, .. }
            | Self::Refused { api, .. } => Some(*api),
            Self::OutOfRange { .. } | Self::Damaged { .. } => Some(Api::Fetch),
            Self::MissingTopic { .. } | Self::NoController { .. } => Some(Api::Metadata),
            Self::NotCreated { .. } => Some(Api::CreateTopics),
            _ => None,
        }
    }

    /// The topic.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Refused { about, .. }
            | Self::OutOfRange { about, .. }
            | Self::Damaged { about, .. } => about.topic.as_deref(),
            Self::MissingTopic { topic, .. }
            | Self::NotCreated { topic, .. }
            | Self::MissingPartition { topic, .. }
            | Self::Recreated { topic, .. }
            | Self::NoLeader { topic, .. } => Some(topic),
            _ => None,
        }
    }

    /// The partition.
    pub fn partition(&self) -> Option<i32> {
        match self {
            Self::Refused { about, .. }
            | Self::OutOfRange { about, .. }
            | Self::Damaged { about, .. } => about.partition,
            Self::MissingPartition { partition, .. } | Self::NoLeader { partition, .. } => {
                Some(*partition)
            }
            _ => None,
        }
    }

    /// Kafka's error code, where a broker gave one.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { code, .. }
            | Self::Damaged { code, .. }
            | Self::NotCreated { code, .. } => Some(*code),
            Self::OutOfRange { .. } => Some(ResponseError::OffsetOutOfRange),
            Self::TransactionFailed(reason) => reason.code(),
            Self::MissingTopic { .. } => Some(ResponseError::UnknownTopicOrPartition),
            _ => None,
        }
    }
}

/// Whether what the broker shows of itself is refused here, as a certificate is. What the broker or the network breaks off
/// may go well the next time.
fn is_untrusted(source: &io::Error) -> bool {
    let Some(inner) = source.get_ref() else { return false };
    match inner.downcast_ref::<rustls::Error>() {
        Some(error) => matches!(
            error,
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::PeerIncompatible(_)
                | rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)
        ),
        None => source.kind() == io::ErrorKind::InvalidData, // The broker's name is none.
    }
}

/// What only a changed setting mends, here or at the broker, and what ends a transactional producer.
fn is_final(code: ResponseError) -> bool {
    matches!(
        code,
        ResponseError::TopicAuthorizationFailed
            | ResponseError::GroupAuthorizationFailed
            | ResponseError::TransactionalIdAuthorizationFailed
            | ResponseError::ClusterAuthorizationFailed
            | ResponseError::SaslAuthenticationFailed
            | ResponseError::UnsupportedSaslMechanism
            | ResponseError::IllegalSaslState
            | ResponseError::SecurityDisabled
            | ResponseError::InvalidTopicException
            | ResponseError::InvalidGroupId
            | ResponseError::InvalidConfig
            | ResponseError::InvalidPartitions
            | ResponseError::TopicAlreadyExists
            | ResponseError::InvalidRequest
            | ResponseError::PolicyViolation
            | ResponseError::UnsupportedVersion
            | ResponseError::UnsupportedForMessageFormat
            | ResponseError::UnsupportedCompressionType
            | ResponseError::InvalidTransactionTimeout
            | ResponseError::InvalidRecord
            | ResponseError::ProducerFenced
            | ResponseError::InvalidProducerEpoch
            | ResponseError::InvalidProducerIdMapping
            | ResponseError::InvalidTxnState
    )
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.topic, self.partition) {
            (Some(topic), Some(partition)) => write!(f, " for partition {partition} of {topic}"),
            (Some(topic), None) => write!(f, " for topic {topic}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for BrokerVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no version"),
            Self::Range(lowest, highest) => write!(f, "versions {lowest} to {highest}"),
        }
    }
}

fn in_a_row(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_retry_does_not_mend_is_told() {
        let is_retriable = |code| {
            let (broker, about) = ("b:1".into(), About::default());
            Error::Refused { broker, api: Api::InitProducerId, about, code }.is_retriable()
        };
        assert!(!is_retriable(ResponseError::TransactionalIdAuthorizationFailed));
        assert!(!is_retriable(ResponseError::ProducerFenced));
        assert!(is_retriable(ResponseError::CoordinatorNotAvailable));
    }
}
