//! One batch of framed records.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;
use serde_json::{Value, json};
use tally_ports::dead_letter::PAYLOAD_LIMIT;

use crate::form::Form;
use crate::framing::{Flaw, Frame, Framing, holds_rows};
use crate::window::Window;
use tally_ports::Content;

/// The bytes that a batch holds at most; it has one record in any case.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// The start of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineStart {
    /// Where it is in the file's text.
    pub byte: u64,
    /// Which physical line it is, from 1.
    pub line: u64,
}

impl LineStart {
    /// As it is stored; with how many bytes of the file were passed, where its text is a stream.
    pub fn to_cursor(self, passed: Option<u64>) -> Value {
        let mut cursor = json!({ "byte": self.byte, "line": self.line });
        if let Some(passed) = passed {
            cursor["passed"] = passed.into();
        }
        cursor
    }

    /// `None` when `cursor` is none.
    pub fn from_cursor(cursor: &Value) -> Option<Self> {
        let place =
            Self { byte: cursor.get("byte")?.as_u64()?, line: cursor.get("line")?.as_u64()? };
        (place.line > 0).then_some(place)
    }
}

/// The records of a batch.
#[derive(Debug)]
pub struct Frames {
    /// All their bytes.
    pub bytes: Bytes,
    /// Each of them.
    pub rows: Vec<Row>,
    /// How many blank rows were passed.
    pub blank: u64,
    /// Where the next one is looked for.
    pub end: LineStart,
    /// How many bytes of the file were passed, where its text is a stream.
    pub passed: Option<u64>,
    /// Whether the text is known to end behind them.
    pub is_last: bool,
    /// The line of the first record with a field that holds what look like rows.
    pub swallowing: Option<u64>,
}

/// A record or a line that is none.
#[derive(Debug)]
pub struct Row {
    /// Its bytes within the batch's, without the line end.
    pub range: Range<usize>,
    /// The physical line where it starts.
    pub line: u64,
    /// How many fields it has, or why it is none.
    pub fields: Result<usize, Flaw>,
    /// Whether the line is longer than its range.
    pub truncated: bool,
}

/// Finds records in the text of an open file.
pub struct Reader {
    framing: Framing,
    window: Window,
}

impl Reader {
    /// Of a file that had so many bytes when it was opened; nothing behind them is read.
    pub fn new(framing: Framing, file: &Arc<dyn Content>, form: Form) -> Self {
        Self { framing, window: Window::new(file, form) }
    }

    /// Reads on towards `byte`, but no more than `most` bytes of the text. Whether it is there.
    pub fn approach(&mut self, byte: u64, most: u64) -> io::Result<bool> {
        self.window.approach(byte, most)
    }

    /// Up to `limit` records from `start` on; none at the end of the file. Where it cannot be read on, the records before
    /// that come first. Leaves nothing behind that the next call depends on: after an error the same call may be made
    /// again.
    pub fn read(&mut self, start: LineStart, limit: usize) -> io::Result<Frames> {
        let mut rows: Vec<Row> = Vec::new();
        let mut blank = 0;
        let mut swallowing = None;
        let mut place = start;
        // Of the batch's bytes.
        let mut first = start.byte;
        let mut end = first;
        // The end of a record whose line goes on behind it.
        let mut cut = None;
        while rows.len() < limit && cut.is_none() {
            self.window.seek(place.byte)?;
            let whole = self.window.is_at_end();
            let bytes = self.window.from(place.byte);
            if whole && bytes.is_empty() {
                break;
            }
            let (len, next, lines, fields) = match self.framing.frame(bytes, whole) {
                Frame::More => match self.window.grow(first) {
                    Ok(()) => continue,
                    Err(_) if !rows.is_empty() => break,
                    Err(error) => return Err(error),
                },
                Frame::Blank { next } => {
                    place = LineStart { byte: place.byte + next as u64, line: place.line + 1 };
                    blank += 1;
                    if rows.is_empty() {
                        first = place.byte;
                        end = first;
                    }
                    if place.byte - first > BATCH_BYTES {
                        break;
                    }
                    continue;
                }
                Frame::Record { len, next, lines, fields } => {
                    if lines > 2 && swallowing.is_none() && holds_rows(&bytes[..len], self.framing)
                    {
                        swallowing = Some(place.line);
                    }
                    (len, Some(next), lines, Ok(fields))
                }
                Frame::Bad { flaw, line: Some((len, next)) } => (len, Some(next), 1, Err(flaw)),
                Frame::Bad { flaw, line: None } => (PAYLOAD_LIMIT, None, 1, Err(flaw)),
            };
            let row_end = place.byte + len as u64;
            if row_end - first > BATCH_BYTES && !rows.is_empty() {
                break;
            }
            let range = within(first, place.byte)..within(first, row_end);
            rows.push(Row { range, line: place.line, fields, truncated: next.is_none() });
            end = row_end;
            match next {
                Some(next) => place.byte += next as u64,
                None => cut = Some(row_end),
            }
            place.line += lines;
        }
        let held = within(first, end);
        let bytes = Bytes::copy_from_slice(&self.window.from(first)[..held]);
        if let Some(end) = cut {
            place.byte = self.after_line(end)?;
        }
        let (passed, is_last) = (self.window.passed(), self.window.ends_at(place.byte));
        Ok(Frames { bytes, rows, blank, end: place, passed, is_last, swallowing })
    }

    /// The start of the next line, looking from `byte` on; forgets what is before that.
    fn after_line(&mut self, mut byte: u64) -> io::Result<u64> {
        loop {
            if let Some(newline) = memchr(b'\n', self.window.from(byte)) {
                return Ok(byte + newline as u64 + 1);
            }
            byte = self.window.end();
            if self.window.is_at_end() {
                return Ok(byte);
            }
            self.window.grow(byte)?;
        }
    }
}

/// The distance between two places of one window.
#[expect(clippy::cast_possible_truncation, reason = "both are in memory")]
const fn within(first: u64, byte: u64) -> usize {
    (byte - first) as usize
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::content::OpenFile;
    use crate::framing::Width;

    const MIB: usize = 1024 * 1024;

    fn reader(content: &[u8]) -> Reader {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        of(OpenFile::new(file).unwrap())
    }

    fn of(content: impl Content) -> Reader {
        let framing = Framing { delimiter: b';', width: Some(Width::of_header(2, false)) };
        Reader::new(framing, &(Arc::new(content) as Arc<dyn Content>), Form::default())
    }

    /// Reads all batches; of each the number of rows and of bytes.
    fn batches(content: &[u8], limit: usize) -> Vec<(usize, usize)> {
        let mut reader = reader(content);
        let mut place = LineStart { byte: 0, line: 1 };
        let mut found = Vec::new();
        loop {
            let frames = reader.read(place, limit).unwrap();
            assert!(frames.bytes.len() <= 4 * MIB, "{} bytes", frames.bytes.len());
            assert!(reader.window.capacity() <= 6 * MIB, "{} bytes", reader.window.capacity());
            place = frames.end;
            if frames.rows.is_empty() {
                assert_eq!(place.byte, content.len() as u64);
                let lines = memchr::memchr_iter(b'\n', content).count() + 1;
                let is_last_line = usize::from(!content.is_empty() && !content.ends_with(b"\n"));
                assert_eq!(place.line, (lines + is_last_line) as u64);
                return found;
            }
            found.push((frames.rows.len(), frames.bytes.len()));
        }
    }

    fn rows_of(content: &[u8]) -> usize {
        batches(content, 1000).iter().map(|(rows, _)| rows).sum()
    }

    #[test]
    fn a_batch_closes_at_its_limit() {
        assert_eq!(batches(b"a;b\nc;d\n\n\ne;f", 2), [(2, 7), (1, 3)]);
        assert_eq!(batches(b"\n\n\r\na;b\n\nc;d\n\n", 2), [(2, 8)]);
        assert_eq!(batches(b"\n\n", 2), []);
        assert_eq!(batches(b"", 2), []);
    }

    #[test]
    fn a_batch_closes_at_4_mib() {
        let row = format!("a;{}\n", "x".repeat(MIB - 3));
        assert_eq!(
            batches(row.repeat(9).as_bytes(), 100),
            [(4, 4 * MIB - 1), (4, 4 * MIB - 1), (1, MIB - 1)]
        );
        let rows = "a;b\n".repeat(3 * MIB);
        let found: Vec<usize> =
            batches(rows.as_bytes(), usize::MAX).iter().map(|(rows, _)| *rows).collect();
        assert_eq!(found, [MIB, MIB, MIB]);
    }

    #[test]
    fn blank_lines_take_no_memory() {
        let content = [b"a;b\n".as_slice(), &vec![b'\n'; 9 * MIB], b"c;d\n"].concat();
        assert_eq!(batches(&content, 9), [(1, 3), (1, 3)]);
    }

    #[test]
    fn a_line_without_end_takes_1_mib() {
        let content = [b"a;b\n\"c;".as_slice(), &vec![b'x'; 30 * MIB], b"\ne;f\n"].concat();
        assert_eq!(batches(&content, 9), [(2, MIB + 4), (1, 3)]);
        let content = vec![b'x'; 3 * MIB];
        assert_eq!(batches(&content, 9), [(1, MIB)]);
    }

    #[test]
    fn an_unclosed_quote_costs_one_line_of_a_large_file() {
        let rows = "an ordinary row;with two fields\n".repeat(200_000);
        assert_eq!(rows_of(format!("a;\"b\n{rows}").as_bytes()), 200_001);
        assert_eq!(rows_of(format!("a;\"b\n{rows}c;\"d\n{rows}").as_bytes()), 400_002);
    }

    #[test]
    fn lines_that_all_open_quotes_take_linear_time() {
        let patterns: [&str; 6] = [
            "a field of some length;\"another field of some length\n",
            "a field of some length\";\"another field of some length\n",
            "a field of some length\"\"\";\"\"\"another field of some length\n",
            "\"\"\"a field of some length\n\"\";\"\n",
            "\"a field of some length; another field of some length\"\"\n",
            "\";\" a field of some length, another field of some length\n",
        ];
        for pattern in patterns {
            let content = pattern.repeat(20 * MIB / pattern.len());
            let started = Instant::now();
            let rows = rows_of(content.as_bytes());
            assert!(rows > 0);
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{pattern:?}: {:?}",
                started.elapsed()
            );
        }
    }

    #[test]
    fn a_file_that_ends_too_early_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[b'x'; 100]).unwrap();
        let open = OpenFile::new(file.try_clone().unwrap()).unwrap();
        file.set_len(8).unwrap();
        let mut reader = of(open);
        let error = reader.read(LineStart { byte: 0, line: 1 }, 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
