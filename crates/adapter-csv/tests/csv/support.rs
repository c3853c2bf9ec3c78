//! Files, and what the source makes of them.

use std::io::Write;

use serde_json::Value;
use tally_adapter_csv::{CsvFile, CsvSource, Settings};
use tally_domain::{Column, Field, Kind, Reason};
use tally_ports::{Batch, Fault, Item, Source};
use tempfile::NamedTempFile;

/// One of each kind that matters here.
pub const COLUMNS: &[Column] = &[
    Column::new("id", Kind::Id),
    Column::new("amount", Kind::Decimal),
    Column::new("text", Kind::Text),
];

pub fn file_of(content: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file
}

pub async fn open(file: &NamedTempFile, settings: &Settings) -> CsvFile {
    CsvFile::open(file.path(), settings, COLUMNS).await.unwrap()
}

pub async fn next(source: &mut CsvSource, limit: usize) -> Option<Batch> {
    source.next_batch(limit).await.unwrap()
}

/// Reads to the end, from `next` on.
pub async fn read_on(
    file: &CsvFile,
    next: i64,
    cursor: &Value,
    limit: usize,
) -> Result<Vec<Item>, Fault> {
    let mut source = file.read_from(next, cursor).await?;
    let mut expected = next;
    let mut items = Vec::new();
    while let Some(batch) = source.next_batch(limit).await? {
        assert_eq!(batch.first, expected);
        assert!((1..=limit).contains(&batch.items.len()));
        for item in &batch.items {
            assert_eq!(item.position, expected);
            expected += 1;
        }
        assert_eq!(batch.last, expected - 1);
        items.extend(batch.items);
    }
    Ok(items)
}

pub async fn read(content: impl AsRef<[u8]>, settings: &Settings) -> Vec<Item> {
    let file = file_of(content);
    let file = open(&file, settings).await;
    read_on(&file, 0, &Value::Null, 100).await.unwrap()
}

/// `id|amount|text`, with `-` for an empty text, or `code: message [payload]`.
pub fn shown(item: &Item) -> String {
    match &item.content {
        Ok(fields) => {
            assert_eq!(fields.len(), COLUMNS.len());
            let shown = |field| match text(field) {
                "" => "-",
                text => text,
            };
            fields.iter().map(shown).collect::<Vec<_>>().join("|")
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

/// That of a field, which is always one.
pub fn text(field: &Field) -> &str {
    match field {
        Field::Text(text) => text,
        other => panic!("no text but {other:?}"),
    }
}

pub fn all_shown(items: &[Item]) -> Vec<String> {
    items.iter().map(shown).collect()
}

pub fn payload(item: &Item) -> &[u8] {
    item.raw.payload.as_ref().unwrap()
}

pub fn header<'a>(item: &'a Item, name: &str) -> Option<&'a [u8]> {
    item.raw.header(name).map(AsRef::as_ref)
}
