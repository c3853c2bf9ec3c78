//! The programs that know the test flows alone, and what they leave behind.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::Value;
use tally_harness::job::{LONG, Target, ended_with};
use tally_harness::kafka::{Broker, record};
use tally_harness::process::{Launch, Output, Process};
use tempfile::TempDir;

/// A program that knows the test flows alone.
pub fn program(name: &str) -> Launch {
    let path = match name {
        "audit" => env!("CARGO_BIN_EXE_test-flows-audit"),
        "csv-runner" => env!("CARGO_BIN_EXE_test-flows-csv-runner"),
        "dead-letters" => env!("CARGO_BIN_EXE_test-flows-dead-letters"),
        "kafka-consumer" => env!("CARGO_BIN_EXE_test-flows-kafka-consumer"),
        "producer" => env!("CARGO_BIN_EXE_test-flows-producer"),
        _ => panic!("no program {name}"),
    };
    Launch::new(path)
}

/// A file with this content.
pub struct Table {
    folder: TempDir,
}

impl Table {
    pub fn new(lines: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("table.csv"), lines.join("\n") + "\n").unwrap();
        Self { folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("table.csv")
    }
}

/// Takes a file of the flow into the database; its summary.
#[track_caller]
pub fn take(flow: &str, target: &Target, table: &Table, flags: &[&str]) -> Value {
    let process = program("csv-runner")
        .args(["--flow", flow, "--database-url", &target.url(), "--summary", "json"])
        .args([table.path()])
        .args(flags)
        .spawn();
    let output = ended_with(&process, 0);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// The counts of a summary: read, written, superseded, skipped, dead-lettered.
pub fn counts(summary: &Value) -> [i64; 5] {
    ["read", "written", "superseded", "skipped", "dead_lettered"]
        .map(|name| summary[name].as_i64().unwrap())
}

/// The codes of the dead letters in a summary.
pub fn codes(summary: &Value) -> Vec<(&str, i64)> {
    let codes = summary["dead_letters"].as_object().unwrap();
    codes.iter().map(|(code, count)| (code.as_str(), count.as_i64().unwrap())).collect()
}

/// A topic of one partition with these keys and values.
pub async fn topic(records: &[(Option<&str>, Option<&str>)]) -> (&'static Broker, String) {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let records =
        records.iter().map(|(key, value)| record(key.map(str::as_bytes), value.map(str::as_bytes)));
    broker.produce(&topic, 0, records.collect()).await;
    (broker, topic)
}

/// Reads the topic to its end into the database.
#[track_caller]
pub fn consume(
    flow: &str,
    target: &Target,
    broker: &Broker,
    topic: &str,
    flags: &[&str],
) -> Output {
    ended_with(&consumer(flow, target, broker, topic).args(flags).spawn(), 0)
}

/// What reads the topic to its end into the database.
pub fn consumer(flow: &str, target: &Target, broker: &Broker, topic: &str) -> Launch {
    program("kafka-consumer")
        .args(["--flow", flow, "--database-url", &target.url(), "--until-end"])
        .args(["--brokers", broker.bootstrap(), "--topic", topic, "--lease", "2s"])
}

/// Where the process answers for itself, if it logs for reading.
#[track_caller]
pub fn address(process: &Process) -> String {
    let line = process.wait_for_line("readiness on http://", LONG);
    line.rsplit_once("http://").unwrap().1.trim().to_owned()
}

/// The whole answer to `GET path`.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: tally\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The rows of a query as texts, null as `-`.
pub async fn rows(target: &Target, sql: &str) -> Vec<String> {
    let rows = target.query(sql).await;
    let shown = |row: Vec<Option<String>>| {
        let values: Vec<String> =
            row.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned())).collect();
        values.join("|")
    };
    rows.into_iter().map(shown).collect()
}

/// The audit finds nothing, in the database alone.
#[track_caller]
pub fn audited(target: &Target) {
    audited_with(target, &[], &[]);
}

/// The audit with these flags finds violations of these kinds and no others, in order; its report.
#[track_caller]
pub fn audited_with(target: &Target, flags: &[&OsStr], kinds: &[&str]) -> Value {
    found(&audit(target, flags).spawn(), kinds)
}

/// The audit with these flags.
pub fn audit(target: &Target, flags: &[&OsStr]) -> Launch {
    program("audit").args(["--database-url", &target.url(), "--output", "json"]).args(flags)
}

/// The audit finds violations of these kinds and no others, in order; its report.
#[track_caller]
pub fn found(process: &Process, kinds: &[&str]) -> Value {
    let output = ended_with(process, if kinds.is_empty() { 0 } else { 65 });
    let report: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    let found: Vec<_> = report["violation_counts"].as_object().unwrap().keys().collect();
    assert_eq!(found, kinds, "{report:#}");
    report
}

/// A violation in the report says all of these texts.
#[track_caller]
pub fn says(report: &Value, texts: &[&str]) {
    let violations = report["violations"].as_array().unwrap().iter();
    let mut messages = violations.map(|violation| violation["message"].as_str().unwrap());
    let is_said = messages.any(|message| texts.iter().all(|text| message.contains(text)));
    assert!(is_said, "no {texts:?} in {report:#}");
}
