//! What cannot be told from a file.

use serde::{Deserialize, Serialize};

/// How to read a file's bytes as text and its text as numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A label of the WHATWG encoding standard, such as `utf-8` or `windows-1252`.
    pub encoding: String,
    /// What separates the decimals of a number.
    pub decimal: Decimal,
}

impl Default for Settings {
    fn default() -> Self {
        Self { encoding: "utf-8".to_owned(), decimal: Decimal::Auto }
    }
}

/// What separates the decimals of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decimal {
    /// As in the first number with one or two decimals within 256 KiB; without one, a comma where `;` is the
    /// delimiter, else a point.
    #[default]
    Auto,
    /// `12,34`
    Comma,
    /// `12.34`
    Point,
}
