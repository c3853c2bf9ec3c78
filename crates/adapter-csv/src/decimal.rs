//! The decimal sign of a file's amounts, and what shows it.

use csv_async::ByteRecord;
use encoding_rs::Encoding;
use tally_domain::amount::{self, DecimalSign, Notation, Separators, Votes};
use tally_ports::Fault;

use crate::Decimal;
use crate::framing::Frame;
use crate::header::Header;
use crate::split::Feed;

/// What to do where it is not known.
const SET: &str = "set csv.decimal to comma or point";

/// How many bytes of rows the decimal sign is told from.
pub const LOOK_AT: usize = 256 * 1024;

/// How the amounts of a file are read, and what shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    notation: Notation,
    /// The physical lines of the first amounts with a decimal comma, with a decimal point, and of the first one that
    /// may have either.
    comma: Option<u64>,
    point: Option<u64>,
    unclear: Option<u64>,
    /// Whether all of the file was looked at.
    is_whole: bool,
}

impl Amounts {
    /// Tells it from the rows in `bytes`, the file's first after its header and `whole` if they are all, unless it is
    /// set.
    pub async fn find(
        setting: Decimal,
        bytes: &[u8],
        whole: bool,
        header: &Header,
        encoding: &'static Encoding,
    ) -> Result<Self, Fault> {
        match setting {
            Decimal::Auto => Self::told(bytes, whole, header, encoding).await,
            set => Ok(Self {
                notation: notation_of(set),
                comma: None,
                point: None,
                unclear: None,
                is_whole: false,
            }),
        }
    }

    async fn told(
        bytes: &[u8],
        whole: bool,
        header: &Header,
        encoding: &'static Encoding,
    ) -> Result<Self, Fault> {
        let framing = header.framing();
        let mut feed = Feed::with_capacity(bytes.len().min(LOOK_AT));
        let mut records = Vec::new();
        let mut at = 0;
        let mut line = header.rows.line;
        while at < bytes.len() {
            let rest = &bytes[at..];
            // Framed as when it is read: what follows the part that is looked at tells where a quote ends.
            let (next, lines) = match framing.frame(rest, whole) {
                Frame::Blank { next } | Frame::Bad { line: Some((_, next)), .. } => (next, 1),
                Frame::Record { len, next, fields, lines } if at + len <= LOOK_AT => {
                    feed.push(&rest[..len]);
                    records.push((line, len, fields));
                    (next, lines)
                }
                Frame::Record { .. } | Frame::Bad { line: None, .. } | Frame::More => break,
            };
            at += next;
            line += lines;
            if at >= LOOK_AT {
                break;
            }
        }

        let mut votes = Votes::default();
        let (mut comma, mut point, mut unclear) = (None, None, None);
        let mut record = ByteRecord::new();
        let mut splitter = feed.split(framing.delimiter);
        for (line, len, fields) in records {
            splitter.next(&mut record, len, fields).await?;
            for field in header.decimals.iter().filter_map(|&column| record.get(column)) {
                let text = encoding.decode_without_bom_handling_and_without_replacement(field);
                let text = text.as_deref().map(str::trim).unwrap_or_default();
                let first = match amount::separators(text) {
                    Some(Separators::Show(sign)) => {
                        votes.add(sign);
                        match sign {
                            DecimalSign::Comma => &mut comma,
                            DecimalSign::Point => &mut point,
                        }
                    }
                    Some(Separators::Unclear(_)) => &mut unclear,
                    Some(Separators::None) | None => continue,
                };
                first.get_or_insert(line);
            }
        }
        let is_whole = whole && at >= bytes.len();
        Ok(Self { notation: votes.notation(), comma, point, unclear, is_whole })
    }

    /// How they are read.
    pub const fn notation(&self) -> Notation {
        self.notation
    }

    /// The decimal sign in one word: `comma` or `point` as amounts show, `comma-set` or `point-set` as it is set, or
    /// `undecided`.
    pub const fn decimal(&self) -> &'static str {
        word(self.notation)
    }

    /// The physical line of the first amount that shows it.
    pub const fn line(&self) -> Option<u64> {
        match self.notation {
            Notation::Shown(DecimalSign::Comma) => self.comma,
            Notation::Shown(DecimalSign::Point) => self.point,
            Notation::Set(_) | Notation::Undecided | Notation::Plain => None,
        }
    }

    /// What was taken for the decimal sign and why; `None` where no amount of the file has one.
    pub fn explain(&self) -> Option<String> {
        match (self.notation, self.comma, self.point, self.unclear) {
            (Notation::Set(sign), ..) => Some(format!("decimal {} (csv.decimal)", sign.as_str())),
            (Notation::Shown(sign), ..) => {
                let line = self.line().unwrap_or_default();
                Some(format!("decimal {} (line {line})", sign.as_str()))
            }
            (_, Some(comma), Some(point), _) => Some(format!(
                "decimal sign unknown: decimal commas (line {comma}) and decimal points (line {point}) are mixed: {SET}"
            )),
            (.., Some(unclear)) => Some(format!(
                "decimal sign unknown: line {unclear} can be read as thousands or as decimals, and nothing in the first \
                 256 KiB settles it: {SET}"
            )),
            _ if !self.is_whole => {
                Some("decimal sign unknown: no amount in the first 256 KiB has one".to_owned())
            }
            _ => None,
        }
    }
}

/// The notation of a file's amounts in one word, for what travels with a dead letter.
pub const fn word(notation: Notation) -> &'static str {
    match notation {
        Notation::Shown(DecimalSign::Comma) => "comma",
        Notation::Shown(DecimalSign::Point) => "point",
        Notation::Set(DecimalSign::Comma) => "comma-set",
        Notation::Set(DecimalSign::Point) => "point-set",
        Notation::Undecided | Notation::Plain => "undecided",
    }
}

/// The notation of amounts that nothing but the setting tells of.
pub const fn notation_of(setting: Decimal) -> Notation {
    match setting {
        Decimal::Auto => Notation::Undecided,
        Decimal::Comma => Notation::Set(DecimalSign::Comma),
        Decimal::Point => Notation::Set(DecimalSign::Point),
    }
}

/// The notation that [`word`] names.
pub fn notation(named: &[u8]) -> Option<Notation> {
    const ALL: [Notation; 5] = [
        Notation::Shown(DecimalSign::Comma),
        Notation::Shown(DecimalSign::Point),
        Notation::Set(DecimalSign::Comma),
        Notation::Set(DecimalSign::Point),
        Notation::Undecided,
    ];
    ALL.into_iter().find(|&notation| word(notation).as_bytes() == named)
}
