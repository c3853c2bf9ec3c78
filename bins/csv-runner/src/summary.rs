//! The summary that accounts for every row.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tally_adapter_csv::Amounts;
use tally_pipeline::{Refusal, Share, Totals};
use tally_ports::StopKind;

use crate::arguments::Summary;
use crate::columns::{Extreme, Facts};
use crate::screen::rate;

/// What a run did.
#[derive(Default)]
pub struct Report {
    /// This run's counts over all files.
    pub totals: Totals,
    /// How long it took.
    pub took: Duration,
    /// What became of each file that was begun, and of those that could not be read.
    pub files: Vec<FileReport>,
    /// With `--dry-run`: what each column holds.
    pub columns: Option<BTreeMap<&'static str, Facts>>,
    /// Whether a first batch began, or a file was found finished.
    pub began: bool,
    /// What the exit code tells of: what ended the run before its last file, else a file that was rejected, else one that
    /// could not be read.
    pub stop: Option<StopKind>,
}

/// What became of a file.
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
    /// The row at which this run went on, where an earlier one had begun.
    pub resumed_at: Option<i64>,
    /// The decimal sign of its amounts in one word, where rows were read.
    decimal: Option<&'static str>,
    /// The physical line that shows it.
    decimal_line: Option<u64>,
    /// The same for people.
    #[serde(skip)]
    amounts: Option<String>,
    /// How many blank rows this run passed.
    #[serde(skip)]
    blank: u64,
}

impl FileReport {
    /// A file of which nothing was read yet.
    pub fn new(path: &Path) -> Self {
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

    /// Its rows were read, amounts so, and as many blank ones were passed.
    pub fn note(&mut self, amounts: &Amounts, blank: u64) {
        self.decimal = Some(amounts.decimal());
        self.decimal_line = amounts.line();
        self.amounts = amounts.explain();
        self.blank = blank;
    }

    /// Takes over what this run counted.
    pub fn count(&mut self, totals: &Totals) {
        self.read = totals.read;
        self.dead_lettered = totals.dead_lettered;
        let refused =
            |refusal: &Refusal| Some(Refused { line: refusal.line?, code: refusal.code.clone() });
        self.first_dead_letters = totals.first_dead_letters.iter().filter_map(refused).collect();
    }

    /// What became of it, how its amounts are read, then its first dead letters.
    fn lines(&self, text: &mut String) {
        let Self { path, read, .. } = self;
        let state = self.state.as_str();
        let letters = match self.dead_lettered {
            _ if *read == 0 => String::new(), // an earlier run may have made some
            1 => ", 1 dead letter".to_owned(),
            count => format!(", {count} dead letters"),
        };
        let resumed =
            self.resumed_at.map_or_else(String::new, |row| format!(", went on at row {row}"));
        line(text, &format!("{path}: {state}, {read} rows read{letters}{resumed}"));
        if let Some(amounts) = &self.amounts {
            line(text, &format!("  {amounts}"));
        }
        for Refused { line: number, code } in &self.first_dead_letters {
            line(text, &format!("  line {number}: {code}"));
        }
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
    /// An earlier run had finished it.
    AlreadyDone,
    /// All its rows are committed, and too many of them are dead letters; found by this run or an earlier one.
    Rejected,
    /// Some of its rows are not committed, or it could not be read.
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyDone => "already done",
            Self::Rejected => "rejected",
            Self::Failed => "not finished",
        }
    }
}

/// The summary as scripts read it.
#[derive(Serialize)]
struct Json<'a> {
    read: i64,
    written: i64,
    superseded: i64,
    skipped: i64,
    dead_lettered: i64,
    blank: u64,
    seconds: f64,
    rows_per_second: i64,
    categories: &'a BTreeMap<String, i64>,
    dead_letters: &'a BTreeMap<String, i64>,
    quality: BTreeMap<&'a str, f64>,
    files: &'a [FileReport],
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<&'a BTreeMap<&'static str, Facts>>,
}

impl Report {
    /// The summary, in lines.
    pub fn show(&self, form: Summary) -> String {
        match form {
            Summary::Text => self.text(),
            Summary::Json => self.json(),
        }
    }

    fn json(&self) -> String {
        let Totals {
            read,
            written,
            superseded,
            skipped,
            dead_lettered,
            answers,
            dead_letters,
            quality,
            first_dead_letters: _,
        } = &self.totals;
        let json = Json {
            read: *read,
            written: *written,
            superseded: *superseded,
            skipped: *skipped,
            dead_lettered: *dead_lettered,
            blank: self.blank(),
            seconds: (self.took.as_secs_f64() * 1000.0).round() / 1000.0,
            rows_per_second: rate(*read, self.took),
            categories: answers,
            dead_letters,
            quality: quality.iter().map(|(rule, share)| (rule.as_str(), ratio(*share))).collect(),
            files: &self.files,
            columns: self.columns.as_ref(),
        };
        serde_json::to_string(&json).unwrap_or_default() + "\n"
    }

    /// How many rows were passed that have nothing in them.
    fn blank(&self) -> u64 {
        self.files.iter().map(|file| file.blank).sum()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            file.lines(&mut text);
        }
        if let Some(columns) = &self.columns {
            line(&mut text, "\ncolumns");
            for (name, facts) in columns {
                describe(&mut text, name, facts);
            }
        }

        let Totals {
            read,
            written,
            superseded,
            skipped,
            dead_lettered,
            answers,
            dead_letters,
            quality,
            first_dead_letters: _,
        } = &self.totals;
        let seconds = self.took.as_secs_f64();
        line(
            &mut text,
            &format!("\n{read} rows read in {seconds:.2} s, {} rows/s", rate(*read, self.took)),
        );
        let accounted = [
            ("written", written),
            ("superseded", superseded),
            ("skipped", skipped),
            ("dead letters", dead_lettered),
        ];
        counts(&mut text, accounted.into_iter());
        match self.blank() {
            0 => {}
            1 => line(&mut text, "1 blank row, which is no record"),
            blank => line(&mut text, &format!("{blank} blank rows ignored")),
        }
        if !dead_letters.is_empty() {
            line(&mut text, "\ndead letters by code");
            counts(&mut text, dead_letters.iter().map(|(code, count)| (code.as_str(), count)));
        }
        if !quality.is_empty() {
            line(&mut text, "\nquality");
            for (rule, share) in quality {
                line(&mut text, &format!("  {rule:<24}{:>9.2} %", ratio(*share) * 100.0));
            }
        }
        if !answers.is_empty() {
            line(&mut text, "\ncategories");
            counts(&mut text, answers.iter().map(|(category, count)| (category.as_str(), count)));
        }
        text
    }
}

fn describe(text: &mut String, name: &str, facts: &Facts) {
    let extremes = match (&facts.least, &facts.greatest) {
        (Some(Extreme { text: least, .. }), Some(Extreme { text: greatest, .. })) => {
            format!(", least {least:?}, greatest {greatest:?}")
        }
        _ => String::new(),
    };
    line(text, &format!("  {name:<16}missing {}{extremes}", facts.missing));
    for (value, count) in facts.distinct.iter().flatten() {
        line(text, &format!("    {value:?} {count}"));
    }
}

fn counts<'a>(text: &mut String, counts: impl Iterator<Item = (&'a str, &'a i64)>) {
    for (name, count) in counts {
        line(text, &format!("  {name:<24}{count:>11}"));
    }
}

fn line(text: &mut String, line: &str) {
    let _never_fails = writeln!(text, "{line}");
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn ratio(share: Share) -> f64 {
    if share.of == 0 { 0.0 } else { share.count as f64 / share.of as f64 }
}
