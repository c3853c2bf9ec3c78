//! The client's errors as faults.

use tally_kafka_client::{Error, ResponseError};
use tally_ports::{Fault, StopKind};

/// The fault for `error`; `what` is what was tried: `list the topics`. A topic or partition that was known and is another one
/// or missing now is asked for again.
pub(crate) fn fault(what: &str, error: &Error) -> Fault {
    let message = format!("cannot {what}: {error}");
    if is_fenced(error) {
        let message = format!(
            "{message}: another producer with the same transactional id has begun, or the broker has aborted the \
             transaction as it took too long"
        );
        return Fault::stop(StopKind::Taken, message);
    }
    if matches!(error, Error::BatchLost { .. } | Error::TransactionFailed(_) | Error::Abandoned) {
        return Fault::stop(StopKind::Unavailable, message);
    }
    let may_pass = error.is_retriable()
        || matches!(error, Error::Recreated { .. } | Error::MissingPartition { .. });
    if may_pass { Fault::outage(message) } else { setting(message) }
}

/// The fault of a transaction, which its owner begins again unless a setting is wrong.
pub(crate) fn transaction_fault(what: &str, error: &Error) -> Fault {
    match fault(what, error) {
        Fault::Stop(stop) if matches!(stop.kind, StopKind::Taken | StopKind::Unavailable) => {
            Fault::outage(stop.message)
        }
        other => other,
    }
}

fn is_fenced(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ResponseError::ProducerFenced
                | ResponseError::InvalidProducerEpoch
                | ResponseError::InvalidProducerIdMapping
                | ResponseError::InvalidTxnState
        )
    )
}

/// A wrong setting.
pub(crate) fn setting(message: impl Into<String>) -> Fault {
    Fault::stop(StopKind::Setting, message)
}
