//! Which versions of its requests a broker speaks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::Connection;
use crate::api::{Api, Call};
use crate::error::{About, BrokerVersions, Error};

/// The lowest and the highest version of each request, by its number.
#[derive(Default)]
pub(super) struct Versions {
    spoken: HashMap<i16, (i16, i16)>,
    /// The version of transactions that the cluster has agreed on: from 2 on they are as KIP-890 has them.
    pub(super) of_transactions: i16,
}

impl Versions {
    /// The highest version that both sides speak.
    pub(super) fn of<C: Call>(&self, broker: &Arc<str>) -> Result<i16, Error> {
        let ours = C::VERSIONS;
        let theirs = self.spoken.get(&C::API.key()).copied();
        if let Some((lowest, highest)) = theirs {
            let common = highest.min(ours.1);
            if common >= lowest.max(ours.0) {
                return Ok(common);
            }
        }
        let theirs = theirs.map_or(BrokerVersions::None, |(lowest, highest)| {
            BrokerVersions::Range(lowest, highest)
        });
        Err(Error::Version { broker: broker.clone(), api: C::API, ours, theirs })
    }
}

/// Asks in our highest version. A broker that does not speak it answers so in version 0, and is asked in that.
pub(super) async fn ask(connection: &mut Connection) -> Result<Versions, Error> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str(env!("CARGO_PKG_NAME")))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let highest = ApiVersionsRequest::VERSIONS.1;
    let mut version = highest;
    let mut answer = connection.exchange(Duration::ZERO, version, &request).await?;
    if answer.clone().try_get_i16() == Ok(ResponseError::UnsupportedVersion.code()) {
        version = 0;
        let request = ApiVersionsRequest::default();
        answer = connection.exchange(Duration::ZERO, version, &request).await?;
    }
    let answer = ApiVersionsResponse::decode(&mut answer, version)
        .map_err(|error| connection.garbled(Api::ApiVersions, &error.to_string()))?;
    if let Some(code) = ResponseError::try_from_code(answer.error_code) {
        let (broker, api, about) =
            (connection.broker().clone(), Api::ApiVersions, About::default());
        return Err(Error::Refused { broker, api, about, code });
    }
    let range = |api: &kafka_protocol::messages::api_versions_response::ApiVersion| {
        (api.api_key, (api.min_version, api.max_version))
    };
    let mut features = answer.finalized_features.iter();
    let transactions = features.find(|feature| feature.name.as_str() == "transaction.version");
    Ok(Versions {
        spoken: answer.api_keys.iter().map(range).collect(),
        of_transactions: transactions.map_or(0, |feature| feature.max_version_level),
    })
}
