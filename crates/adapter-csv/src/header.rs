//! The header line: delimiter and columns.

use std::collections::HashSet;
use std::ops::Range;

use csv_async::ByteRecord;
use encoding_rs::Encoding;
use memchr::memchr_iter;
use tally_domain::{Column, Kind};
use tally_ports::dead_letter::PAYLOAD_LIMIT;

use crate::framing::{Frame, Framing, Width, physical_line};
use crate::reader::LineStart;
use crate::split::Feed;

/// In the order in which they are tried.
const DELIMITERS: [u8; 3] = [b';', b',', b'\t'];

const UTF_8_BOM: &[u8] = b"\xef\xbb\xbf";

/// As many column names are shown in a message.
const SHOWN: usize = 50;

/// What the header line says.
#[derive(Debug)]
pub struct Header {
    pub delimiter: u8,
    /// Its bytes in the file, without the line end.
    pub range: Range<usize>,
    /// Where rows start.
    pub rows: LineStart,
    /// How many fields a record has.
    pub width: Width,
    /// A name for each of the file's columns, blanks trimmed; none where the name came before.
    pub names: Vec<String>,
    /// For each of the file's columns the index of the flow's column that it is, if it is one.
    pub columns: Vec<Option<usize>>,
    /// The names of columns that are not the flow's.
    pub unknown: Vec<String>,
    /// The field with the record's id.
    pub id: Option<usize>,
    /// The fields with decimal numbers.
    pub decimals: Vec<usize>,
}

/// One way to read the header line.
struct Candidate {
    delimiter: u8,
    len: usize,
    next: usize,
    lines: u64,
    names: Vec<String>,
    /// How many of the flow's columns it yields.
    known: usize,
}

impl Header {
    /// Reads the header from a file's first bytes, of which there are more than a header may have, unless `whole`.
    /// The error continues a sentence that begins with the file's name.
    pub async fn find(
        head: &[u8],
        whole: bool,
        encoding: &'static Encoding,
        columns: &[Column],
    ) -> Result<Self, String> {
        let start = first_line(head, encoding, columns)?;
        let rest = &head[start.byte..];
        check_text(rest, whole, encoding)?;

        let mut best: Option<Candidate> = None;
        for delimiter in DELIMITERS {
            let candidate = Candidate::read(rest, whole, delimiter, encoding, columns).await;
            if let Some(candidate) = candidate
                && best.as_ref().is_none_or(|best| candidate.known > best.known)
            {
                best = Some(candidate);
            }
        }
        let best = best.ok_or(
            "has a header that cannot be split: a quote is not closed, or text follows it",
        )?;
        check_columns(&best, &rest[..best.len], columns)?;

        let place = |wanted: &Column| best.names.iter().position(|name| *name == wanted.name);
        let of_kind =
            |kind| columns.iter().filter(move |column| column.kind == kind).filter_map(place);
        let is_last_empty = best.names.last().is_some_and(String::is_empty);
        let width = Width::of_header(best.names.len(), is_last_empty);
        let mut seen = HashSet::new();
        let mut unknown = Vec::new();
        let mut names = Vec::with_capacity(width.columns());
        let mut known = Vec::with_capacity(width.columns());
        for name in &best.names[..width.columns()] {
            let is_new = seen.insert(name);
            names.push(if is_new { name.clone() } else { String::new() });
            let column = columns.iter().position(|column| *name == column.name);
            if column.is_none() && is_new && !name.is_empty() {
                unknown.push(name.clone());
            }
            known.push(column);
        }
        Ok(Self {
            delimiter: best.delimiter,
            range: start.byte..start.byte + best.len,
            rows: LineStart {
                byte: (start.byte + best.next) as u64,
                line: start.line + best.lines,
            },
            width,
            names,
            columns: known,
            unknown,
            id: of_kind(Kind::Id).next(),
            decimals: of_kind(Kind::Decimal).collect(),
        })
    }
}

impl Header {
    /// What rows look like.
    pub fn framing(&self) -> Framing {
        Framing { delimiter: self.delimiter, width: Some(self.width) }
    }
}

impl Candidate {
    /// `None` when quotes and line ends do not make a record with this delimiter, or its fields are not in the
    /// encoding.
    async fn read(
        bytes: &[u8],
        whole: bool,
        delimiter: u8,
        encoding: &'static Encoding,
        columns: &[Column],
    ) -> Option<Self> {
        let frame = Framing { delimiter, width: None }.frame(bytes, whole);
        let Frame::Record { len, next, fields, lines } = frame else { return None };
        let mut feed = Feed::with_capacity(len + 1);
        feed.push(&bytes[..len]);
        let mut record = ByteRecord::new();
        feed.split(delimiter).next(&mut record, len, fields).await.ok()?;
        let names: Option<Vec<String>> = record
            .iter()
            .map(|name| encoding.decode_without_bom_handling_and_without_replacement(name))
            .map(|name| name.map(|name| name.trim().to_owned()))
            .collect();
        let names = names?;
        let is_there = |column: &&Column| names.iter().any(|name| *name == column.name);
        let known = columns.iter().filter(is_there).count();
        Some(Self { delimiter, len, next, lines, names, known })
    }
}

/// Where a line starts.
struct Start {
    byte: usize,
    line: u64,
}

/// The first line that is not blank, after a byte order mark.
fn first_line(
    head: &[u8],
    encoding: &'static Encoding,
    columns: &[Column],
) -> Result<Start, String> {
    let mut start = Start { byte: 0, line: 1 };
    if head.starts_with(UTF_8_BOM) {
        if encoding != encoding_rs::UTF_8 {
            return Err(format!(
                "starts with the byte order mark of UTF-8, but its encoding is set to {}",
                encoding.name()
            ));
        }
        start.byte = UTF_8_BOM.len();
    }
    loop {
        match &head[start.byte..] {
            [] | [b'\r'] => {
                return Err(format!(
                    "holds no line with anything in it: a header is needed: {}",
                    list(columns)
                ));
            }
            [b'\n', ..] => start.byte += 1,
            [b'\r', b'\n', ..] => start.byte += 2,
            _ => return Ok(start),
        }
        start.line += 1;
    }
}

/// That the first line is text of a sane length.
fn check_text(bytes: &[u8], whole: bool, encoding: &'static Encoding) -> Result<(), String> {
    let limited = &bytes[..bytes.len().min(PAYLOAD_LIMIT + 2)];
    let line = physical_line(limited, whole).map_or(limited, |(len, _)| &limited[..len]);
    if line.contains(&0) {
        return Err(
            "is no text: its first line holds zero bytes; if it is UTF-16, convert it with \
                    iconv -f UTF-16 -t UTF-8"
                .to_owned(),
        );
    }
    if line.len() > PAYLOAD_LIMIT {
        return Err("is not a CSV table: its first line is longer than 1 MiB".to_owned());
    }
    if encoding.decode_without_bom_handling_and_without_replacement(line).is_none() {
        let name = encoding.name();
        return Err(format!(
            "is no text in {name}: set its encoding if it has another one, such as windows-1252"
        ));
    }
    Ok(())
}

/// That each of the flow's columns is there once.
fn check_columns(best: &Candidate, line: &[u8], columns: &[Column]) -> Result<(), String> {
    let has_lone_cr = || memchr_iter(b'\r', line).any(|at| line.get(at + 1) != Some(&b'\n'));
    if best.known < columns.len() && has_lone_cr() {
        return Err(
            "is not a CSV table: its lines end with CR alone; convert them to LF".to_owned()
        );
    }
    if best.known == 0 {
        return Err(format!(
            "has no header: its first line names none of the columns {}",
            list(columns)
        ));
    }
    let count = |column: &Column| best.names.iter().filter(|name| **name == column.name).count();
    let missing = columns.iter().filter(|column| count(column) == 0);
    let missing: Vec<&str> = missing.map(|column| &*column.name).collect();
    if !missing.is_empty() {
        let noun = if missing.len() == 1 { "column" } else { "columns" };
        let mut found: Vec<&str> = best.names.iter().map(String::as_str).take(SHOWN).collect();
        if best.names.len() > SHOWN {
            found.push("...");
        }
        return Err(format!(
            "lacks the {noun} {}; it has {}",
            missing.join(", "),
            found.join(", ")
        ));
    }
    if let Some(twice) = columns.iter().find(|column| count(column) > 1) {
        return Err(format!("has the column {} more than once", twice.name));
    }
    Ok(())
}

fn list(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
    names.join(", ")
}
