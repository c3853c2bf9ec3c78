//! The client's errors as faults.

use rskafka::client::error::{Error, ProtocolError};
use rskafka::{BackoffError, ConnectionError};
use tally_ports::{Fault, StopKind};

/// Texts of the client that only a wrong setting causes. It tries all brokers for a while and then gives only the text of
/// each broker's answer, so there is nothing else to go by.
const REFUSALS: &[(&str, &str)] = &[
    ("SaslAuthenticationFailed", "the user name or the password is wrong"),
    ("IllegalSaslState", "the broker requires another SASL mechanism, or none"),
    ("nsupportedSaslMechanism", "the broker does not support the SASL mechanism"),
    ("nsupported sasl mechanism", "the broker does not support the SASL mechanism"),
    ("Invalid SASL config", "the user name or the password cannot be used with SASL"),
    ("Sasl session error", "the broker does not know the password itself"),
    ("invalid peer certificate", "the broker's certificate is not trusted"),
    ("InvalidContentType", "the broker's listener is not encrypted"),
    ("Invalid Hostname", "the broker's name is not a host name"),
];

/// The fault for `error`; `what` is what was tried: `list the topics`.
pub(crate) fn fault(brokers: &str, what: &str, error: &Error) -> Fault {
    let Cause { text, is_setting } = cause(error);
    let message = format!("kafka at {brokers}: cannot {what}: {text}");
    if is_setting { setting(message) } else { Fault::outage(message) }
}

/// A wrong setting.
pub(crate) fn setting(message: impl Into<String>) -> Fault {
    Fault::stop(StopKind::Setting, message)
}

struct Cause {
    text: String,
    is_setting: bool,
}

/// The cause under the client's own retries.
fn cause(error: &Error) -> Cause {
    match error {
        Error::ServerError { protocol_error, .. } => Cause {
            text: format!("the broker answers {protocol_error}"),
            is_setting: is_setting(*protocol_error),
        },
        Error::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => {
            match source.downcast_ref::<Error>() {
                Some(error) => cause(error),
                None => in_words(source.to_string()),
            }
        }
        Error::Connection(ConnectionError::RetryFailed(BackoffError::DeadlineExceded {
            source,
            ..
        })) => in_words(source.to_string()),
        other => in_words(other.to_string()),
    }
}

fn in_words(text: String) -> Cause {
    match REFUSALS.iter().find(|(word, _)| text.contains(word)) {
        Some((_, meaning)) => Cause { text: format!("{meaning} ({text})"), is_setting: true },
        None => Cause { text, is_setting: false },
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
        let found = match fault("a:1", "fetch", error) {
            Fault::Outage { message, .. } => format!("outage: {message}"),
            Fault::Stop(stop) => format!("{:?}: {}", stop.kind, stop.message),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_may_pass_is_an_outage() {
        check(
            &after_retries(answer(ProtocolError::NotLeaderOrFollower)),
            "outage: kafka at a:1: cannot fetch: the broker answers NotLeaderOrFollower",
        );
        check(
            &answer(ProtocolError::UnknownTopicOrPartition),
            "outage: kafka at a:1: cannot fetch: the broker answers UnknownTopicOrPartition",
        );
        check(
            &after_retries(Error::InvalidResponse("odd".to_owned())),
            "outage: kafka at a:1: cannot fetch: Invalid response: odd",
        );
    }

    #[test]
    fn what_only_a_person_can_change_is_a_setting() {
        check(
            &after_retries(answer(ProtocolError::TopicAuthorizationFailed)),
            "Setting: kafka at a:1: cannot fetch: the broker answers TopicAuthorizationFailed",
        );
        let words = "Sasl handshake failed: API error: SaslAuthenticationFailed";
        check(
            &Error::Connection(ConnectionError::RetryFailed(BackoffError::DeadlineExceded {
                deadline: Duration::from_secs(2),
                source: words.into(),
            })),
            &format!(
                "Setting: kafka at a:1: cannot fetch: the user name or the password is wrong ({words})"
            ),
        );
    }
}
