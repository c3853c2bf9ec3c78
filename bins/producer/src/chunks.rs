//! Rows of files as records, in chunks that are sent together.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tally_adapter_csv::CsvFile;
use tally_adapter_kafka::Outgoing;
use tally_adapter_kafka::wire::Encoder;
use tally_domain::{Column, Flow, Message, Reason};
use tally_ports::{Batch, Fault, Item, Raw, Source, Stop};
use tokio::sync::mpsc;

/// A file that is to be sent.
pub struct File {
    pub path: Arc<str>,
    pub file: CsvFile,
}

/// What is sent.
pub enum Input {
    Files(Vec<File>),
    /// Records of a generator.
    Generated(Box<dyn Iterator<Item = Raw> + Send>),
}

/// Rows to be sent together.
pub struct Chunk {
    pub path: Arc<str>,
    pub records: Vec<Outgoing>,
    /// Where each record was read.
    pub rows: Vec<SourceRow>,
    pub refused: Vec<(SourceRow, Reason)>,
    /// Nothing comes behind it in the file.
    pub ends_file: bool,
}

impl Chunk {
    fn new(path: Arc<str>, ends_file: bool) -> Self {
        let (records, rows, refused) = (Vec::new(), Vec::new(), Vec::new());
        Self { path, records, rows, refused, ends_file }
    }
}

/// A row of a file.
#[derive(Clone)]
pub struct SourceRow {
    pub row: i64,
    /// Its bytes, if `--rejects` needs them.
    pub raw: Option<Raw>,
}

/// Reads the files in chunks until the receiver is gone; the first time with the rows' bytes if `keeps_bytes`.
pub async fn read(
    files: Vec<File>,
    flow: Arc<dyn Flow>,
    encoder: Encoder,
    rows: usize,
    repeat: bool,
    mut keeps_bytes: bool,
    sender: mpsc::Sender<Chunk>,
) -> Result<(), Stop> {
    loop {
        for File { path, file } in &files {
            let mut source = file.read_from(0, &Value::Null).await?;
            while let Some(batch) = source.next_batch(rows).await.map_err(Fault::into_stop)? {
                let chunk = encode(Arc::clone(path), batch, flow.columns(), &encoder, keeps_bytes)
                    .map_err(Fault::into_stop)?;
                if sender.send(chunk).await.is_err() {
                    return Ok(());
                }
            }
            if sender.send(Chunk::new(Arc::clone(path), true)).await.is_err() {
                return Ok(());
            }
        }
        if !repeat {
            return Ok(());
        }
        keeps_bytes = false;
    }
}

fn encode(
    path: Arc<str>,
    Batch { items, notation, .. }: Batch,
    columns: &[Column],
    encoder: &Encoder,
    keeps_bytes: bool,
) -> Result<Chunk, Fault> {
    let mut chunk = Chunk::new(path, false);
    chunk.rows.reserve(items.len());
    // All keys and values share one allocation.
    let (mut bytes, mut places) = (Vec::new(), Vec::with_capacity(items.len()));
    for Item { position, raw, content } in items {
        let row = SourceRow { row: position, raw: keeps_bytes.then_some(raw) };
        match content.and_then(|fields| Message::read(columns, fields, notation)) {
            Ok(message) => {
                let key = message.key().map(|key| append(&mut bytes, key.as_bytes()));
                let start = bytes.len();
                encoder.append(&message, &mut bytes)?;
                places.push((key, start..bytes.len()));
                chunk.rows.push(row);
            }
            Err(reason) => chunk.refused.push((row, reason)),
        }
    }
    let bytes = Bytes::from(bytes);
    let records = places.into_iter().map(|(key, value)| Outgoing {
        key: key.map(|key| bytes.slice(key)),
        value: Some(bytes.slice(value)),
        headers: Vec::new(),
    });
    chunk.records = records.collect();
    Ok(chunk)
}

/// Passes on what is generated in chunks until the receiver is gone.
pub async fn generate(
    mut records: Box<dyn Iterator<Item = Raw> + Send>,
    rows: usize,
    sender: mpsc::Sender<Chunk>,
) {
    let path: Arc<str> = "generated".into();
    let mut next = 0;
    loop {
        let mut chunk = Chunk::new(Arc::clone(&path), false);
        let outgoing = records
            .by_ref()
            .take(rows)
            .map(|Raw { key, payload: value, .. }| Outgoing { key, value, headers: Vec::new() });
        chunk.records = outgoing.collect();
        if chunk.records.is_empty() {
            return;
        }
        chunk.rows =
            (next..).take(chunk.records.len()).map(|row| SourceRow { row, raw: None }).collect();
        next += i64::try_from(chunk.records.len()).unwrap_or(i64::MAX);
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
}

/// Returns the range of what is appended.
fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(more);
    start..bytes.len()
}
