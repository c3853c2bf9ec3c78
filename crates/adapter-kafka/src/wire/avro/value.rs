//! What a column's text is, by the writer's type:
//!
//! | type | text |
//! | --- | --- |
//! | string, bytes | itself, in UTF-8 |
//! | enum | the symbol |
//! | int, long | its digits |
//! | float, double | the shortest that reads back as the same, without an exponent |
//! | decimal, big-decimal | exact, with its scale's decimals |
//! | uuid | as people write it |
//! | timestamp | ISO 8601 with `Z`, cut after microseconds; outside the years 1 to 9999 the number itself, which validation refuses |
//! | local-timestamp | the same without `Z` |
//! | date | the date: no timestamp, as it is none in any other format |
//! | null | absent |
//!
//! Anything else in a column makes the record a bad one, and so does a union's branch of such a type.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use uuid::Uuid;

use super::bytes::Bytes;
use super::schema::{Node, WriterSchema};
use crate::wire::column::{Broken, Value};
use crate::wire::decimal;

/// Records in records, lists and maps: as deep as they may go in a field that is passed over.
pub(super) const DEEPEST: usize = 500;

/// A value that comes next.
pub(super) struct Unread<'a, 'de> {
    pub(super) bytes: &'a mut Bytes<'de>,
    pub(super) schema: &'a WriterSchema,
    pub(super) node: usize,
}

impl<'de> Value<'de> for Unread<'_, 'de> {
    fn text(self) -> Result<Option<Cow<'de, str>>, Broken> {
        let Self { bytes, schema, node } = self;
        let mut node = schema.node(node);
        if let Node::Union(branches) = node {
            node = schema.branch(branches, bytes)?;
        }
        let text: Cow<'de, str> = match node {
            Node::Null => return Ok(None),
            Node::String | Node::Bytes => bytes.string()?.into(),
            Node::Int => bytes.int()?.to_string().into(),
            Node::Long => bytes.long()?.to_string().into(),
            Node::Float => f32::from_le_bytes(bytes.array()?).to_string().into(),
            Node::Double => f64::from_le_bytes(bytes.array()?).to_string().into(),
            Node::Decimal { scale, size: None } => {
                decimal::scaled(bytes.counted()?, *scale)?.into()
            }
            Node::Decimal { scale, size: Some(size) } => {
                decimal::scaled(bytes.take(*size)?, *scale)?.into()
            }
            Node::BigDecimal => big_decimal(bytes.counted()?)?.into(),
            Node::Uuid { is_counted } => {
                let id = if *is_counted { bytes.counted()? } else { bytes.take(16)? };
                let id = Uuid::from_slice(id).map_err(|_| Broken::new("a UUID of not 16 bytes"))?;
                id.to_string().into()
            }
            Node::Date => date(bytes.int()?).into(),
            Node::Timestamp { per_second, is_utc } => {
                timestamp(bytes.long()?, *per_second, *is_utc).into()
            }
            Node::Enum(symbols) => {
                let symbol = symbols.get(bytes.index()?);
                symbol
                    .ok_or_else(|| Broken::new("a symbol that its enum does not have"))?
                    .clone()
                    .into()
            }
            Node::Boolean => return Err(Broken::new("a boolean instead of a text")),
            Node::Fixed(_) => return Err(Broken::new("a fixed instead of a text")),
            Node::Array(_) => return Err(Broken::new("an array instead of a text")),
            Node::Map(_) => return Err(Broken::new("a map instead of a text")),
            Node::Record(_) => return Err(Broken::new("a record instead of a text")),
            Node::Union(_) => return Err(Broken::new("a union in a union")),
        };
        Ok(Some(text))
    }

    fn skip(self) -> Result<(), Broken> {
        skip(self.bytes, self.schema, self.schema.node(self.node), DEEPEST)
    }
}

fn skip(
    bytes: &mut Bytes<'_>,
    schema: &WriterSchema,
    node: &Node,
    deeper: usize,
) -> Result<(), Broken> {
    let deeper = deeper.checked_sub(1).ok_or_else(|| {
        Broken::new(format!("more than {DEEPEST} records, lists or maps in each other"))
    })?;
    match node {
        Node::Null => Ok(()),
        Node::Boolean => bytes.take(1).map(drop),
        Node::Int | Node::Date => bytes.int().map(drop),
        Node::Enum(symbols) => match bytes.index()? {
            index if index < symbols.len() => Ok(()),
            _ => Err(Broken::new("a symbol that its enum does not have")),
        },
        Node::Long | Node::Timestamp { .. } => bytes.long().map(drop),
        Node::Float => bytes.take(4).map(drop),
        Node::Double => bytes.take(8).map(drop),
        Node::Bytes
        | Node::String
        | Node::BigDecimal
        | Node::Decimal { size: None, .. }
        | Node::Uuid { is_counted: true } => bytes.counted().map(drop),
        Node::Fixed(size) | Node::Decimal { size: Some(size), .. } => bytes.take(*size).map(drop),
        Node::Uuid { is_counted: false } => bytes.take(16).map(drop),
        Node::Union(branches) => {
            let branch = schema.branch(branches, bytes)?;
            skip(bytes, schema, branch, deeper)
        }
        Node::Record(fields) => {
            fields.iter().try_for_each(|field| skip(bytes, schema, schema.node(field.node), deeper))
        }
        Node::Array(item) => {
            let item = schema.node(*item);
            skip_blocks(bytes, |bytes| skip(bytes, schema, item, deeper))
        }
        Node::Map(item) => {
            let item = schema.node(*item);
            skip_blocks(bytes, |bytes| {
                bytes.counted()?;
                skip(bytes, schema, item, deeper)
            })
        }
    }
}

/// Passes over a list's or a map's blocks, the empty one at its end included.
fn skip_blocks(
    bytes: &mut Bytes<'_>,
    mut skip_item: impl FnMut(&mut Bytes<'_>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    loop {
        match bytes.long()? {
            0 => return Ok(()),
            // A block that says how long it is.
            ..0 => bytes.counted().map(drop)?,
            count => items(bytes, count, &mut skip_item)?,
        }
    }
}

/// Reads a list's or a map's blocks item by item.
pub(super) fn in_blocks(
    bytes: &mut Bytes<'_>,
    mut read_item: impl FnMut(&mut Bytes<'_>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    loop {
        let count = bytes.long()?;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            bytes.long()?; // how long it is
        }
        items(bytes, count.saturating_abs(), &mut read_item)?;
    }
}

fn items(
    bytes: &mut Bytes<'_>,
    count: i64,
    item: &mut impl FnMut(&mut Bytes<'_>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    for _ in 0..count {
        let left = bytes.left();
        item(bytes)?;
        // Items without bytes are passed over at once, however many there are.
        if bytes.left() == left {
            break;
        }
    }
    Ok(())
}

/// A decimal that is its unscaled bytes and a scale.
fn big_decimal(bytes: &[u8]) -> Result<String, Broken> {
    let mut bytes = Bytes::new(bytes);
    let unscaled = bytes.counted()?;
    let scale = bytes.long()?;
    if bytes.left() > 0 {
        return Err(Broken::new("bytes after a decimal's scale"));
    }
    let whole = decimal::scaled(unscaled, 0)?;
    Ok(decimal::plain(&format!("{whole}e{}", scale.saturating_neg())).into_owned())
}

/// Days since 1970 as a date.
fn date(days: i32) -> String {
    let date = NaiveDate::from_epoch_days(days).filter(|date| is_writable(date.year()));
    date.map_or_else(|| days.to_string(), |date| date.to_string())
}

/// A time since 1970 in ISO 8601, to the microsecond.
fn timestamp(since: i64, per_second: i64, is_utc: bool) -> String {
    let seconds = since.div_euclid(per_second);
    let micros = since.rem_euclid(per_second) * 1_000 / (per_second / 1_000);
    let Some(at) = DateTime::from_timestamp(seconds, 0).filter(|at| is_writable(at.year())) else {
        return since.to_string();
    };
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let year = u32::try_from(at.year()).unwrap_or_default();
    let micros = u32::try_from(micros).unwrap_or_default();
    for (end, value) in [
        (4, year),
        (7, at.month()),
        (10, at.day()),
        (13, at.hour()),
        (16, at.minute()),
        (19, at.second()),
        (26, micros),
    ] {
        write_digits(&mut text[..end], value);
    }
    let clock = str::from_utf8(&text[..if micros == 0 { 19 } else { 26 }]).unwrap_or_default();
    let mut text = String::with_capacity(text.len());
    text.push_str(clock);
    if is_utc {
        text.push('Z');
    }
    text
}

/// Writes the digits at the end of `text`.
fn write_digits(text: &mut [u8], mut value: u32) {
    for byte in text.iter_mut().rev() {
        if value == 0 {
            break;
        }
        *byte = b"0123456789"[value as usize % 10];
        value /= 10;
    }
}

/// Whether a year has four digits.
fn is_writable(year: i32) -> bool {
    (1..=9999).contains(&year)
}
