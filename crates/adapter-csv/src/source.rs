//! A file's rows in batches.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use csv_async::ByteRecord;
use metrics::counter;
use tally_domain::Flow;
use tally_ports::dead_letter::TRUNCATED;
use tally_ports::{Batch, Fault, Headers, Item, Raw, Source, metric};
use tokio::task::yield_now;

use crate::blocking::blocking;
use crate::file::Table;
use crate::reader::{Frames, Place, Reader};
use crate::split::Feed;

/// After as many records the runtime may do something else.
const RECORDS_PER_TURN: usize = 512;

/// A file's rows in batches, from a position on. Made by [`CsvFile::read_from`](crate::CsvFile::read_from).
pub struct CsvSource<F> {
    table: Arc<Table>,
    /// The next row.
    next: i64,
    /// Where it is looked for.
    place: Place,
    /// Away while it reads, or when the future that waited for it was dropped.
    reader: Option<Reader>,
    flow: PhantomData<fn() -> F>,
}

impl<F: Flow> Source<F> for CsvSource<F> {
    /// Dropping the future loses nothing: the same batch is read again.
    ///
    /// Before every batch, and at the end, the file's size and modification time are compared with those at the
    /// start, so that only the first row named by the fault and those after it may be of a file that changed.
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch<F::Wire>>, Fault> {
        let frames = self.frame(limit.max(1)).await?;
        let count = i64::try_from(frames.rows.len()).unwrap_or(i64::MAX);
        let first = self.next;
        let items = split::<F>(&self.table, &frames, first).await?;
        self.table.blank_rows.fetch_add(frames.blank, Ordering::Relaxed);
        if count == 0 {
            self.place = frames.end;
            return Ok(None);
        }

        self.next += count;
        self.place = frames.end;
        counter!(metric::CSV_CHUNKS).increment(1);
        counter!(metric::CSV_ROWS_READ).increment(items.len() as u64);
        Ok(Some(Batch {
            first,
            last: self.next - 1,
            items,
            notation: self.table.amounts.notation(),
            cursor: frames.end.to_cursor(),
            gap: None,
        }))
    }
}

impl<F: Flow> CsvSource<F> {
    pub(crate) fn new(table: Arc<Table>, next: i64, place: Place) -> Self {
        Self { table, next, place, reader: None, flow: PhantomData }
    }

    /// Reads and frames up to `limit` records, and makes sure that the file did not change until then.
    async fn frame(&mut self, limit: usize) -> Result<Frames, Fault> {
        let table = Arc::clone(&self.table);
        let mut reader = self
            .reader
            .take()
            .unwrap_or_else(|| Reader::new(table.layout.framing, table.stamp.size));
        let (next, place) = (self.next, self.place);
        let (reader, frames) = blocking(move || {
            let extent =
                || format!("row {next} (line {}) and later ones were not used", place.line);
            let frames = match reader.read(&table.file, place, limit) {
                Ok(frames) => table.unchanged(&extent()).map(|()| frames),
                Err(error) => Err(table.unreadable(&error, place.byte, &extent())),
            };
            (reader, frames)
        })
        .await;
        self.reader = Some(reader);
        frames
    }
}

impl<F> fmt::Debug for CsvSource<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvSource")
            .field("next", &self.next)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Splits framed records into fields and those into the flow's wire.
async fn split<F: Flow>(
    table: &Table,
    frames: &Frames,
    first: i64,
) -> Result<Vec<Item<F::Wire>>, Fault> {
    let layout = &table.layout;
    let whole_rows = || frames.rows.iter().filter(|row| row.fields.is_ok());
    let mut feed = Feed::with_capacity(whole_rows().map(|row| row.range.len() + 1).sum());
    for row in whole_rows() {
        feed.push(&frames.bytes[row.range.clone()]);
    }

    let mut splitter = feed.split(layout.framing.delimiter);
    let mut fields = ByteRecord::new();
    let mut items = Vec::with_capacity(frames.rows.len());
    for (position, row) in (first..).zip(&frames.rows) {
        if items.len() % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
            yield_now().await;
        }
        let payload = frames.bytes.slice(row.range.clone());
        let mut key = None;
        let content = match row.fields {
            Err(flaw) => Err(layout.refusal(flaw).at_line(row.line)),
            Ok(count) => {
                splitter.next(&mut fields, row.range.len(), count).await?;
                let (given_back, wire) = layout.wire::<F>(fields);
                fields = given_back;
                key = layout.id(&fields).map(|id| part(&payload, id));
                wire.map_err(|refusal| refusal.at_line(row.line))
            }
        };
        let headers =
            if row.truncated { truncated(&table.headers) } else { Arc::clone(&table.headers) };
        let raw = Raw { key, payload: Some(payload), headers, line: Some(row.line) };
        items.push(Item { position, raw, content });
    }
    Ok(items)
}

/// `text` as a part of `payload` where it is its start, as ids mostly are, else a copy.
fn part(payload: &Bytes, text: &[u8]) -> Bytes {
    if payload.starts_with(text) {
        payload.slice(..text.len())
    } else {
        Bytes::copy_from_slice(text)
    }
}

fn truncated(headers: &Headers) -> Headers {
    let flag = (TRUNCATED.to_owned(), Bytes::from_static(b"true"));
    headers.iter().cloned().chain([flag]).collect()
}
