//! The requests that are used, and the versions of them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey, ApiVersionsRequest,
    ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, EndTxnRequest, EndTxnResponse, FetchRequest, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, ProduceRequest, ProduceResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use crate::fetch::FetchAnswer;

/// A request of Kafka's protocol, by the name that Kafka's documentation has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Api {
    ApiVersions,
    SaslHandshake,
    SaslAuthenticate,
    Metadata,
    ListOffsets,
    Fetch,
    FindCoordinator,
    OffsetCommit,
    CreateTopics,
    DescribeConfigs,
    InitProducerId,
    Produce,
    AddPartitionsToTxn,
    EndTxn,
}

impl Api {
    pub(crate) fn key(self) -> i16 {
        let key = match self {
            Self::ApiVersions => ApiKey::ApiVersions,
            Self::SaslHandshake => ApiKey::SaslHandshake,
            Self::SaslAuthenticate => ApiKey::SaslAuthenticate,
            Self::Metadata => ApiKey::Metadata,
            Self::ListOffsets => ApiKey::ListOffsets,
            Self::Fetch => ApiKey::Fetch,
            Self::FindCoordinator => ApiKey::FindCoordinator,
            Self::OffsetCommit => ApiKey::OffsetCommit,
            Self::CreateTopics => ApiKey::CreateTopics,
            Self::DescribeConfigs => ApiKey::DescribeConfigs,
            Self::InitProducerId => ApiKey::InitProducerId,
            Self::Produce => ApiKey::Produce,
            Self::AddPartitionsToTxn => ApiKey::AddPartitionsToTxn,
            Self::EndTxn => ApiKey::EndTxn,
        };
        key as i16
    }

    /// The first release of Kafka that speaks a version of it that this client does.
    pub(crate) fn since(self) -> &'static str {
        match self {
            Self::CreateTopics => "2.4",
            _ => "2.1",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A request that can be sent, and its answer.
pub(crate) trait Call: Encodable + HeaderVersion {
    const API: Api;
    /// The lowest and the highest version that this client speaks.
    const VERSIONS: (i16, i16);
    type Answer: HeaderVersion + Send;

    /// What an answer says. Only that of a fetch may be cut off; the error tells what is wrong with it.
    fn decode(bytes: Bytes, is_cut: bool, version: i16) -> Result<Self::Answer, String>;

    /// For how long the broker will not read on from this connection.
    fn throttle(answer: &Self::Answer) -> Duration;
}

macro_rules! call {
    ($request:ty, $answer:ty, $api:expr, $versions:expr, $throttle:expr) => {
        impl Call for $request {
            const API: Api = $api;
            const VERSIONS: (i16, i16) = $versions;
            type Answer = $answer;

            fn decode(mut bytes: Bytes, _: bool, version: i16) -> Result<$answer, String> {
                <$answer>::decode(&mut bytes, version).map_err(|error| error.to_string())
            }

            fn throttle(answer: &$answer) -> Duration {
                let throttle: fn(&$answer) -> i32 = $throttle;
                milliseconds(throttle(answer))
            }
        }
    };
}

pub(crate) fn milliseconds(number: i32) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

call!(ApiVersionsRequest, ApiVersionsResponse, Api::ApiVersions, (0, 3), |a| a.throttle_time_ms);
call!(SaslHandshakeRequest, SaslHandshakeResponse, Api::SaslHandshake, (1, 1), |_| 0);
call!(SaslAuthenticateRequest, SaslAuthenticateResponse, Api::SaslAuthenticate, (0, 2), |_| 0);
// From 4 on a topic is not created by asking for it; 10 brings topic ids.
call!(MetadataRequest, MetadataResponse, Api::Metadata, (4, 12), |a| a.throttle_time_ms);
// From 2 on it knows of transactions; 4 brings leader epochs.
call!(ListOffsetsRequest, ListOffsetsResponse, Api::ListOffsets, (2, 7), |a| a.throttle_time_ms);
// From 4 on it asks about several groups at once.
call!(FindCoordinatorRequest, FindCoordinatorResponse, Api::FindCoordinator, (1, 3), |a| a
    .throttle_time_ms);
// 9 is for groups of the new protocol.
call!(OffsetCommitRequest, OffsetCommitResponse, Api::OffsetCommit, (3, 8), |a| a.throttle_time_ms);
// From 4 on a broker takes its default for the number of replicas.
call!(CreateTopicsRequest, CreateTopicsResponse, Api::CreateTopics, (4, 7), |a| a.throttle_time_ms);
call!(DescribeConfigsRequest, DescribeConfigsResponse, Api::DescribeConfigs, (1, 4), |a| a
    .throttle_time_ms);
call!(InitProducerIdRequest, InitProducerIdResponse, Api::InitProducerId, (1, 4), |a| a
    .throttle_time_ms);
// From 7 on it takes zstd; from 12 on it adds partitions to a transaction; 13 is by topic id.
call!(ProduceRequest, ProduceResponse, Api::Produce, (7, 12), |a| a.throttle_time_ms);
// 4 is for brokers.
call!(
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    Api::AddPartitionsToTxn,
    (1, 3),
    |a| a.throttle_time_ms
);
// 5 raises the epoch with each transaction.
call!(EndTxnRequest, EndTxnResponse, Api::EndTxn, (1, 5), |a| a.throttle_time_ms);

impl Call for FetchRequest {
    const API: Api = Api::Fetch;
    // From 10 on it knows zstd; 13 asks by topic id.
    const VERSIONS: (i16, i16) = (10, 13);
    type Answer = FetchAnswer;

    fn decode(bytes: Bytes, is_cut: bool, version: i16) -> Result<FetchAnswer, String> {
        FetchAnswer::decode(bytes, is_cut, version)
    }

    fn throttle(answer: &FetchAnswer) -> Duration {
        milliseconds(answer.response.throttle_time_ms)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn check<C: Call>(request: &C) {
        for version in C::VERSIONS.0..=C::VERSIONS.1 {
            let encoded = request.encode(&mut BytesMut::new(), version);
            assert!(encoded.is_ok(), "{} {version}: {encoded:?}", C::API);
        }
    }

    #[test]
    fn requests_can_be_written_in_each_version() {
        check(&ApiVersionsRequest::default());
        check(&SaslHandshakeRequest::default());
        check(&SaslAuthenticateRequest::default());
        check(&crate::metadata::request(Some("topic")));
        check(&crate::metadata::request(None));
        check(&crate::coordinator::request(0, "group"));
        check(&crate::metadata::brokers());
        check(&crate::topic_settings::request("topic", "setting"));
        let settings = [("setting", "value")];
        check(&crate::create_topic::request("topic", 1, &settings, Duration::ZERO));
        check(&crate::group::commit_request("group", "topic", &[(0, 1)]));
    }
}
