//! Where the model is and how long it may take.

use std::fmt;
use std::time::Duration;

/// Where the model is and how long it may take. Its `Debug` does not show the URL, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The base: `/predict` is appended to its path. With a user and a password they are sent as basic
    /// authentication.
    pub url: String,
    /// How long a connection may take, name resolution and TLS included.
    pub connect_timeout: Duration,
    /// How long one request may take, from the connection to the last byte of the answer.
    pub answer_timeout: Duration,
}

impl Settings {
    /// The model at `url` with the default timeouts: 2 s to connect, 5 s to answer.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(5),
        }
    }
}

/// The model on this machine.
impl Default for Settings {
    fn default() -> Self {
        Self::new("http://127.0.0.1:8000")
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("connect_timeout", &self.connect_timeout)
            .field("answer_timeout", &self.answer_timeout)
            .finish_non_exhaustive()
    }
}
