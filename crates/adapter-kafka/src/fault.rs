//! The reading client's errors as faults.

use tally_kafka_client::Error;
use tally_ports::{Fault, StopKind};

/// The fault for `error`; `what` is what was tried: `list the topics`. A topic or partition that was known and is another one
/// or missing now is asked for again.
pub(crate) fn fault(what: &str, error: &Error) -> Fault {
    let message = format!("cannot {what}: {error}");
    let may_pass = error.is_retriable()
        || matches!(error, Error::Recreated { .. } | Error::MissingPartition { .. });
    if may_pass { Fault::outage(message) } else { setting(message) }
}

/// A wrong setting.
pub(crate) fn setting(message: impl Into<String>) -> Fault {
    Fault::stop(StopKind::Setting, message)
}
