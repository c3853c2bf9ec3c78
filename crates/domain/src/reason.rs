//! Why a record became a dead letter.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a record became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stage that refused it.
    pub stage: Stage,
    /// A short stable word; for stage `write` the SQLSTATE or `SQLite`'s constraint kind.
    pub code: Cow<'static, str>,
    /// Everything that is wrong, as a sentence. Never quotes a value of the record.
    pub message: String,
}

impl Reason {
    /// A reason with a code known at compile time.
    pub fn new(stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        Self { stage, code: Cow::Borrowed(code), message: message.into() }
    }

    /// The reason of a row that the database refused with `code`, by the named constraint where it reported one. Control
    /// characters in the name are escaped.
    pub fn refused_by_database(code: &str, constraint: Option<&str>) -> Self {
        let mut message = format!("the database refused the row: {code}");
        if let Some(name) = constraint {
            message += ", constraint ";
            for char in name.chars() {
                match char {
                    '\'' | '"' => message.push(char),
                    _ => message.extend(char.escape_debug()),
                }
            }
        }
        Self { stage: Stage::Write, code: Cow::Owned(code.to_owned()), message }
    }
}

/// A stage that can refuse a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its bytes cannot be decoded.
    Decode,
    /// Its values break a rule of the flow.
    Validate,
    /// A quality rule with the policy `quarantine` refused it.
    Quality,
    /// The model refused it or gave no answer.
    Enrich,
    /// What is to be published of it is too large, or what it adds to counters is not a fit number.
    Publish,
    /// The database refused it.
    Write,
}

impl Stage {
    /// The name in tables, metrics and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Validate => "validate",
            Self::Quality => "quality",
            Self::Enrich => "enrich",
            Self::Publish => "publish",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_named_and_its_name_is_harmless() {
        let reason = Reason::refused_by_database("23514", Some("transactions_amount_check"));
        let text = "the database refused the row: 23514, constraint transactions_amount_check";
        assert_eq!((&*reason.code, &*reason.message), ("23514", text));
        let odd = Reason::refused_by_database("23514", Some("a \n\u{1b}[2J\u{202e}\u{0}é 'b'"));
        let escaped =
            "the database refused the row: 23514, constraint a \\n\\u{1b}[2J\\u{202e}\\0é 'b'";
        assert_eq!(odd.message, escaped);
        let unnamed = Reason::refused_by_database("P0001", None);
        assert_eq!(unnamed.message, "the database refused the row: P0001");
    }
}
