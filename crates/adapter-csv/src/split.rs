//! csv-async, fed only with records that are known to be whole.

use csv_async::{AsyncReader, AsyncReaderBuilder, ByteRecord, Terminator};
use tally_ports::{Fault, StopKind};

/// More than the default, for fewer turns.
const BUFFER: usize = 64 * 1024;

/// Records one after the other, as csv-async shall see them.
#[derive(Debug)]
pub struct Feed {
    bytes: Vec<u8>,
}

impl Feed {
    /// With room for as many bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 1);
        // csv-async would swallow a byte order mark at the start of the first record; it skips a blank line.
        bytes.push(b'\n');
        Self { bytes }
    }

    /// Adds a record, given without its line end.
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.bytes.push(b'\n');
    }

    /// Splits the records into fields.
    pub fn split(&self, delimiter: u8) -> Splitter<'_> {
        let reader = AsyncReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER)
            .create_reader(self.bytes.as_slice());
        Splitter { reader, end: 1 }
    }
}

/// Records split into fields.
#[derive(Debug)]
pub struct Splitter<'a> {
    reader: AsyncReader<&'a [u8]>,
    /// Where in the feed the last record ended.
    end: u64,
}

impl Splitter<'_> {
    /// The next record, which has `len` bytes and `fields` fields. Fails when csv-async sees it otherwise: then
    /// framing has an error, and going on would mix up records.
    pub async fn next(
        &mut self,
        record: &mut ByteRecord,
        len: usize,
        fields: usize,
    ) -> Result<(), Fault> {
        let read = self.reader.read_byte_record(record).await;
        self.end += len as u64 + 1;
        let agreed = matches!(read, Ok(true))
            && self.reader.position().byte() == self.end
            && record.len() == fields;
        if agreed {
            Ok(())
        } else {
            Err(Fault::stop(
                StopKind::Data,
                "csv-async splits a record otherwise than it was framed: a program error",
            ))
        }
    }
}
