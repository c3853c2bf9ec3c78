//! The writing client's errors as faults.

use rskafka::BackoffError;
use rskafka::client::error::{Error, ProtocolError};
use tally_ports::Fault;

use crate::fault::setting;

/// The fault for `error` of `cluster`; `what` is what was tried: `write to orders/0`.
///
/// Where no broker can be reached or logged in to, the client has only a text, which may pass: the topic is looked up by
/// the reading client before, which tells a wrong setting.
pub(super) fn fault(cluster: &str, what: &str, error: &Error) -> Fault {
    match under_retries(error) {
        Error::ServerError { protocol_error, .. } => {
            let message = format!("{cluster}: cannot {what}: the broker answers {protocol_error}");
            if is_setting(*protocol_error) { setting(message) } else { Fault::outage(message) }
        }
        other => Fault::outage(format!("{cluster}: cannot {what}: {other}")),
    }
}

/// The error under the client's own retries.
fn under_retries(error: &Error) -> &Error {
    match error {
        Error::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => {
            source.downcast_ref::<Error>().map_or(error, under_retries)
        }
        other => other,
    }
}

/// Errors that only a changed setting fixes, here or at the broker.
const fn is_setting(error: ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::TopicAuthorizationFailed
            | ProtocolError::GroupAuthorizationFailed
            | ProtocolError::ClusterAuthorizationFailed
            | ProtocolError::SaslAuthenticationFailed
            | ProtocolError::UnsupportedSaslMechanism
            | ProtocolError::IllegalSaslState
            | ProtocolError::SecurityDisabled
            | ProtocolError::InvalidTopicException
            | ProtocolError::InvalidRecord
            | ProtocolError::InvalidConfig
            | ProtocolError::InvalidRequiredAcks
            | ProtocolError::PolicyViolation
            | ProtocolError::UnsupportedVersion
            | ProtocolError::UnsupportedForMessageFormat
            | ProtocolError::UnsupportedCompressionType
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rskafka::client::error::RequestContext;

    use super::*;

    fn answer(protocol_error: ProtocolError) -> Error {
        Error::ServerError {
            protocol_error,
            error_message: None,
            request: RequestContext::Topic("t".to_owned()),
            response: None,
            is_virtual: false,
        }
    }

    fn after_retries(error: Error) -> Error {
        let deadline = Duration::from_secs(2);
        Error::RetryFailed(BackoffError::DeadlineExceded { deadline, source: Box::new(error) })
    }

    #[track_caller]
    fn check(error: &Error, expected: &str) {
        let found = match fault("kafka at a:1", "write", error) {
            Fault::Outage { message, .. } => format!("outage: {message}"),
            Fault::Stop(stop) => format!("{:?}: {}", stop.kind, stop.message),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_may_pass_is_an_outage() {
        check(
            &after_retries(answer(ProtocolError::NotLeaderOrFollower)),
            "outage: kafka at a:1: cannot write: the broker answers NotLeaderOrFollower",
        );
        check(
            &answer(ProtocolError::UnknownTopicOrPartition),
            "outage: kafka at a:1: cannot write: the broker answers UnknownTopicOrPartition",
        );
        check(
            &after_retries(Error::InvalidResponse("odd".to_owned())),
            "outage: kafka at a:1: cannot write: Invalid response: odd",
        );
    }

    #[test]
    fn what_only_a_person_can_change_is_a_setting() {
        check(
            &after_retries(answer(ProtocolError::TopicAuthorizationFailed)),
            "Setting: kafka at a:1: cannot write: the broker answers TopicAuthorizationFailed",
        );
    }
}
