//! A run of `csv-runner`, and what it says and leaves behind.

pub mod model;
pub mod outcome;
pub mod rows;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tally_harness::job::{Job, Target};
use tally_harness::process::{Output, Process};
use tempfile::TempDir;

/// How long a run may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Where nobody listens.
pub const NO_MODEL: &str = "http://127.0.0.1:9";

pub const HEADER: &str = "id;description;amount;timestamp;merchant;operation_type;side\n";

/// A valid row.
pub fn row(id: u32) -> String {
    format!("{id};\"CB RATP PARIS 02/08\";-1,50;2024-01-15 08:30:00;RATP;payment;debit\n")
}

/// A file of valid rows.
pub fn table(ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().fold(HEADER.to_owned(), |table, id| table + &row(id))
}

/// A folder of the test's own that every user can enter.
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The names of the files in it.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }

    /// Texts that name the folder, with DIR in its place.
    pub fn shown(&self, said: Vec<String>) -> Vec<String> {
        let path = self.path().to_str().unwrap();
        said.into_iter().map(|text| text.replace(path, "DIR")).collect()
    }
}

/// What a process said, line by line, but for its progress: a run that takes longer has such lines.
pub fn said(output: &Output) -> Vec<String> {
    let is_progress = |line: &str| line.starts_with("INFO ") && line.contains(" % of the file, ");
    log(output).into_iter().filter(|line| !is_progress(line)).collect()
}

/// What a process said, line by line: of a line of the log its level and message. The line that names the port is left
/// out.
pub fn log(output: &Output) -> Vec<String> {
    let lines = output.stderr.lines().map(|line| match serde_json::from_str::<Value>(line) {
        Ok(line) => format!("{} {}", text(&line["level"]), text(&line["message"])),
        Err(_) => line.to_owned(),
    });
    lines.filter(|line| !line.starts_with("INFO metrics, health and readiness on")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The summary of a run with `--summary json`, which is all there is on standard output.
#[track_caller]
pub fn summary(output: &Output) -> Value {
    let summary: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("standard output is no JSON: {error}\n{output}"));
    let count = |key: &str| summary[key].as_i64().unwrap_or_else(|| panic!("{key} in {summary}"));
    let accounted = ["written", "superseded", "skipped", "dead_lettered"].map(count);
    assert_eq!(count("read"), accounted.iter().sum::<i64>(), "{summary}");
    summary
}

/// Runs it to its end with `--summary json`.
pub fn run(target: &Target, model: &str, files: &[impl AsRef<Path>], flags: &[&str]) -> Output {
    let job = Job::new(&target.url()).model(model).flags(["--summary", "json"]).flags(flags);
    files.iter().fold(job, Job::file).spawn().wait(SOON)
}

/// The ledger and the tables agree with each other and with the summary of the only run.
pub async fn assert_accounted(target: &Target, summary: &Value) {
    let sums = "select coalesce(sum(read), 0), coalesce(sum(written), 0), coalesce(sum(superseded), 0), \
        coalesce(sum(skipped), 0), coalesce(sum(dead_lettered), 0) from batches";
    let keys = ["read", "written", "superseded", "skipped", "dead_lettered"];
    let expected = keys.map(|key| Some(summary[key].to_string()));
    assert_eq!(target.query(sums).await, [expected], "the ledger and {summary}");
    let letters = target.number("select count(*) from dead_letters where state = 'open'").await;
    assert_eq!(Some(letters), summary["dead_lettered"].as_i64());
    // Per pass: what was read are all positions up to the next one, and no batch overlaps another.
    let broken = "select p.label from positions p left join batches b on b.flow = p.flow and b.stream = p.stream \
        and b.partition = p.partition and b.pass = p.pass \
        group by p.id, p.label, p.next having coalesce(sum(b.last - b.first + 1), 0) <> p.next \
        or coalesce(sum(b.read), 0) <> p.next";
    assert_eq!(target.query(broken).await, Vec::<Vec<_>>::new());
}

/// Where the process shows metrics, health and readiness.
pub fn address(process: &Process) -> String {
    let line = process.wait_for_line("metrics, health and readiness on http://", SOON);
    let (_, rest) = line.split_once("http://").unwrap();
    rest.chars().take_while(|char| char.is_ascii_digit() || ".:".contains(*char)).collect()
}

/// Status and body of what is at `path`.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Status and body of `/ready`.
pub fn ready(address: &str) -> (u16, Value) {
    let (status, body) = get(address, "/ready");
    (status, serde_json::from_str(&body).unwrap())
}

/// The position is where it was, nobody's, and nothing was written.
pub async fn assert_untouched(target: &Target) {
    let free =
        "select count(*) from positions where next = 0 and owner is null and ended_at is null";
    assert_eq!(target.number(free).await, 1);
    for table in ["transactions", "dead_letters", "batches"] {
        assert_eq!(target.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
}

/// The names of the fields, in order.
pub fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}
