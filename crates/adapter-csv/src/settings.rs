//! What cannot be told from a file.

use serde::{Deserialize, Serialize};

/// How to read a file's bytes as text and its text as numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A label of the WHATWG encoding standard, such as `utf-8` or `windows-1252`.
    pub encoding: String,
    /// What stands before the decimals of an amount.
    pub decimal: Decimal,
}

impl Default for Settings {
    fn default() -> Self {
        Self { encoding: "utf-8".to_owned(), decimal: Decimal::Auto }
    }
}

/// What stands before the decimals of an amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decimal {
    /// As nine in ten of the amounts that can mean one thing only show, in the first 256 KiB of rows; else undecided.
    #[default]
    Auto,
    /// `12,34`, and `12,000` is 12.
    Comma,
    /// `12.34`, and `12.000` is 12.
    Point,
}
