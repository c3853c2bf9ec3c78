//! What a column's field is, by the writer's type:
//!
//! | type | field |
//! | --- | --- |
//! | string, bytes | a text: itself, in UTF-8 |
//! | enum | a text: the symbol |
//! | int, long | an integer |
//! | float, double | a number: the shortest that reads back as the same, without an exponent |
//! | decimal | a decimal; a number where that has no room for it, with its scale's decimals |
//! | big-decimal | a number: exact |
//! | uuid | an id |
//! | timestamp | a moment, cut after microseconds; outside the years 1 to 9999 the number as a text, which validation refuses |
//! | local-timestamp | the same without a zone |
//! | date | a date. It is no timestamp, as it is none in any other format |
//! | null | null |
//! | boolean | true or false, where the column is of [`Kind::Boolean`] |
//!
//! A column of [`Kind::Json`] is the JSON text of its value, see [`super::json`]. Anything else in a column makes the
//! record a bad one, and so does a union's branch of such a type.

use chrono::{DateTime, Datelike, NaiveDate};
use tally_domain::{Field, Kind};
use uuid::Uuid;

use super::datum::Datum;
use super::json;
use super::schema::{Node, WriterSchema};
use crate::wire::broken::Broken;
use crate::wire::decimal;

/// Records, lists and maps in each other: as deep as they may go in a field that is passed over or written as JSON.
pub(super) const DEEPEST: usize = 500;

/// What a column of this kind holds.
pub(super) fn field(
    datum: &mut Datum<'_>,
    schema: &WriterSchema,
    node: &Node,
    kind: Kind,
) -> Result<Field, Broken> {
    let node = schema.resolve(node, datum)?;
    match (kind, node) {
        (_, Node::Null) => Ok(Field::Null),
        (Kind::Json, _) => json::text(datum, schema, node).map(|text| Field::Json(text.into())),
        (Kind::Boolean, _) => scalar(datum, node, "a boolean"),
        (_, Node::Boolean) => Err(Broken::new("a boolean instead of a text")),
        _ => scalar(datum, node, "a text"),
    }
}

/// A value that is `wanted`, neither a list nor a record.
pub(super) fn scalar(datum: &mut Datum<'_>, node: &Node, wanted: &str) -> Result<Field, Broken> {
    let number = |number: String| Field::Number(number.into());
    Ok(match node {
        Node::Null => Field::Null,
        Node::Boolean => Field::Boolean(datum.boolean()?),
        Node::String | Node::Bytes => Field::Text(datum.string()?),
        Node::Int => Field::Integer(datum.int()?.into()),
        Node::Long => Field::Integer(datum.long()?),
        Node::Float => number(f32::from_le_bytes(datum.array()?).to_string()),
        Node::Double => number(f64::from_le_bytes(datum.array()?).to_string()),
        Node::Decimal { scale, size: None } => decimal::scaled(datum.counted()?, *scale)?,
        Node::Decimal { scale, size: Some(size) } => decimal::scaled(datum.take(*size)?, *scale)?,
        Node::BigDecimal => number(big_decimal(datum.inner()?)?),
        Node::Uuid { is_counted } => {
            let id = if *is_counted { datum.counted()? } else { datum.take(16)? };
            let id = Uuid::from_slice(id).map_err(|_| Broken::new("a UUID of not 16 bytes"))?;
            Field::Uuid(id)
        }
        Node::Date => date(datum.int()?),
        Node::Timestamp { per_second, is_utc } => timestamp(datum.long()?, *per_second, *is_utc),
        Node::Enum(symbols) => {
            let symbol = symbols.get(datum.index()?).cloned();
            let unknown = || Broken::new("a symbol that its enum does not have");
            Field::Text(symbol.ok_or_else(unknown)?)
        }
        Node::Union(_) => return Err(Broken::new("a union in a union")),
        Node::Fixed(_) | Node::Array(_) | Node::Map(_) | Node::Record(_) => {
            return Err(Broken::new(format!("{} instead of {wanted}", node.name())));
        }
    })
}

/// Passes over a value.
pub(super) fn skip(
    datum: &mut Datum<'_>,
    schema: &WriterSchema,
    node: &Node,
) -> Result<(), Broken> {
    skip_within(datum, schema, node, DEEPEST)
}

fn skip_within(
    datum: &mut Datum<'_>,
    schema: &WriterSchema,
    node: &Node,
    deeper: usize,
) -> Result<(), Broken> {
    let deeper = deeper.checked_sub(1).ok_or_else(too_deep)?;
    match node {
        Node::Null => Ok(()),
        Node::Boolean => datum.take(1).map(drop),
        Node::Int | Node::Date => datum.int().map(drop),
        Node::Enum(symbols) => match datum.index()? {
            index if index < symbols.len() => Ok(()),
            _ => Err(Broken::new("a symbol that its enum does not have")),
        },
        Node::Long | Node::Timestamp { .. } => datum.long().map(drop),
        Node::Float => datum.take(4).map(drop),
        Node::Double => datum.take(8).map(drop),
        Node::Bytes
        | Node::String
        | Node::BigDecimal
        | Node::Decimal { size: None, .. }
        | Node::Uuid { is_counted: true } => datum.counted().map(drop),
        Node::Fixed(size) | Node::Decimal { size: Some(size), .. } => datum.take(*size).map(drop),
        Node::Uuid { is_counted: false } => datum.take(16).map(drop),
        Node::Union(_) => {
            let branch = schema.resolve(node, datum)?;
            skip_within(datum, schema, branch, deeper)
        }
        Node::Record(fields) => fields
            .iter()
            .try_for_each(|field| skip_within(datum, schema, schema.node(field.node), deeper)),
        Node::Array(item) => {
            let item = schema.node(*item);
            skip_blocks(datum, |datum| skip_within(datum, schema, item, deeper))
        }
        Node::Map(item) => {
            let item = schema.node(*item);
            skip_blocks(datum, |datum| {
                datum.counted()?;
                skip_within(datum, schema, item, deeper)
            })
        }
    }
}

/// Passes over a list's or a map's blocks, the empty one at its end included.
fn skip_blocks(
    datum: &mut Datum<'_>,
    mut skip_item: impl FnMut(&mut Datum<'_>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    loop {
        match datum.long()? {
            0 => return Ok(()),
            // A block that says how long it is.
            ..0 => datum.counted().map(drop)?,
            count => items(datum, count, &mut skip_item)?,
        }
    }
}

/// Reads a list's or a map's blocks item by item.
pub(super) fn in_blocks<'a>(
    datum: &mut Datum<'a>,
    mut read_item: impl FnMut(&mut Datum<'a>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    loop {
        let count = datum.long()?;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            datum.long()?; // how long it is
        }
        items(datum, count.saturating_abs(), &mut read_item)?;
    }
}

fn items<'a>(
    datum: &mut Datum<'a>,
    count: i64,
    item: &mut impl FnMut(&mut Datum<'a>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    for _ in 0..count {
        let left = datum.left();
        item(datum)?;
        // Items without bytes are passed over at once, however many there are.
        if datum.left() == left {
            break;
        }
    }
    Ok(())
}

/// A decimal that is its unscaled bytes and a scale.
fn big_decimal(mut datum: Datum<'_>) -> Result<String, Broken> {
    let unscaled = datum.counted()?;
    let scale = datum.long()?;
    if datum.left() > 0 {
        return Err(Broken::new("bytes after a decimal's scale"));
    }
    let whole = decimal::scaled(unscaled, 0)?;
    let whole = whole.text().unwrap_or_default();
    let number = format!("{whole}e{}", scale.saturating_neg());
    Ok(decimal::written_out(&number).unwrap_or(number))
}

pub(super) fn too_deep() -> Broken {
    Broken::new(format!("more than {DEEPEST} records, lists or maps in each other"))
}

/// Days since 1970 as a date.
fn date(days: i32) -> Field {
    let date = NaiveDate::from_epoch_days(days).filter(|date| is_writable(date.year()));
    date.map_or_else(|| Field::Text(days.to_string().into()), Field::Date)
}

/// A time since 1970, to the microsecond.
fn timestamp(since: i64, per_second: i64, is_utc: bool) -> Field {
    let nanos = since.rem_euclid(per_second) * 1_000_000 / (per_second / 1_000) / 1_000 * 1_000;
    let at = u32::try_from(nanos).ok().and_then(|nanos| {
        DateTime::from_timestamp(since.div_euclid(per_second), nanos)
            .filter(|at| is_writable(at.year()))
    });
    match at {
        None => Field::Text(since.to_string().into()),
        Some(at) if is_utc => Field::Instant(at),
        Some(at) => Field::Timestamp(at.naive_utc()),
    }
}

/// Whether a year has four digits.
fn is_writable(year: i32) -> bool {
    (1..=9999).contains(&year)
}
