//! A file, and what must become of each of its rows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tally_harness::job::{Job, ModelService, Target};

use super::{Folder, HEADER, SOON, assert_accounted, summary};

/// A file, and what must become of each of its rows.
pub struct Rows {
    name: &'static str,
    content: Vec<u8>,
    /// What travels with each dead letter.
    headers: Vec<(&'static str, String)>,
    letters: Vec<Letter>,
    /// `POSITION|DESCRIPTION|AMOUNT`
    written: Vec<String>,
}

/// A dead letter as it is stored.
#[derive(Clone, PartialEq)]
pub struct Letter {
    pub position: i64,
    pub stage: String,
    pub code: String,
    pub message: String,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Rows {
    /// The usual header and these rows.
    pub fn new(name: &'static str, rows: impl AsRef<[u8]>) -> Self {
        Self::whole(name, HEADER.trim_end(), [HEADER.as_bytes(), rows.as_ref()].concat())
    }

    /// A whole file whose header line is `header`.
    pub fn whole(name: &'static str, header: &str, content: impl Into<Vec<u8>>) -> Self {
        let headers = [
            ("csv.header", header),
            ("csv.delimiter", ";"),
            ("csv.decimal", "comma"),
            ("csv.encoding", "UTF-8"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { name, content: content.into(), headers, letters: Vec::new(), written: Vec::new() }
    }

    /// Its dead letters have this header besides, or instead.
    pub fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.retain(|(name, _)| *name != header);
        self.headers.push((header, value.to_owned()));
        self
    }

    /// This row must become a dead letter; one that could not be split has no key.
    pub fn letter(
        mut self,
        position: i64,
        (code, message): (&str, &str),
        key: Option<&str>,
        payload: impl AsRef<[u8]>,
    ) -> Self {
        let stage = match code {
            "fields" | "unframed" | "too_long" | "encoding" => "decode",
            _ => "validate",
        };
        self.letters.push(Letter {
            position,
            stage: stage.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            key: key.map(|key| key.as_bytes().to_vec()),
            payload: payload.as_ref().to_vec(),
            headers: Vec::new(),
        });
        self
    }

    /// These rows must be written: `POSITION|DESCRIPTION|AMOUNT`.
    pub fn written(mut self, rows: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.written.extend(rows.into_iter().map(|row| row.as_ref().to_owned()));
        self
    }

    /// These rows, made by [`row`](super::row), must be written.
    pub fn neighbours(self, positions: impl IntoIterator<Item = i64>) -> Self {
        self.written(positions.into_iter().map(|at| format!("{at}|CB RATP PARIS 02/08|-1.50")))
    }

    /// The dead letters with their headers.
    fn letters(&self) -> Vec<Letter> {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
            .collect();
        headers.sort();
        self.letters
            .iter()
            .map(|letter| Letter { headers: headers.clone(), ..letter.clone() })
            .collect()
    }
}

/// Takes all files in one run and looks at what became of each row.
pub async fn check(target: &Target, model: &ModelService, files: &[Rows], env: &[(&str, &str)]) {
    let folder = Folder::new();
    let name = |file: &Rows| format!("{}.csv", file.name.replace(' ', "-"));
    let paths: Vec<PathBuf> =
        files.iter().map(|file| folder.write(&name(file), &file.content)).collect();
    let job = Job::new(&target.url()).model(model.url()).flags(["--summary", "json"]);
    let job = env.iter().fold(job, |job, (name, value)| job.env(name, value));
    let output = paths.iter().fold(job, Job::file).spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");

    let summary = summary(&output);
    assert_accounted(target, &summary).await;
    let mut codes = BTreeMap::new();
    for letter in files.iter().flat_map(|file| &file.letters) {
        *codes.entry(letter.code.as_str()).or_insert(0) += 1;
    }
    assert_eq!(summary["dead_letters"], json!(codes));

    for ((file, path), report) in files.iter().zip(&paths).zip(summary["files"].as_array().unwrap())
    {
        let label = path.to_str().unwrap();
        let (found, expected) = (dead_letters(target, label).await, file.letters());
        assert!(found == expected, "{}:\n{found:#?}\ninstead of\n{expected:#?}", file.name);
        assert_eq!(written(target, label).await, file.written, "{}", file.name);
        let read = file.letters.len() + file.written.len();
        assert_eq!(
            (&report["state"], &report["read"]),
            (&json!("done"), &json!(read)),
            "{}",
            file.name
        );
    }
}

/// The dead letters of the file with this label; all of them are open first attempts that were never published, of
/// batches that the ledger knows.
pub async fn dead_letters(target: &Target, label: &str) -> Vec<Letter> {
    let hex = |column: &str| match target {
        Target::Sqlite(_) => format!("case when {column} is not null then hex({column}) end"),
        Target::Postgres(_) => format!("encode({column}, 'hex')"),
    };
    let sql = format!(
        "select d.position, d.stage, d.code, d.message, {}, {}, d.headers from dead_letters d \
         join positions p on p.flow = d.flow and p.stream = d.stream and p.partition = d.partition and p.pass = d.pass \
         join batches b on b.id = d.batch_id and b.stream = d.stream and d.position between b.first and b.last \
         where p.label = '{label}' and d.state = 'open' and d.attempt = 1 and d.published_at is null \
         and d.failed_at is not null order by d.position",
        hex("d.key"),
        hex("d.payload"),
    );
    target.query(&sql).await.into_iter().map(Letter::of_columns).collect()
}

/// The rows of the file with this label.
async fn written(target: &Target, label: &str) -> Vec<String> {
    let sql = format!(
        "select t.position, t.description, t.amount from transactions t join positions p on p.id = t.origin \
         where p.label = '{label}' order by t.position"
    );
    let line =
        |columns: Vec<Option<String>>| columns.into_iter().flatten().collect::<Vec<_>>().join("|");
    target.query(&sql).await.into_iter().map(line).collect()
}

impl Letter {
    fn of_columns(columns: Vec<Option<String>>) -> Self {
        let [position, stage, code, message, key, payload, headers] = columns.try_into().unwrap();
        let pairs: Vec<(String, String)> = serde_json::from_str(&headers.unwrap()).unwrap();
        let decoded =
            |(name, value): (String, String)| (name, BASE64_STANDARD.decode(value).unwrap());
        let mut headers: Vec<_> = pairs.into_iter().map(decoded).collect();
        headers.sort();
        Self {
            position: position.unwrap().parse().unwrap(),
            stage: stage.unwrap(),
            code: code.unwrap(),
            message: message.unwrap(),
            key: key.as_deref().map(bytes_of_hex),
            payload: bytes_of_hex(&payload.unwrap()),
            headers,
        }
    }
}

fn bytes_of_hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Bytes as text, and of long ones only the start and the length.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |bytes: &[u8]| {
            let start = bytes[..bytes.len().min(80)].escape_ascii();
            format!("{start} ({} bytes)", bytes.len())
        };
        let Self { position, stage, code, message, key, payload, headers } = self;
        write!(f, "{position} {stage} {code}: {message}")?;
        write!(f, "\n  key {:?}\n  payload {}", key.as_deref().map(shown), shown(payload))?;
        headers.iter().try_for_each(|(name, value)| write!(f, "\n  {name} {}", shown(value)))
    }
}
