//! The header line: delimiter and columns.

mod check;
pub mod names;
mod start;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use csv_async::ByteRecord;
use encoding_rs::Encoding;
use tally_domain::Kind;

use self::names::{Names, list};
use self::start::Start;
use crate::framing::{Frame, Framing, Width, physical_line};
use crate::reader::LineStart;
use crate::split::Feed;

/// In the order in which they are tried.
const DELIMITERS: [u8; 4] = [b';', b',', b'\t', b'|'];

const UTF_8_BOM: &[u8] = b"\xef\xbb\xbf";

/// In so many lines a header is looked for where it should have been in one before them.
const LOOK_THROUGH: u64 = 50;

/// How a header is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    pub encoding: &'static Encoding,
    pub names: Names<'a>,
    /// How many lines stand before it.
    pub skip_lines: usize,
    /// The delimiter, where it is known.
    pub delimiter: Option<u8>,
}

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
    /// Names that differ from those of their columns in case or in blanks around them, and these.
    pub respelt: Vec<(String, String)>,
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
    /// As they are written.
    names: Vec<String>,
    /// For each of them the index of the flow's column that it is.
    columns: Vec<Option<usize>>,
    /// How many of the flow's columns it yields.
    known: usize,
}

impl Header {
    /// Reads the header from a file's first bytes, of which there are more than a header may have, unless `whole`.
    /// The error continues a sentence that begins with the file's name.
    pub async fn find(head: &[u8], whole: bool, search: Search<'_>) -> Result<Self, String> {
        let start = Start::find(head, whole, search.encoding, search.skip_lines)?;
        let search = Search { delimiter: start.delimiter.or(search.delimiter), ..search };
        match Self::at(head, whole, start, search).await {
            Ok(header) => Ok(header),
            Err(problem) => match line_of_header(head, whole, start, search).await {
                None => Err(problem),
                Some(line) => Err(format!(
                    "{problem}; line {line} is a header: set csv.skip_lines to {}",
                    line - 1
                )),
            },
        }
    }

    async fn at(
        head: &[u8],
        whole: bool,
        start: Start,
        search: Search<'_>,
    ) -> Result<Self, String> {
        let (rest, columns) = (&head[start.byte..], search.names.columns);
        if matches!(rest, [] | [b'\r']) {
            let needed = list(columns);
            return Err(format!("holds no line with anything in it: a header is needed: {needed}"));
        }
        check::text(rest, whole, search.encoding)?;
        let best = Candidate::best(rest, whole, search).await.ok_or(
            "has a header that cannot be split: a quote is not closed, or text follows it",
        )?;
        let is_first = search.skip_lines == 0 && start.delimiter.is_none();
        let line =
            if is_first { "its first line".to_owned() } else { format!("its line {}", start.line) };
        check::columns(&best, &rest[..best.len], columns, &line)?;

        let place = |column| best.columns.iter().position(|found| *found == Some(column));
        let of_kind = |kind| {
            let columns = columns.iter().enumerate();
            columns
                .filter(move |(_, column)| column.kind == kind)
                .filter_map(move |(at, _)| place(at))
        };
        let is_last_empty = best.names.last().is_some_and(|name| name.trim().is_empty());
        let width = Width::of_header(best.names.len(), is_last_empty);
        let mut seen = HashSet::new();
        let mut unknown = Vec::new();
        let mut names = Vec::with_capacity(width.columns());
        for (name, column) in best.names[..width.columns()].iter().zip(&best.columns) {
            let name = name.trim();
            let is_new = seen.insert(name);
            names.push(if is_new { name.to_owned() } else { String::new() });
            if column.is_none() && is_new && !name.is_empty() {
                unknown.push(name.to_owned());
            }
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
            id: of_kind(Kind::Id).next(),
            decimals: of_kind(Kind::Decimal).collect(),
            respelt: search.names.respelt(&best.names, &best.columns),
            columns: best.columns[..width.columns()].to_vec(),
            unknown,
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
    /// The one of the delimiters, or the one that is known, that yields the most columns.
    async fn best(bytes: &[u8], whole: bool, search: Search<'_>) -> Option<Self> {
        let mut best: Option<Self> = None;
        for delimiter in DELIMITERS {
            if search.delimiter.is_some_and(|known| known != delimiter) {
                continue;
            }
            let candidate = Self::read(bytes, whole, delimiter, search).await;
            if let Some(candidate) = candidate
                && best.as_ref().is_none_or(|best| candidate.known > best.known)
            {
                best = Some(candidate);
            }
        }
        best
    }

    /// `None` when quotes and line ends do not make a record with this delimiter, or its fields are not in the
    /// encoding.
    async fn read(
        bytes: &[u8],
        whole: bool,
        delimiter: u8,
        Search { encoding, names: of_columns, .. }: Search<'_>,
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
            .map(|name| name.map(Cow::into_owned))
            .collect();
        let names = names?;
        let columns = of_columns.find(&names);
        let known = columns.iter().flatten().collect::<HashSet<_>>().len();
        Some(Self { delimiter, len, next, lines, names, columns, known })
    }
}

/// The line, but for the one at `start`, that has all columns, among those before it and the next ones.
async fn line_of_header(head: &[u8], whole: bool, start: Start, search: Search<'_>) -> Option<u64> {
    let mut byte = if head.starts_with(UTF_8_BOM) { UTF_8_BOM.len() } else { 0 };
    let mut line = 1;
    while line <= start.line + LOOK_THROUGH {
        let rest = &head[byte..];
        let (_, next) = physical_line(rest, whole).filter(|(_, next)| *next > 0)?;
        if line != start.line
            && let Some(candidate) = Candidate::best(rest, whole, search).await
            && candidate.known == search.names.columns.len()
        {
            return Some(line);
        }
        byte += next;
        line += 1;
    }
    None
}
