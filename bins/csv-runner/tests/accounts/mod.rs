//! Sample files, and what a database must hold once they are taken in: computed from the file, never by the program.
#![allow(dead_code, reason = "not every test needs all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ml_api::category;
use serde_json::Value;
use tally_sample::{Options, generate};
use tally_testkit::eventually;
use tally_testkit::job::Target;
use tally_testkit::process::{Output, Process};
use tempfile::TempDir;
use uuid::Uuid;

/// How long anything may take on a machine that is busy with other tests.
pub const LONG: Duration = Duration::from_secs(40);

/// A row as both stores write it as text.
pub type Texts = Vec<Option<String>>;

/// A generated file in a folder of its own.
pub struct Sample {
    folder: TempDir,
    options: Options,
}

impl Sample {
    /// Valid rows.
    pub fn new(rows: u64) -> Self {
        Self::spoiled(rows, 0.0)
    }

    /// A share of the rows is wrong.
    pub fn spoiled(rows: u64, spoil_share: f64) -> Self {
        let sample = Self {
            folder: TempDir::new().unwrap(),
            options: Options { rows, spoil_share, ..Options::default() },
        };
        let file = std::fs::File::create(sample.path()).unwrap();
        generate(&sample.options, std::io::BufWriter::new(file)).unwrap();
        sample
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("sample.csv")
    }

    pub fn rows(&self) -> i64 {
        self.options.rows.cast_signed()
    }

    /// The lines after the header, without their ends.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.path()).unwrap();
        let body = bytes.strip_suffix(b"\n").unwrap();
        body.split(|&byte| byte == b'\n').skip(1).map(<[u8]>::to_vec).collect()
    }

    /// The same rows, in order, in files of their own.
    pub fn split(&self, files: usize) -> Vec<PathBuf> {
        let bytes = std::fs::read(self.path()).unwrap();
        let header = bytes.split_inclusive(|&byte| byte == b'\n').next().unwrap();
        let lines = self.lines();
        let write = |(number, lines): (usize, &[Vec<u8>])| {
            let path = self.folder.path().join(format!("part{number}.csv"));
            let body = lines.iter().flat_map(|line| [line, &b"\n"[..]]).flatten();
            let part: Vec<u8> = header.iter().chain(body).copied().collect();
            std::fs::write(&path, part).unwrap();
            path
        };
        lines.chunks(lines.len().div_ceil(files)).enumerate().map(write).collect()
    }

    /// What the valid rows become, in order of id.
    pub fn expected_rows(&self) -> Vec<Texts> {
        let numbered = (0..).zip(self.lines());
        let valid = numbered.filter(|&(position, _)| self.fault_at(position).is_none());
        valid.map(|(_, line)| expected_row(std::str::from_utf8(&line).unwrap())).collect()
    }

    /// Position, code and bytes of what the spoiled rows become, in order of position.
    pub fn expected_dead_letters(&self) -> Vec<Texts> {
        let numbered = (0..).zip(self.lines());
        let spoiled = numbered.filter_map(|(position, line)| {
            let code = self.fault_at(position)?.code().to_owned();
            Some(vec![Some(position.to_string()), Some(code), Some(hex(&line))])
        });
        spoiled.collect()
    }

    fn fault_at(&self, position: i64) -> Option<tally_sample::Fault> {
        self.options.fault_of(position.cast_unsigned() + 1)
    }

    /// Each row of the file has had its effect once, each refused row is one dead letter of each pass, the ledger has
    /// neither gap nor overlap and agrees with both, all `passes` are ended and the last has written every row.
    pub async fn check_taken(&self, target: &Target, passes: usize) {
        assert_same_rows(&rows(target).await, &self.expected_rows());
        let dead_letters = self.expected_dead_letters();
        for pass in 1..=passes {
            assert_same_rows(&dead_letters_of(target, pass).await, &dead_letters);
        }

        let ended = Ledger::read(target).await.check_whole(target).await;
        assert_eq!(ended.len(), passes, "as many passes as readings: {ended:?}");
        for pass in &ended {
            let valid = self.rows() - i64::try_from(dead_letters.len()).unwrap();
            assert!(pass.ended && pass.owner.is_none(), "{pass:?}");
            assert_eq!(
                (pass.read, pass.written, pass.superseded),
                (self.rows(), valid, 0),
                "{pass:?}"
            );
        }
        let last = &ended[passes - 1];
        let astray = format!("select count(*) from transactions where origin <> {}", last.origin);
        assert_eq!(target.number(&astray).await, 0, "rows of another pass than the last");
    }
}

/// The row that a valid line becomes: none of the sample's texts holds a delimiter or a quote.
fn expected_row(line: &str) -> Texts {
    let fields: Vec<&str> = line.split(';').map(|field| field.trim_matches('"')).collect();
    let [number, description, amount, timestamp, merchant, operation_type, side] = fields[..]
    else {
        panic!("a line of the sample without seven fields");
    };
    let id = Uuid::from_u128(number.parse().unwrap());
    let amount = amount.replace(',', ".");
    let category = category(id);
    let texts = [
        &*id.to_string(),
        description,
        &amount,
        timestamp,
        merchant,
        operation_type,
        side,
        category,
    ];
    texts.into_iter().map(|text| Some(text.to_owned()).filter(|text| !text.is_empty())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// All transactions in order of id.
pub async fn rows(target: &Target) -> Vec<Texts> {
    let columns = "id, description, amount, timestamp, merchant, operation_type, side, category";
    target.query(&format!("select {columns} from transactions order by id")).await
}

async fn dead_letters_of(target: &Target, pass: usize) -> Vec<Texts> {
    let payload = match target {
        Target::Sqlite(_) => "lower(hex(payload))",
        Target::Postgres(_) => "encode(payload, 'hex')",
    };
    let sql = format!(
        "select position, code, {payload} from dead_letters where pass = {pass} order by position"
    );
    target.query(&sql).await
}

/// Shows only the first difference of two long lists.
#[track_caller]
pub fn assert_same_rows(found: &[Texts], expected: &[Texts]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "rows found and expected");
}

/// The ledger, in order of stream, pass and position.
pub struct Ledger(pub Vec<Entry>);

/// A batch.
#[derive(Debug)]
pub struct Entry {
    pub stream: String,
    pub pass: i64,
    pub first: i64,
    pub last: i64,
    pub read: i64,
    pub written: i64,
    pub superseded: i64,
    pub skipped: i64,
    pub dead_lettered: i64,
    pub worker: String,
    pub quality: Value,
    /// Dead letters in the table that name this batch and lie in its range.
    pub dead_letters: i64,
}

/// A reading of a stream.
#[derive(Debug, Default)]
pub struct Pass {
    pub origin: i64,
    pub stream: String,
    /// Which one, from 1.
    pub number: i64,
    pub next: i64,
    pub owner: Option<String>,
    pub ended: bool,
    /// Over all its batches.
    pub read: i64,
    pub written: i64,
    pub superseded: i64,
    pub dead_lettered: i64,
}

impl Ledger {
    pub async fn read(target: &Target) -> Self {
        let rows = target
            .query(
                "select stream, pass, first, last, read, written, superseded, skipped, dead_lettered, worker, quality, \
                 (select count(*) from dead_letters where dead_letters.batch_id = batches.id \
                  and dead_letters.stream = batches.stream and dead_letters.pass = batches.pass \
                  and dead_letters.position between batches.first and batches.last) \
                 from batches order by stream, pass, first",
            )
            .await;
        Self(rows.iter().map(|row| Entry::new(row)).collect())
    }

    /// No gap, no overlap, every batch and every pass accounted for, positions where their last batch ends.
    pub async fn check_whole(&self, target: &Target) -> Vec<Pass> {
        let sql =
            "select id, stream, pass, next, owner, ended_at from positions order by stream, pass";
        let mut passes: Vec<Pass> =
            target.query(sql).await.iter().map(|row| Pass::new(row)).collect();
        let mut dead_letters = 0;
        for pass in &mut passes {
            let mut next = 0;
            for entry in self
                .0
                .iter()
                .filter(|entry| entry.stream == pass.stream && entry.pass == pass.number)
            {
                assert_eq!(entry.first, next, "a gap or an overlap: {entry:?}");
                next = entry.last + 1;
                assert_eq!(entry.read, next - entry.first, "{entry:?}");
                let accounted =
                    entry.written + entry.superseded + entry.skipped + entry.dead_lettered;
                assert_eq!(entry.read, accounted, "{entry:?}");
                assert_eq!(entry.dead_lettered, entry.dead_letters, "{entry:?}");
                pass.read += entry.read;
                pass.written += entry.written;
                pass.superseded += entry.superseded;
                pass.dead_lettered += entry.dead_lettered;
            }
            assert_eq!(pass.next, next, "the position stands where the last batch ends: {pass:?}");
            dead_letters += pass.dead_lettered;
        }
        let read: i64 = passes.iter().map(|pass| pass.read).sum();
        assert_eq!(read, self.0.iter().map(|entry| entry.read).sum::<i64>(), "a batch of no pass");
        assert_eq!(target.number("select count(*) from dead_letters").await, dead_letters);
        passes
    }
}

impl Entry {
    fn new(row: &[Option<String>]) -> Self {
        let text = |column: usize| row[column].clone().unwrap();
        let number = |column: usize| text(column).parse::<i64>().unwrap();
        Self {
            stream: text(0),
            pass: number(1),
            first: number(2),
            last: number(3),
            read: number(4),
            written: number(5),
            superseded: number(6),
            skipped: number(7),
            dead_lettered: number(8),
            worker: text(9),
            quality: serde_json::from_str(&text(10)).unwrap(),
            dead_letters: number(11),
        }
    }
}

impl Pass {
    fn new(row: &[Option<String>]) -> Self {
        let number = |column: usize| row[column].as_deref().unwrap().parse::<i64>().unwrap();
        Self {
            origin: number(0),
            stream: row[1].clone().unwrap(),
            number: number(2),
            next: number(3),
            owner: row[4].clone(),
            ended: row[5].is_some(),
            ..Self::default()
        }
    }
}

/// How many positions were passed by all commits so far.
pub async fn committed(target: &Target) -> i64 {
    if !target.has_tables().await {
        return 0;
    }
    target.number("select coalesce(sum(last - first + 1), 0) from batches").await
}

/// Returns once the process has committed a batch; fails when it ends without.
pub async fn until_it_commits(process: &Process, target: &Target) {
    let began = Instant::now();
    let its = format!("select count(*) from batches where worker like '%:{}:%'", process.id());
    eventually(2 * LONG, async || {
        let has_committed = target.has_tables().await && target.number(&its).await > 0;
        let output = process.output_so_far();
        let runs_on = output.code.is_none() && output.signal.is_none() && began.elapsed() < LONG;
        assert!(has_committed || runs_on, "nothing committed: {output}");
        has_committed
    })
    .await;
}

/// The summary that `--summary json` prints.
#[track_caller]
pub fn summary(output: &Output) -> Value {
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("no summary, {error}: {output}"))
}

/// The process has ended with this code.
#[track_caller]
pub fn ended_with(process: &Process, code: i32) -> Output {
    let output = process.wait(LONG);
    assert_eq!(output.code, Some(code), "{output}");
    output
}

/// What the file's entry in the summary says: its state, the rows read, and where it went on.
#[track_caller]
pub fn outcome(output: &Output) -> (String, i64, Option<i64>) {
    let file = &summary(output)["files"][0];
    (
        file["state"].as_str().unwrap().to_owned(),
        file["read"].as_i64().unwrap(),
        file["resumed_at"].as_i64(),
    )
}

/// It went on in the middle of the file and took it to its end. Where exactly is not known from outside: a server may
/// carry out a COMMIT after the process that sent it was killed.
#[track_caller]
pub fn assert_went_on(output: &Output, sample: &Sample) {
    let (state, read, resumed_at) = outcome(output);
    let resumed_at = resumed_at.unwrap_or_else(|| panic!("from the first row: {output}"));
    assert_eq!((&*state, read), ("done", sample.rows() - resumed_at), "{output}");
}

/// Appends a byte to a copy of a file, or changes one, and so on.
pub fn changed_copy(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    let copy = path.with_file_name("changed.csv");
    std::fs::write(&copy, bytes).unwrap();
    copy
}
