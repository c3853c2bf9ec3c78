//! An open file whose header was found to be good.

use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use encoding_rs::UTF_8;
use serde_json::Value;
use tally_domain::Column;
use tally_ports::{Fault, Headers, Stop, StopKind};

use crate::blocking::blocking;
use tally_ports::Content;

use crate::content::read_at;
use crate::decimal::Amounts;
use crate::form::Form;
use crate::header::names::Names;
use crate::header::{Header, Search};
use crate::layout::Layout;
use crate::open::{Opened, in_words, look, open};
use crate::reader::{LineStart, Reader};
use crate::timestamps::Formats;
use crate::{CsvSource, Settings, dead_letter, encoding};

/// How much is hashed before the caller may have been dropped.
const HASH_SLICE: u64 = 64 * 1024 * 1024;
/// How much is hashed at once.
const HASH_CHUNK: usize = 512 * 1024;

/// An open file with a flow's columns.
pub struct CsvFile {
    table: Arc<Table>,
    unknown_columns: Vec<String>,
    respelt: Vec<(String, String)>,
}

/// What all readers of a file share.
pub struct Table {
    pub path: PathBuf,
    pub file: Arc<dyn Content>,
    pub form: Form,
    pub layout: Layout,
    pub amounts: Amounts,
    /// What travels with each dead letter.
    pub headers: Headers,
    /// The header line with its end.
    pub header_line: Bytes,
    /// Where rows start.
    pub rows: LineStart,
    /// How many blank ones all readers passed.
    pub blank_rows: AtomicU64,
    /// The line of the first record that any reader found to hold what look like rows.
    pub swallowing: OnceLock<u64>,
    /// Once it is known.
    pub fingerprint: OnceLock<String>,
}

impl CsvFile {
    /// Opens a file and looks for a flow's `columns` in its header.
    ///
    /// Fails with [`StopKind::Input`] when it is missing, a folder, a pipe, unreadable, empty, a workbook or packed other than
    /// with gzip or zstd, no text, or its header does not have each of the columns once; with [`StopKind::Setting`] when a
    /// setting is wrong.
    pub async fn open(
        path: impl Into<PathBuf>,
        settings: &Settings,
        columns: &[Column],
    ) -> Result<Self, Stop> {
        let path = path.into();
        let to_open = path.clone();
        let opened = blocking(move || open(&to_open)).await;
        let content = opened.map_err(|message| Stop { kind: StopKind::Input, message })?;
        Self::of(path, content, settings, columns).await
    }

    /// The same of a file's `content`, which is called `path`.
    pub async fn of(
        path: impl Into<PathBuf>,
        content: Arc<dyn Content>,
        settings: &Settings,
        columns: &[Column],
    ) -> Result<Self, Stop> {
        let path = path.into();
        let encoding = encoding::by_label(&settings.encoding)?;
        let wrong = |message| Stop { kind: StopKind::Setting, message };
        let formats = Formats::new(&settings.timestamp_formats).map_err(wrong)?;
        let names = Names { columns, mapped: &settings.columns };
        names.check().map_err(wrong)?;
        let of_input = |message| Stop { kind: StopKind::Input, message };
        let shown = path.display().to_string();
        let looked = blocking(move || look(content, &shown)).await.map_err(of_input)?;
        let Opened { file, form, head } = looked;
        let of_file = |problem| of_input(format!("{} {problem}", path.display()));
        let encoding = match form.wide {
            None => encoding,
            Some(_) if encoding == UTF_8 => encoding,
            Some(wide) => {
                let (wide, set) = (wide.name(), encoding.name());
                return Err(of_file(format!(
                    "starts with the byte order mark of {wide}, but csv.encoding is {set}: set it to utf-8, as it becomes"
                )));
            }
        };
        let search = Search { encoding, names, skip_lines: settings.skip_lines, delimiter: None };
        let mut header = Header::find(&head.bytes, head.whole, search).await.map_err(of_file)?;

        let unknown_columns = mem::take(&mut header.unknown);
        let respelt = mem::take(&mut header.respelt);
        let rows_start = usize::try_from(header.rows.byte)
            .map_or(head.bytes.len(), |byte| byte.min(head.bytes.len()));
        let rows = &head.bytes[rows_start..];
        let amounts = Amounts::find(settings.decimal, rows, head.whole, &header, encoding)
            .await
            .map_err(Fault::into_stop)?;
        let written_in = form.wide.unwrap_or(encoding);
        let table = Table {
            path,
            file,
            form,
            headers: dead_letter::headers(
                &head.bytes,
                &header,
                encoding,
                amounts.notation(),
                settings,
            ),
            header_line: Bytes::copy_from_slice(&head.bytes[header.range.start..rows_start]),
            rows: header.rows,
            layout: Layout::new(header, encoding, written_in, columns, formats),
            amounts,
            blank_rows: AtomicU64::new(0),
            swallowing: OnceLock::new(),
            fingerprint: OnceLock::new(),
        };
        Ok(Self { table: Arc::new(table), unknown_columns, respelt })
    }

    /// The BLAKE3 of all bytes, in hexadecimal, read through the open file the first time that it is asked for. Fails with [`StopKind::Data`] when the
    /// file changed since it was opened.
    pub async fn fingerprint(&self) -> Result<String, Fault> {
        let mut hasher = blake3::Hasher::new();
        let is_known = self.table.fingerprint.get().is_some();
        let (mut byte, size) = (if is_known { self.size() } else { 0 }, self.size());
        while byte < size {
            let end = size.min(byte + HASH_SLICE);
            let table = Arc::clone(&self.table);
            hasher = blocking(move || table.hash(hasher, byte, end)).await?;
            byte = end;
        }
        let table = Arc::clone(&self.table);
        blocking(move || table.unchanged("nothing of it was used yet")).await?;
        let fingerprint = || hasher.finalize().to_hex().to_string();
        Ok(self.table.fingerprint.get_or_init(fingerprint).clone())
    }

    /// Its rows from row `next` on, which starts at `cursor`; null stands for the first row. Fails with
    /// [`StopKind::Data`] when the cursor is none, or not at the start of a line.
    pub async fn read_from(&self, next: i64, cursor: &Value) -> Result<CsvSource, Stop> {
        let table = Arc::clone(&self.table);
        let bad = |problem| {
            let message =
                format!("{}: the cursor stored for row {next} {problem}", table.path.display());
            Stop { kind: StopKind::Data, message }
        };
        if cursor.is_null() && next == 0 {
            return Ok(CsvSource::new(Arc::clone(&table), 0, table.rows));
        }
        let place =
            LineStart::from_cursor(cursor).filter(|_| next >= 0).ok_or_else(|| bad("is none"))?;
        let ends = if table.form.is_plain() { table.file.size() } else { u64::MAX };
        if place.byte < table.rows.byte || place.byte > ends {
            return Err(bad("lies outside its rows"));
        }
        let to_look = Arc::clone(&table);
        if table.form.is_plain() && !blocking(move || to_look.line_starts_at(place.byte)).await {
            return Err(bad("is not at the start of a line"));
        }
        Ok(CsvSource::new(Arc::clone(&table), next, place))
    }

    /// Its size in bytes when it was opened: the place where a cursor ends up.
    pub fn size(&self) -> u64 {
        self.table.file.size()
    }

    /// How its amounts are read, and what shows it.
    pub fn amounts(&self) -> &Amounts {
        &self.table.amounts
    }

    /// How many blank rows its sources have passed so far.
    pub fn blank_rows(&self) -> u64 {
        self.table.blank_rows.load(Ordering::Relaxed)
    }

    /// The header line as it is in the file, with its end if it has one.
    pub fn header_line(&self) -> &[u8] {
        &self.table.header_line
    }

    /// Whether rows of `other` could stand among its own: both have the same header line and decimal separator.
    pub fn is_like(&self, other: &Self) -> bool {
        self.table.headers == other.table.headers
    }

    /// The columns that the flow does not know, which are ignored.
    pub fn unknown_columns(&self) -> &[String] {
        &self.unknown_columns
    }

    /// Names in the header that differ from those of their columns in case or in blanks around them, and these.
    pub fn respelt(&self) -> &[(String, String)] {
        &self.respelt
    }

    /// The line of the first record read so far with a quoted field that holds what look like rows of the file.
    pub fn swallowing_line(&self) -> Option<u64> {
        self.table.swallowing.get().copied()
    }
}

impl fmt::Debug for CsvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvFile").field("path", &self.table.path).finish_non_exhaustive()
    }
}

/// How many bytes of the file lie before `cursor`; `None` when it is no cursor of a file, null for example.
pub fn byte_of(cursor: &Value) -> Option<u64> {
    let place = LineStart::from_cursor(cursor)?;
    Some(cursor.get("passed").and_then(Value::as_u64).unwrap_or(place.byte))
}

impl Table {
    pub fn reader(&self) -> Reader {
        Reader::new(self.layout.framing, &self.file, self.form)
    }

    fn hash(
        &self,
        mut hasher: blake3::Hasher,
        mut byte: u64,
        end: u64,
    ) -> Result<blake3::Hasher, Fault> {
        let mut chunk = vec![0; HASH_CHUNK];
        while byte < end {
            let wanted = usize::try_from(end - byte).unwrap_or(usize::MAX).min(HASH_CHUNK);
            let read = read_at(&*self.file, &mut chunk[..wanted], byte)
                .map_err(|error| self.unreadable(&error, byte, "nothing of it was used yet"))?;
            hasher.update(&chunk[..read]);
            byte += read as u64;
        }
        Ok(hasher)
    }

    /// Fails when the file is no longer what it was when it was opened; `extent` says what was read of it.
    pub fn unchanged(&self, extent: &str) -> Result<(), Fault> {
        let path = self.path.display();
        match self.file.change() {
            Ok(None) => Ok(()),
            Ok(Some(change)) => {
                let message = format!(
                    "{path} changed while it was read: {change}; {extent}; start again once it is complete"
                );
                Err(Fault::stop(StopKind::Data, message))
            }
            Err(error) => Err(Fault::stop(
                StopKind::Input,
                format!("cannot look at {path}: {}; {extent}", in_words(&error)),
            )),
        }
    }

    /// The fault of an error when reading from `byte` on.
    pub fn unreadable(&self, error: &std::io::Error, byte: u64, extent: &str) -> Fault {
        if let Err(changed) = self.unchanged(extent) {
            return changed;
        }
        let (path, size) = (self.path.display(), self.file.size());
        if self.form.packing.is_some() && error.raw_os_error().is_none() {
            let problem = self.form.problem(error);
            let message = format!("{path}: {problem}; {extent}; get the file once more");
            return Fault::stop(StopKind::Data, message);
        }
        let message =
            format!("cannot read bytes {byte} to {size} of {path}: {}; {extent}", in_words(error));
        Fault::stop(StopKind::Input, message)
    }

    fn line_starts_at(&self, byte: u64) -> bool {
        if byte == self.rows.byte || byte == self.file.size() {
            return true;
        }
        let mut before = [0];
        read_at(&*self.file, &mut before, byte - 1).is_ok() && before == *b"\n"
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tally_domain::Flow;
    use tally_domain::transactions::Transactions;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/transactions_fr.csv");
        let flow = Transactions::default();
        let file = CsvFile::open(&sample, &Settings::default(), flow.columns()).await.unwrap();
        let error = std::io::Error::from_raw_os_error(5);
        let fault =
            file.table.unreadable(&error, 62, "row 0 (line 2) and later ones were not used");
        let (path, size) = (sample.display(), file.size());
        let message = format!(
            "cannot read bytes 62 to {size} of {path}: Input/output error (os error 5); \
             row 0 (line 2) and later ones were not used"
        );
        assert_eq!(fault, Fault::stop(StopKind::Input, message));
    }
}
