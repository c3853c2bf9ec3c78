//! Where records end, in the raw bytes.

use memchr::{memchr, memchr_iter, memchr2};
use tally_ports::dead_letter::PAYLOAD_LIMIT;

/// A record and its line end fit into as many bytes.
const SCAN_LIMIT: usize = PAYLOAD_LIMIT + 2;

/// What stands at the start of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing before the line's end, or fields without anything but spaces and tabs in them.
    Blank {
        /// Where the next line starts.
        next: usize,
    },
    /// A record.
    Record {
        /// Its length without the line end.
        len: usize,
        /// Where the next one starts.
        next: usize,
        /// How many fields it has.
        fields: usize,
        /// How many physical lines it takes.
        lines: u64,
    },
    /// A line that is no record and does not begin one.
    Bad {
        flaw: Flaw,
        /// The physical line's length without its end, and where the next one starts; `None` when it is longer than
        /// a record may be.
        line: Option<(usize, usize)>,
    },
    /// More bytes are needed to tell.
    More,
}

/// Why a line is no record and does not begin one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has so many fields, not as many as the header has columns.
    Fields(usize),
    /// It takes several lines and has more fields than it may have, who knows how many.
    TooManyFields,
    /// A closing quote is followed by something else than a delimiter or a line end.
    AfterQuote,
    /// A quote is open at the end of the file.
    OpenQuote,
    /// It is longer than a record may be.
    TooLong,
}

/// What rows look like.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// Between fields.
    pub delimiter: u8,
    /// How many fields a record has; `None` for the header: it has any number, and is never blank.
    pub width: Option<Width>,
}

/// How many fields a record has: one for each column, and perhaps one more behind them that is no column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// How many the header names.
    columns: usize,
    /// Whether the header has an empty field behind them; then a record may have anything there.
    has_surplus: bool,
}

impl Width {
    /// That of a header with so many fields.
    pub const fn of_header(fields: usize, is_last_empty: bool) -> Self {
        let columns = if is_last_empty { fields - 1 } else { fields };
        Self { columns, has_surplus: is_last_empty }
    }

    /// How many columns there are.
    pub const fn columns(self) -> usize {
        self.columns
    }

    /// Whether a record may have so many fields.
    pub const fn admits(self, fields: usize, is_last_empty: bool) -> bool {
        fields == self.columns || fields == self.columns + 1 && (self.has_surplus || is_last_empty)
    }
}

/// How the scan of a record ended.
enum Scan {
    Record {
        len: usize,
        next: usize,
        fields: usize,
        newlines: usize,
        is_last_empty: bool,
    },
    Flaw(Flaw),
    /// At the end of the bytes.
    Out {
        open_quote: bool,
    },
}

impl Framing {
    /// What stands at the start of `bytes`, which is the start of a line; `whole`: the file ends where they do.
    ///
    /// Never scans further than a record may be long, nor, once a record takes several lines, past one field too
    /// many. That keeps the work linear in the file's size, although what a bad line was scanned for is scanned again:
    /// a quoted stretch ends with the first run of an odd number of quotes, and a line that opens a quote without
    /// closing it has such a run. So a stretch never goes over a line from which another one would start, and a byte
    /// is scanned at most once per column.
    pub fn frame(&self, bytes: &[u8], whole: bool) -> Frame {
        let whole = whole && bytes.len() <= SCAN_LIMIT;
        let bytes = &bytes[..bytes.len().min(SCAN_LIMIT)];
        let flaw = match self.scan(bytes, whole) {
            Scan::Record { len, .. } if len > PAYLOAD_LIMIT => Flaw::TooLong,
            Scan::Record { len: 0, next, .. } => return Frame::Blank { next },
            Scan::Record { len, next, fields, newlines, is_last_empty } => match self.width {
                Some(_) if is_blank(&bytes[..len], self.delimiter) => return Frame::Blank { next },
                Some(width) if !width.admits(fields, is_last_empty) => Flaw::Fields(fields),
                _ => return Frame::Record { len, next, fields, lines: newlines as u64 + 1 },
            },
            Scan::Flaw(flaw) => flaw,
            Scan::Out { .. } if bytes.len() == SCAN_LIMIT => Flaw::TooLong,
            Scan::Out { open_quote: true } if whole => Flaw::OpenQuote,
            Scan::Out { .. } => return Frame::More,
        };
        let line = match physical_line(bytes, whole) {
            Some((len, _)) if len > PAYLOAD_LIMIT => None,
            None if bytes.len() < SCAN_LIMIT => return Frame::More,
            line => line,
        };
        Frame::Bad { flaw, line }
    }

    fn scan(&self, bytes: &[u8], whole: bool) -> Scan {
        let mut at = 0;
        let mut fields = 1;
        let mut newlines = 0;
        loop {
            let start = at;
            if bytes.get(at) == Some(&b'"') {
                let Some(end) = after_closing_quote(bytes, at + 1) else {
                    return Scan::Out { open_quote: true };
                };
                newlines += memchr_iter(b'\n', &bytes[at..end]).count();
                let is_empty = end == at + 2;
                let is_too_many =
                    |width: Width| fields > width.columns && !width.admits(fields, is_empty);
                if newlines > 0 && self.width.is_some_and(is_too_many) {
                    return Scan::Flaw(Flaw::TooManyFields);
                }
                at = end;
            } else {
                match memchr2(self.delimiter, b'\n', &bytes[at..]) {
                    Some(len) => at += len,
                    None => at = bytes.len(),
                }
                // Back to the line end of two bytes that this field may share.
                if at > 0 && bytes[at - 1] == b'\r' && bytes.get(at) != Some(&self.delimiter) {
                    at -= 1;
                }
            }
            let record = |next| {
                let is_last_empty = matches!(&bytes[start..at], b"" | b"\"\"");
                Scan::Record { len: at, next, fields, newlines, is_last_empty }
            };
            match bytes[at..] {
                [byte, ..] if byte == self.delimiter => {
                    fields += 1;
                    at += 1;
                }
                [b'\n', ..] => return record(at + 1),
                [b'\r', b'\n', ..] => return record(at + 2),
                [] | [b'\r'] if whole => return record(bytes.len()),
                [] | [b'\r'] => return Scan::Out { open_quote: false },
                _ => return Scan::Flaw(Flaw::AfterQuote),
            }
        }
    }
}

/// Whether every field of a record holds nothing, or spaces and tabs only.
fn is_blank(record: &[u8], delimiter: u8) -> bool {
    // A field with a delimiter in it falls apart into parts with one quote, which is not blank.
    record.split(|&byte| byte == delimiter).all(|field| {
        let quoted = field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\""));
        quoted.unwrap_or(field).iter().all(|byte| matches!(byte, b' ' | b'\t'))
    })
}

/// Whether a line within a record of several lines looks like a row: inside of one quoted field, with as many fields as rows
/// have.
pub fn holds_rows(record: &[u8], Framing { delimiter, width }: Framing) -> bool {
    let mut lines = record.split(|&byte| byte == b'\n');
    lines.next();
    lines.next_back();
    lines.any(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A single quote closes the field. A pair of them may stand for one, or be an empty field of a row.
        let is_inside = line.chunk_by(|one, other| one == other);
        let is_inside = is_inside.filter(|run| run[0] == b'"').all(|run| run.len() % 2 == 0);
        let fields = memchr_iter(delimiter, line).count() + 1;
        let is_last_empty = line.last() == Some(&delimiter);
        is_inside && fields > 1 && width.is_some_and(|width| width.admits(fields, is_last_empty))
    })
}

/// The place after the quote that closes a field whose content starts at `at`.
fn after_closing_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let quote = at + memchr(b'"', &bytes[at..])?;
        if bytes.get(quote + 1) != Some(&b'"') {
            return Some(quote + 1);
        }
        at = quote + 2;
    }
}

/// The first line's length without its end, and where the next one starts.
pub fn physical_line(bytes: &[u8], whole: bool) -> Option<(usize, usize)> {
    let (end, next) = match memchr(b'\n', bytes) {
        Some(newline) => (newline, newline + 1),
        None if whole => (bytes.len(), bytes.len()),
        None => return None,
    };
    let len = if bytes[..end].ends_with(b"\r") { end - 1 } else { end };
    Some((len, next))
}

#[cfg(test)]
mod tests;
