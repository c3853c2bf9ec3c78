//! A file's rows in batches.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use csv_async::ByteRecord;
use metrics::counter;
use tally_ports::dead_letter::TRUNCATED;
use tally_ports::{Batch, Fault, Headers, Item, Passed, Raw, Source, metric};
use tokio::task::yield_now;

use crate::blocking::blocking;
use crate::file::Table;
use crate::reader::{Frames, LineStart, Reader};
use crate::split::Feed;

/// How much of a stream's text is passed, on the way to a row, before the caller may have been dropped.
const APPROACH: u64 = 64 * 1024 * 1024;

/// After as many records the runtime may do something else.
const RECORDS_PER_TURN: usize = 512;

/// A file's rows in batches, from a position on. Made by [`CsvFile::read_from`](crate::CsvFile::read_from).
pub struct CsvSource {
    table: Arc<Table>,
    /// The next row.
    next: i64,
    /// Where it is looked for.
    place: LineStart,
    /// Away while it reads, or when the future that waited for it was dropped.
    reader: Option<Reader>,
}

impl Source for CsvSource {
    /// Dropping the future loses nothing: the same batch is read again.
    ///
    /// Before every batch, and at the end, the file's size and modification time are compared with those at the
    /// start, so that only the first row named by the fault and those after it may be of a file that changed.
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch>, Fault> {
        let frames = self.frame(limit.max(1)).await?;
        let count = i64::try_from(frames.rows.len()).unwrap_or(i64::MAX);
        let first = self.next;
        let items = split(&self.table, &frames, first).await?;
        self.table.blank_rows.fetch_add(frames.blank, Ordering::Relaxed);
        if let Some(line) = frames.swallowing {
            self.table.swallowing.get_or_init(|| line);
        }
        if count == 0 {
            self.place = frames.end;
            return Ok(None);
        }

        self.next += count;
        self.place = frames.end;
        counter!(metric::CSV_CHUNKS).increment(1);
        Ok(Some(Batch {
            first,
            last: self.next - 1,
            items,
            notation: self.table.amounts.notation(),
            cursor: frames.end.to_cursor(frames.passed),
            passed: Passed::default(),
            is_last: frames.is_last,
        }))
    }
}

impl CsvSource {
    pub(crate) fn new(table: Arc<Table>, next: i64, place: LineStart) -> Self {
        Self { table, next, place, reader: None }
    }

    /// Reads and frames up to `limit` records, and makes sure that the file did not change until then.
    async fn frame(&mut self, limit: usize) -> Result<Frames, Fault> {
        let (next, place) = (self.next, self.place);
        loop {
            let table = Arc::clone(&self.table);
            let mut reader = self.reader.take().unwrap_or_else(|| table.reader());
            let (reader, frames) = blocking(move || {
                let extent =
                    || format!("row {next} (line {}) and later ones were not used", place.line);
                let read = reader
                    .approach(place.byte, APPROACH)
                    .and_then(|is_there| is_there.then(|| reader.read(place, limit)).transpose());
                let frames = match read {
                    Ok(frames) => table.unchanged(&extent()).map(|()| frames),
                    Err(error) => Err(table.unreadable(&error, place.byte, &extent())),
                };
                (reader, frames)
            })
            .await;
            self.reader = Some(reader);
            if let Some(frames) = frames? {
                return Ok(frames);
            }
        }
    }
}

impl fmt::Debug for CsvSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvSource")
            .field("next", &self.next)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Splits framed records into fields.
async fn split(table: &Table, frames: &Frames, first: i64) -> Result<Vec<Item>, Fault> {
    let layout = &table.layout;
    let whole_rows = || frames.rows.iter().filter(|row| row.fields.is_ok());
    let mut feed = Feed::with_capacity(whole_rows().map(|row| row.range.len() + 1).sum());
    for row in whole_rows() {
        feed.push(&frames.bytes[row.range.clone()]);
    }

    let mut splitter = feed.split(layout.framing.delimiter);
    let mut record = ByteRecord::new();
    let mut items = Vec::with_capacity(frames.rows.len());
    for (position, row) in (first..).zip(&frames.rows) {
        if items.len() % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
            yield_now().await;
        }
        let payload = frames.bytes.slice(row.range.clone());
        let (key, content) = match row.fields {
            Err(flaw) => (None, Err(layout.refusal(flaw))),
            Ok(count) => {
                splitter.next(&mut record, row.range.len(), count).await?;
                let content = layout.fields(&payload, &record);
                (layout.key(&content, &record), content)
            }
        };
        let content = content.map_err(|refusal| refusal.at_line(row.line));
        let headers =
            if row.truncated { truncated(&table.headers) } else { Arc::clone(&table.headers) };
        let raw =
            Raw { key, payload: Some(payload), headers, timestamp: None, line: Some(row.line) };
        items.push(Item { position, raw, content });
    }
    Ok(items)
}

fn truncated(headers: &Headers) -> Headers {
    let flag = (TRUNCATED.to_owned(), Some(Bytes::from_static(b"true")));
    headers.iter().cloned().chain([flag]).collect()
}
