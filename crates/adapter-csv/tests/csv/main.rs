//! Whole files through the source.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod amounts;
mod batches;
mod blank;
mod changes;
mod open;
mod random;
mod refused;
mod rows;
mod surplus;

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_adapter_csv::{CsvFile, CsvSource, Settings};
use tally_domain::amount::Notation;
use tally_domain::{Column, Flow, Kind, Reason};
use tally_ports::{Batch, Fault, Item, Source};
use tempfile::NamedTempFile;

/// A flow with a column of each kind that matters here.
#[derive(Debug)]
struct Notes;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    id: Option<String>,
    amount: Option<String>,
    text: Option<String>,
    /// No column of the flow.
    #[serde(default)]
    hint: Option<String>,
}

impl Flow for Notes {
    const NAME: &'static str = "notes";
    const COLUMNS: &'static [Column] = &[
        Column { name: "id", kind: Kind::Id },
        Column { name: "amount", kind: Kind::Decimal },
        Column { name: "text", kind: Kind::Text },
    ];
    const RULES: &'static [&'static str] = &[];

    type Wire = Note;
    type Record = Note;
    type Answer = ();
    type Stats = ();

    fn validate(wire: Note, _: Notation) -> Result<Note, Reason> {
        Ok(wire)
    }

    fn judge((): &mut (), _: &[Note]) -> Vec<Vec<usize>> {
        Vec::new()
    }

    fn tally_name((): &()) -> Option<&str> {
        None
    }
}

type NoteSource = CsvSource<Notes>;

fn file_of(content: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file
}

async fn open(file: &NamedTempFile, settings: &Settings) -> CsvFile<Notes> {
    CsvFile::open(file.path(), settings).await.unwrap()
}

async fn next(source: &mut NoteSource, limit: usize) -> Option<Batch<Note>> {
    source.next_batch(limit).await.unwrap()
}

/// Reads to the end, from `next` on.
async fn read_on(
    file: &CsvFile<Notes>,
    next: i64,
    cursor: &Value,
    limit: usize,
) -> Result<Vec<Item<Note>>, Fault> {
    let mut source = file.read_from(next, cursor).await?;
    let mut expected = next;
    let mut items = Vec::new();
    while let Some(batch) = source.next_batch(limit).await? {
        assert_eq!(batch.first, expected);
        assert!((1..=limit).contains(&batch.items.len()));
        assert_eq!(batch.gap, None);
        for item in &batch.items {
            assert_eq!(item.position, expected);
            expected += 1;
        }
        assert_eq!(batch.last, expected - 1);
        items.extend(batch.items);
    }
    Ok(items)
}

async fn read(content: impl AsRef<[u8]>, settings: &Settings) -> Vec<Item<Note>> {
    let file = file_of(content);
    let file = open(&file, settings).await;
    read_on(&file, 0, &Value::Null, 100).await.unwrap()
}

/// `id|amount|text`, with `-` for what is absent, or `code: message [payload]`.
fn shown(item: &Item<Note>) -> String {
    match &item.content {
        Ok(note) => {
            let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".to_owned());
            let fields = [text(&note.id), text(&note.amount), text(&note.text)];
            fields.into_iter().chain(note.hint.clone()).collect::<Vec<_>>().join("|")
        }
        Err(Reason { stage, code, message }) => {
            assert_eq!(stage.as_str(), "decode");
            format!(
                "{code}: {message} [{}]",
                payload(item).escape_ascii().to_string().replace("\\\"", "\"")
            )
        }
    }
}

fn all_shown(items: &[Item<Note>]) -> Vec<String> {
    items.iter().map(shown).collect()
}

fn payload(item: &Item<Note>) -> &[u8] {
    item.raw.payload.as_ref().unwrap()
}

fn header<'a>(item: &'a Item<Note>, name: &str) -> Option<&'a [u8]> {
    item.raw.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_ref())
}
