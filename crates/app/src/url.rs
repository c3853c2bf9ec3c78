//! Addresses that may hold a password.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An address. Shown without user, password and parameters.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Url(String);

impl Url {
    /// The address as written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole address, for connecting.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None if self.0.starts_with("sqlite:") => return f.write_str(&self.0),
            None if self.0.contains('=') => return f.write_str("***"), // libpq's host=x password=y
            None => (String::new(), self.0.as_str()),
        };
        let (user, rest) = match rest.rsplit_once('@') {
            // A password may contain a question mark, and a parameter an at sign.
            Some((user, _)) if user.contains('?') => return write!(f, "{scheme}***"),
            Some((_, rest)) => ("***@", rest),
            None => ("", rest),
        };
        let (rest, parameters) =
            rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
        write!(f, "{scheme}{user}{rest}{parameters}")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, shown: &str) {
        assert_eq!(format!("{:?}", Url::new(url)), format!("\"{shown}\""));
    }

    #[test]
    fn secrets_are_not_shown() {
        check("postgres://user:pass@host:5432/db", "postgres://***@host:5432/db");
        check(
            "postgres://user:p@ss@host/db?sslmode=require&password=x",
            "postgres://***@host/db?***",
        );
        check("postgres://host/db", "postgres://host/db");
        check("https://key@model/path", "https://***@model/path");
        check("postgres://user:p?ss@host/db?x=1", "postgres://***");
        check("postgres://host/db?password=p@ss", "postgres://***");
        check("host=db user=me password=secret", "***");
        check("user:pass@host/db", "***@host/db");
        check("sqlite:tally.db", "sqlite:tally.db");
        check("sqlite:me@home.db", "sqlite:me@home.db");
    }
}
