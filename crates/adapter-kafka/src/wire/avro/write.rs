//! JSON as data of a schema: what [`super::json::shown`] shows can be written again.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::value::RawValue;
use tally_domain::JsonObject;
use uuid::Uuid;

use super::schema::{Node, WriterSchema};
use crate::wire::broken::Broken;
use crate::wire::decimal;

/// Writes values by a schema.
pub(super) struct Writer<'a> {
    pub(super) schema: &'a WriterSchema,
    pub(super) out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Appends a JSON text as a value of `node`; in a union, of its first branch that can hold it.
    pub(super) fn value(&mut self, node: &Node, json: &str) -> Result<(), Broken> {
        let out = &mut *self.out;
        match node {
            Node::Null if json == "null" => {}
            Node::Boolean if json == "true" || json == "false" => {
                out.push(u8::from(json == "true"));
            }
            Node::Int => long(out, integer::<i32>(json, "an int")?.into()),
            Node::Long => long(out, integer(json, "a long")?),
            Node::Float => out.extend(number(json)?.parse().unwrap_or(f32::NAN).to_le_bytes()),
            Node::Double => out.extend(number(json)?.parse().unwrap_or(f64::NAN).to_le_bytes()),
            Node::String | Node::Bytes => bytes(out, text(json, "a text")?.as_bytes()),
            Node::Fixed(size) => {
                let fixed = BASE64_STANDARD.decode(text(json, "base64")?).ok();
                let fixed = fixed.filter(|bytes| bytes.len() == *size);
                let wrong = || Broken::new(format!("expected {size} bytes in base64"));
                out.extend(fixed.ok_or_else(wrong)?);
            }
            Node::Decimal { scale, size } => {
                let unscaled = decimal::unscaled(&digits(json)?, *scale)?;
                match size {
                    None => bytes(out, &unscaled),
                    Some(size) => out.extend(decimal::padded(&unscaled, *size)?),
                }
            }
            Node::BigDecimal => {
                let digits = digits(json)?;
                let scale = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                let mut inner = Vec::new();
                bytes(&mut inner, &decimal::unscaled(&digits, scale)?);
                count(&mut inner, scale);
                bytes(out, &inner);
            }
            Node::Uuid { is_counted } => {
                let id = Uuid::parse_str(&text(json, "a UUID")?).map_err(|_| expected("a UUID"))?;
                if *is_counted {
                    bytes(out, id.as_bytes());
                } else {
                    out.extend(id.as_bytes());
                }
            }
            Node::Date => long(out, days(json)?.into()),
            Node::Timestamp { per_second, is_utc } => {
                long(out, since_1970(json, *per_second, *is_utc)?);
            }
            Node::Enum(symbols) => {
                let symbol = text(json, "a symbol")?;
                let index = symbols.iter().position(|known| **known == *symbol);
                count(out, index.ok_or_else(|| Broken::new("no symbol of its enum"))?);
            }
            Node::Array(item) => {
                let items: Vec<&RawValue> =
                    serde_json::from_str(json).map_err(|_| expected("an array"))?;
                count(out, items.len());
                for json in &items {
                    self.value(self.schema.node(*item), json.get())?;
                }
                ended(self.out, items.len());
            }
            Node::Map(item) => {
                let entries = JsonObject::parse(json).ok_or_else(|| expected("an object"))?;
                let length = entries.members().count();
                count(out, length);
                for (name, json) in entries.members() {
                    bytes(self.out, name.as_bytes());
                    self.value(self.schema.node(*item), json).map_err(|broken| broken.of(name))?;
                }
                ended(self.out, length);
            }
            Node::Record(fields) => {
                let members = JsonObject::parse(json).ok_or_else(|| expected("an object"))?;
                let is_field = |name: &str| fields.iter().any(|field| field.name == name);
                if let Some((name, _)) = members.members().find(|(name, _)| !is_field(name)) {
                    return Err(Broken::new("no such field in its schema").of(name));
                }
                for field in fields {
                    let json = members.get(&field.name).ok_or_else(|| Broken::new("is missing"));
                    json.and_then(|json| self.value(self.schema.node(field.node), json))
                        .map_err(|broken| broken.of(&field.name))?;
                }
            }
            Node::Union(branches) => return self.branch(branches, json),
            Node::Null | Node::Boolean => return Err(expected(node.name())),
        }
        Ok(())
    }

    fn branch(&mut self, branches: &[usize], json: &str) -> Result<(), Broken> {
        let begin = self.out.len();
        let mut why = expected("null");
        for (index, branch) in branches.iter().enumerate() {
            let node = self.schema.node(*branch);
            count(self.out, index);
            match self.value(node, json) {
                Ok(()) => return Ok(()),
                Err(_) if matches!(node, Node::Null) => {}
                Err(broken) => why = broken,
            }
            self.out.truncate(begin);
        }
        Err(why)
    }
}

fn expected(what: &str) -> Broken {
    Broken::new(format!("expected {what}"))
}

/// A `long`: zigzag, seven bits a byte, the lowest first.
fn long(out: &mut Vec<u8>, number: i64) {
    let mut coded = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while coded >= 0x80 {
        out.push(coded.to_le_bytes()[0] | 0x80);
        coded >>= 7;
    }
    out.push(coded.to_le_bytes()[0]);
}

/// A count, an index or a length.
pub(super) fn count(out: &mut Vec<u8>, count: usize) {
    long(out, i64::try_from(count).unwrap_or(i64::MAX));
}

/// `bytes` or a `string`: their number, then they.
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The end of a list or a map of so many, which an empty one has already.
fn ended(out: &mut Vec<u8>, length: usize) {
    if length > 0 {
        count(out, 0);
    }
}

fn text(json: &str, what: &str) -> Result<String, Broken> {
    serde_json::from_str(json).map_err(|_| expected(what))
}

/// The text of a JSON number.
fn number(json: &str) -> Result<&str, Broken> {
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if is_number { Ok(json) } else { Err(expected("a number")) }
}

fn integer<N: std::str::FromStr>(json: &str, what: &str) -> Result<N, Broken> {
    json.parse().map_err(|_| expected(what))
}

/// The digits of a number, which may be a text.
fn digits(json: &str) -> Result<String, Broken> {
    let digits = text(json, "a number").unwrap_or_else(|_| json.to_owned());
    number(&digits)?;
    Ok(decimal::written_out(&digits).unwrap_or(digits))
}

/// A date, or its days since 1970.
fn days(json: &str) -> Result<i32, Broken> {
    let Ok(text) = text(json, "") else { return integer(json, "a date, or days since 1970") };
    let date: NaiveDate = text.parse().map_err(|_| expected("a date, like 2024-01-15"))?;
    Ok(date.to_epoch_days())
}

/// A time, or what it is since 1970 in its unit.
fn since_1970(json: &str, per_second: i64, is_utc: bool) -> Result<i64, Broken> {
    let Ok(text) = text(json, "") else {
        return integer(json, "a time, or an integer of its unit since 1970");
    };
    let at = if is_utc {
        DateTime::parse_from_rfc3339(&text)
            .map_err(|_| expected("a time with its zone, like 2024-01-15T08:30:00Z"))?
            .to_utc()
    } else {
        let at: NaiveDateTime = text
            .parse()
            .map_err(|_| expected("a time without a zone, like 2024-01-15T08:30:00"))?;
        at.and_utc()
    };
    let nanos = i64::from(at.timestamp_subsec_nanos()) / (1_000_000_000 / per_second);
    let whole = at.timestamp().checked_mul(per_second).and_then(|whole| whole.checked_add(nanos));
    whole.ok_or_else(|| expected("a time that its unit has room for"))
}
