//! What cannot be told from a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tally_ports::{Stop, StopKind};

use crate::timestamps::Formats;

/// The most lines that may stand before a header.
const MOST_LINES: usize = 10_000;

/// How to read a file's bytes as text, its header as columns, and its texts as numbers and timestamps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A label of the WHATWG encoding standard, such as `utf-8` or `windows-1252`.
    pub encoding: String,
    /// What stands before the decimals of an amount.
    pub decimal: Decimal,
    /// How many lines at the start of a file stand before its header.
    pub skip_lines: usize,
    /// Names in a header, and which of the flow's columns each is.
    pub columns: BTreeMap<String, String>,
    /// How timestamps are written, in the words of strftime: the first that fits counts, and no other form is read. With
    /// none, as in ISO 8601.
    pub timestamp_formats: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            encoding: "utf-8".to_owned(),
            decimal: Decimal::Auto,
            skip_lines: 0,
            columns: BTreeMap::new(),
            timestamp_formats: Vec::new(),
        }
    }
}

impl Settings {
    /// Refuses what no file could be read with.
    ///
    /// # Errors
    /// [`StopKind::Setting`] for too many lines, and for a format of timestamps that is none or names no date.
    pub fn check(&self) -> Result<(), Stop> {
        let wrong = |message| Stop { kind: StopKind::Setting, message };
        let lines = self.skip_lines;
        if lines > MOST_LINES {
            return Err(wrong(format!(
                "csv.skip_lines is {lines}: must be between 0 and {MOST_LINES}"
            )));
        }
        Formats::new(&self.timestamp_formats).map(drop).map_err(wrong)
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
