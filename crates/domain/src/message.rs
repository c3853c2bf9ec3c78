//! A record to be sent to a topic.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::amount::Notation;
use crate::faults::{Faults, program_error};
use crate::{Column, Decimal, Fields, Kind, Reason, Value};

/// A record whose ids, amounts and timestamps can be read; the consumer of the topic applies the flow's rules. Its `Debug`
/// shows no values.
///
/// It serializes with the columns' names. In human-readable formats (JSON): an id as lower-case UUID, an amount as an
/// exact number, a timestamp in ISO 8601. In binary formats as Avro's logical types: an id as the same text, an
/// amount as `decimal(12,2)`, a timestamp as microseconds.
pub struct Message<'a> {
    columns: &'a [Column],
    values: Vec<Value>,
}

impl<'a> Message<'a> {
    /// The record with these `fields`, which are in the order of the `columns`; else every reason why not, with the codes
    /// `NAME_missing`, `NAME_invalid` and `NAME_range`.
    ///
    /// # Errors
    /// When an id, an amount or a timestamp cannot be read.
    pub fn read(columns: &'a [Column], fields: Fields, notation: Notation) -> Result<Self, Reason> {
        let mut faults = Faults::default();
        let mut values = Vec::with_capacity(columns.len());
        let mut fields = fields.into_iter();
        for Column { name, kind } in columns {
            let field = fields.next().unwrap_or_default();
            let value = match kind {
                Kind::Id => faults.id(name, &field).map(Value::Uuid),
                Kind::Decimal => faults
                    .amount(name, &field, notation)
                    .and_then(|parsed| parsed.amount)
                    .map(|amount| Value::Decimal(Decimal { unscaled: amount.cents(), scale: 2 })),
                Kind::Timestamp => faults.timestamp(name, &field).map(Value::Timestamp),
                Kind::Boolean => match field.text().as_deref().map(str::trim) {
                    None | Some("") => Some(Value::Null),
                    Some("true") => Some(Value::Boolean(true)),
                    Some("false") => Some(Value::Boolean(false)),
                    Some(_) => faults.add(
                        format!("{name}_invalid"),
                        format!("{name} is neither true nor false"),
                    ),
                },
                Kind::Json => match field.into_text() {
                    None => Some(Value::Null),
                    Some(json) if serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok() => {
                        Some(Value::Json((&*json).into()))
                    }
                    Some(_) => faults.add(format!("{name}_invalid"), format!("{name} is not JSON")),
                },
                // A file cannot tell an empty text from none.
                Kind::Text => Some(Value::text(field.into_text().filter(|text| !text.is_empty()))),
            };
            values.extend(value);
        }
        match faults.into_reason() {
            Some(reason) => Err(reason),
            None if values.len() == columns.len() => Ok(Self { columns, values }),
            None => Err(program_error()),
        }
    }

    /// The text of its first id: the record's key on a topic.
    pub fn key(&self) -> Option<String> {
        let id = self.columns.iter().position(|column| column.kind == Kind::Id)?;
        match &self.values[id] {
            Value::Uuid(id) => Some(id.to_string()),
            _ => None,
        }
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_binary = !serializer.is_human_readable();
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, value) in self.columns.iter().zip(&self.values) {
            if is_binary {
                map.serialize_entry(&column.name, &Binary(value))?;
            } else {
                map.serialize_entry(&column.name, value)?;
            }
        }
        map.end()
    }
}

/// A value as Avro's logical types represent it.
struct Binary<'a>(&'a Value);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Uuid(id) => id.as_hyphenated().serialize(serializer),
            Value::Decimal(decimal) => {
                serializer.serialize_bytes(shortest(&decimal.unscaled.to_be_bytes()))
            }
            Value::Timestamp(at) => serializer.serialize_i64(at.and_utc().timestamp_micros()),
            Value::Text(text) => serializer.serialize_some(&**text),
            other => other.serialize(serializer),
        }
    }
}

/// The shortest big-endian two's complement.
fn shortest(bytes: &[u8; 8]) -> &[u8] {
    let is_sign_only = |at: usize| {
        let next_is_negative = bytes[at + 1] & 0x80 != 0;
        bytes[at] == if next_is_negative { 0xff } else { 0 }
    };
    let first = (0..bytes.len() - 1).find(|&at| !is_sign_only(at)).unwrap_or(bytes.len() - 1);
    &bytes[first..]
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message { .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transactions::Transactions;
    use crate::{Field, Flow};

    fn read(
        id: &str,
        amount: &str,
        at: &str,
        notation: Notation,
    ) -> Result<Message<'static>, Reason> {
        let texts = [
            Some(id),
            Some(" Bakery \"7\" "),
            Some(amount),
            Some(at),
            None,
            Some(""),
            Some(" Debit"),
        ];
        let field =
            |text: Option<&str>| text.map_or(Field::Absent, |text| Field::Text(text.into()));
        let columns = Box::leak(Transactions::default().columns().to_vec().into_boxed_slice());
        Message::read(columns, texts.map(field).into(), notation)
    }

    #[track_caller]
    fn refused(id: &str, amount: &str, at: &str, code: &str, faults: usize) {
        let reason = read(id, amount, at, Notation::Plain).unwrap_err();
        assert_eq!((&*reason.code, reason.message.split(';').count()), (code, faults));
    }

    #[test]
    fn what_can_be_read_is_written_with_the_columns_names() {
        let message = read("255", " 9999999999.990", "2024-01-15T08:30:00+02:00", Notation::Plain);
        assert_eq!(
            serde_json::to_string(&message.unwrap()).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-0000000000ff","description":" Bakery \"7\" ","amount":9999999999.99,"timestamp":"2024-01-15T06:30:00","merchant":null,"operation_type":null,"side":" Debit"}"#
        );
        let id = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
        let message = read(id, "-0,1", "2024-01-15 08:30:00.120", Notation::Undecided).unwrap();
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(json["id"], id.to_lowercase());
        assert_eq!(json["amount"].to_string(), "-0.1");
        assert_eq!(json["timestamp"], "2024-01-15T08:30:00.120");
        assert_eq!(message.key(), Some(id.to_lowercase()));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_validations_codes() {
        let at = "2024-01-15 08:30:00";
        refused("", "1", at, "id_missing", 1);
        refused("-1", "1", at, "id_invalid", 1);
        refused("1", " ", at, "amount_missing", 1);
        refused("1", "1,5", at, "amount_invalid", 1);
        refused("1", "0.001", at, "amount_range", 1);
        refused("1", "1", "", "timestamp_missing", 1);
        refused("1", "1", "2024-01-15", "timestamp_invalid", 1);
        refused("x", "x", "x", "id_invalid", 3);
        refused("", "", "", "id_missing", 3);
    }
}
