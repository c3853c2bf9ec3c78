//! Faults at a port: each says whether to try again, and when.

use std::time::Duration;

/// Why a call to a port failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The dependency is unavailable. The same call may succeed later; nothing is lost by waiting.
    #[error("{message}")]
    Outage {
        /// What happened, naming the dependency; holds no secret and no content of records.
        message: String,
        /// The pause that the dependency requested.
        retry_after: Option<Duration>,
    },
    /// Trying again cannot help.
    #[error(transparent)]
    Stop(#[from] Stop),
}

impl Fault {
    /// An outage without a requested pause.
    pub fn outage(message: impl Into<String>) -> Self {
        Self::Outage { message: message.into(), retry_after: None }
    }

    /// For a caller that does not wait: an outage becomes [`StopKind::Unavailable`].
    pub fn into_stop(self) -> Stop {
        match self {
            Self::Stop(stop) => stop,
            Self::Outage { message, .. } => Stop { kind: StopKind::Unavailable, message },
        }
    }

    /// A stop.
    pub fn stop(kind: StopKind, message: impl Into<String>) -> Self {
        Self::Stop(Stop { kind, message: message.into() })
    }
}

/// Why the work ends early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Stop {
    /// The kind of cause; it decides the exit code.
    pub kind: StopKind,
    /// What happened and what to do; holds no secret and no content of records.
    pub message: String,
}

/// The kinds of causes that end the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// The data themselves: a quality policy, a file that changed while it was read.
    Data,
    /// A partition's log cannot be read at its position. The message names the range; other partitions continue.
    Blocked,
    /// The input cannot be read or is not a CSV table.
    Input,
    /// A dependency stayed unavailable longer than allowed.
    Unavailable,
    /// Standard output or a file cannot be written.
    Output,
    /// Another process owns it.
    Taken,
    /// A setting is wrong.
    Setting,
}

impl StopKind {
    /// The exit code (of `sysexits.h`) that scripts see.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Data | Self::Blocked => 65,
            Self::Input => 66,
            Self::Unavailable => 69,
            Self::Output => 74,
            Self::Taken => 75,
            Self::Setting => 78,
        }
    }
}
