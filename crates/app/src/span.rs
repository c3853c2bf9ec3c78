//! Durations in settings.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration like `500ms`, `5s` or `5m`, or `never` for an unlimited one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    limit: Option<Duration>,
}

impl Span {
    /// That many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self { limit: Some(Duration::from_secs(seconds)) }
    }

    /// That many milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self { limit: Some(Duration::from_millis(milliseconds)) }
    }

    /// The duration; `None` for `never`.
    pub const fn limit(self) -> Option<Duration> {
        self.limit
    }

    /// Unlimited.
    pub const fn never() -> Self {
        Self { limit: None }
    }

    /// The duration, where the settings' ranges exclude `never`.
    pub fn length(self) -> Duration {
        self.limit.unwrap_or(Duration::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self { limit: None });
        }
        match humantime::parse_duration(text) {
            Ok(length) => Ok(Self { limit: Some(length) }),
            Err(error) => {
                Err(format!("{text} is not a duration like 500ms, 5s, 5m or never: {error}"))
            }
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(length) => humantime::format_duration(length).fmt(f),
            None => f.write_str("never"),
        }
    }
}
