//! Where the model is, what it is sent besides the records, and how long it may take.

use std::fmt;
use std::time::Duration;

/// Where the model is, what it is sent besides the records, and how long it may take. Its `Debug` shows neither the URL,
/// which may hold a password, nor the headers and the token.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// The base: `/predict` is appended to its path. With a user and a password they are sent as basic
    /// authentication.
    pub url: String,
    /// Headers of each request besides those that are sent anyway, as names and values.
    pub headers: Vec<(String, String)>,
    /// Sent as `Authorization: Bearer …`; empty for none.
    pub bearer_token: String,
    /// How long a connection may take, name resolution and TLS included.
    pub connect_timeout: Duration,
    /// How long one request may take, from the connection to the last byte of the answer.
    pub answer_timeout: Duration,
    /// The most records of a request. Fewer are sent while answers time out.
    pub request_size: usize,
    /// The most requests that are sent per second; 0 for no limit. Fewer are sent while the model answers 429.
    pub max_requests_per_second: f64,
    /// Whether a list that was answered with 500 three times is split, so that the record at fault becomes a dead letter.
    pub isolate_errors: bool,
}

impl Settings {
    /// The model at `url` with the defaults: 2 s to connect, 5 s to answer, 1000 records to a request, no limit of
    /// requests per second.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            bearer_token: String::new(),
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(5),
            request_size: 1000,
            max_requests_per_second: 0.0,
            isolate_errors: false,
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
            .field("request_size", &self.request_size)
            .field("max_requests_per_second", &self.max_requests_per_second)
            .field("isolate_errors", &self.isolate_errors)
            .finish_non_exhaustive()
    }
}
