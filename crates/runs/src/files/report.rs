//! The report of a run over files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tally_adapter_csv::Amounts;
use tally_pipeline::{Refusal, Totals};
use tally_ports::StopKind;

use super::ColumnProfile;

/// The report of a run.
#[derive(Default)]
pub struct Report {
    /// This run's counts over all files.
    pub totals: Totals,
    /// How long it took.
    pub took: Duration,
    /// Each file that was begun or could not be read.
    pub files: Vec<FileReport>,
    /// The profile of each column, if wanted.
    pub columns: Option<BTreeMap<String, ColumnProfile>>,
    /// Whether a first batch began, or a file was found finished.
    pub began: bool,
    /// The cause of the exit code: what ended the run early, else a file that was rejected, else one that could not be
    /// read.
    pub stop: Option<StopKind>,
}

/// The outcome of a file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// As it was given.
    pub path: String,
    /// The hash of its content, where it could be read.
    pub fingerprint: Option<String>,
    /// How it ended.
    pub state: State,
    /// How many rows this run read.
    pub read: i64,
    /// How many of them became dead letters.
    pub dead_lettered: i64,
    /// The first of these.
    pub first_dead_letters: Vec<Refused>,
    /// The row at which this run resumed, where an earlier one had begun.
    pub resumed_at: Option<i64>,
    /// The decimal sign of its amounts in one word, where rows were read.
    decimal: Option<&'static str>,
    /// The physical line that shows it.
    decimal_line: Option<u64>,
    /// The same as a sentence.
    #[serde(skip)]
    pub amounts: Option<String>,
    /// How many blank rows this run ignored.
    #[serde(skip)]
    pub blank: u64,
}

impl FileReport {
    /// A file before reading.
    pub(super) fn new(path: &Path) -> Self {
        let path = path.display().to_string();
        Self {
            path,
            fingerprint: None,
            state: State::Failed,
            read: 0,
            dead_lettered: 0,
            first_dead_letters: Vec::new(),
            resumed_at: None,
            decimal: None,
            decimal_line: None,
            amounts: None,
            blank: 0,
        }
    }

    /// Records that its rows were read, how amounts are read, and how many blank rows were ignored.
    pub(super) fn note(&mut self, amounts: &Amounts, blank: u64) {
        self.decimal = Some(amounts.decimal());
        self.decimal_line = amounts.line();
        self.amounts = amounts.explain();
        self.blank = blank;
    }

    /// Takes this run's counts.
    pub(super) fn count(&mut self, totals: &Totals) {
        self.read = totals.read;
        self.dead_lettered = totals.dead_lettered;
        let refused =
            |refusal: &Refusal| Some(Refused { line: refusal.line?, code: refusal.code.clone() });
        self.first_dead_letters = totals.first_dead_letters.iter().filter_map(refused).collect();
    }
}

/// A row that became a dead letter.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// The physical line where it starts, from 1.
    pub line: u64,
    /// The reason in one word.
    pub code: String,
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All its rows are committed.
    Done,
    /// An earlier run finished it.
    AlreadyDone,
    /// All its rows are committed, and too many of them are dead letters; found by this run or an earlier one.
    Rejected,
    /// Some of its rows are not committed, or it could not be read.
    Failed,
}

impl State {
    /// Its text in the summary.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyDone => "already done",
            Self::Rejected => "rejected",
            Self::Failed => "not finished",
        }
    }
}

impl Report {
    /// How many blank rows were ignored.
    pub fn blank(&self) -> u64 {
        self.files.iter().map(|file| file.blank).sum()
    }
}
