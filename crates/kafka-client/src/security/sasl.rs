//! Logging in.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use rsasl::prelude::{Mechname, SASLClient, SASLConfig};

use super::Sasl;
use crate::connection::Connection;
use crate::error::Error;

/// Logs in on a new connection; answers how long the broker keeps us logged in, if not for ever.
pub(crate) async fn log_in(
    connection: &mut Connection,
    sasl: &Sasl,
) -> Result<Option<Duration>, Error> {
    let (broker, mechanism) = (connection.broker().clone(), sasl.mechanism);
    let failed = |reason: String| Error::Login { broker: broker.clone(), mechanism, reason };

    let name = StrBytes::from_static_str(mechanism.name());
    let handshake = |_| SaslHandshakeRequest::default().with_mechanism(name.clone());
    let answer = connection.call(handshake).await?;
    match ResponseError::try_from_code(answer.error_code) {
        None => {}
        Some(ResponseError::UnsupportedSaslMechanism) => {
            let known: Vec<_> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            return Err(failed(format!("the broker only knows {}", known.join(", "))));
        }
        Some(ResponseError::IllegalSaslState) => {
            return Err(failed("this port of the broker takes no login".to_owned()));
        }
        Some(code) => return Err(failed(format!("the broker answers {code}"))),
    }

    let (username, password) = (sasl.username.clone(), sasl.password.clone());
    let config = SASLConfig::with_credentials(None, username, password)
        .map_err(|error| failed(error.to_string()))?;
    let name =
        Mechname::parse(mechanism.name().as_bytes()).map_err(|error| failed(error.to_string()))?;
    let mut session = SASLClient::new(config)
        .start_suggested(&[name])
        .map_err(|error| failed(error.to_string()))?;

    let (mut received, mut lifetime) = (None, None);
    loop {
        let mut message = Vec::new();
        let state = session
            .step(received.as_deref(), &mut message)
            .map_err(|error| failed(format!("the broker's answer is not accepted: {error}")))?;
        if state.has_sent_message() {
            let request =
                |_| SaslAuthenticateRequest::default().with_auth_bytes(message.clone().into());
            let answer = connection.call(request).await?;
            if let Some(code) = ResponseError::try_from_code(answer.error_code) {
                let said = answer.error_message.as_ref().map(|said| format!(": {}", said.as_str()));
                let said = said.unwrap_or_default();
                return Err(failed(format!("the broker answers {code}{said}")));
            }
            lifetime = u64::try_from(answer.session_lifetime_ms).ok().filter(|ms| *ms > 0);
            received = Some(answer.auth_bytes);
        }
        if state.is_finished() {
            return Ok(lifetime.map(Duration::from_millis));
        }
    }
}
