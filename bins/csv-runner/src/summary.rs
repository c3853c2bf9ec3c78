//! The summary that accounts for every row.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tally_pipeline::{Share, Totals};
use tally_runs::files::{ColumnProfile, Extreme, FileReport, Refused, Report};

use crate::arguments::Summary;
use crate::screen::rate;

/// A file's outcome, how its amounts are read, then its first dead letters.
fn lines(file: &FileReport, text: &mut String) {
    let FileReport { path, read, .. } = file;
    let state = file.state.as_str();
    let letters = match file.dead_lettered {
        _ if *read == 0 => String::new(), // an earlier run may have made some
        1 => ", 1 dead letter".to_owned(),
        count => format!(", {count} dead letters"),
    };
    let resumed = file.resumed_at.map_or_else(String::new, |row| format!(", resumed at row {row}"));
    line(text, &format!("{path}: {state}, {read} rows read{letters}{resumed}"));
    if let Some(amounts) = &file.amounts {
        line(text, &format!("  {amounts}"));
    }
    for Refused { line: number, code } in &file.first_dead_letters {
        line(text, &format!("  line {number}: {code}"));
    }
}

/// The summary, for scripts.
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
    columns: Option<&'a BTreeMap<String, ColumnProfile>>,
}

/// The summary, in lines.
pub fn show(report: &Report, form: Summary) -> String {
    match form {
        Summary::Text => text(report),
        Summary::Json => json(report),
    }
}

fn json(report: &Report) -> String {
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
    } = &report.totals;
    let json = Json {
        read: *read,
        written: *written,
        superseded: *superseded,
        skipped: *skipped,
        dead_lettered: *dead_lettered,
        blank: report.blank(),
        seconds: (report.took.as_secs_f64() * 1000.0).round() / 1000.0,
        rows_per_second: rate(*read, report.took),
        categories: answers,
        dead_letters,
        quality: quality.iter().map(|(rule, share)| (rule.as_str(), ratio(*share))).collect(),
        files: &report.files,
        columns: report.columns.as_ref(),
    };
    serde_json::to_string(&json).unwrap_or_default() + "\n"
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for file in &report.files {
        lines(file, &mut text);
    }
    if let Some(columns) = &report.columns {
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
    } = &report.totals;
    let seconds = report.took.as_secs_f64();
    line(
        &mut text,
        &format!("\n{read} rows read in {seconds:.2} s, {} rows/s", rate(*read, report.took)),
    );
    let accounted = [
        ("written", written),
        ("superseded", superseded),
        ("skipped", skipped),
        ("dead letters", dead_lettered),
    ];
    counts(&mut text, accounted.into_iter());
    match report.blank() {
        0 => {}
        1 => line(&mut text, "1 blank row ignored"),
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

fn describe(text: &mut String, name: &str, facts: &ColumnProfile) {
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
