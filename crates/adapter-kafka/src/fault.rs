//! The reading client's errors as faults.

use tally_kafka_client::Error;
use tally_ports::{Fault, StopKind};

/// The fault for `error`; `what` is what was tried: `list the topics`.
pub(crate) fn fault(what: &str, error: &Error) -> Fault {
    let message = format!("cannot {what}: {error}");
    if error.is_retriable() { Fault::outage(message) } else { setting(message) }
}

/// A wrong setting.
pub(crate) fn setting(message: impl Into<String>) -> Fault {
    Fault::stop(StopKind::Setting, message)
}
