//! What a source finds in a record.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::Decimal;
use crate::amount::Notation;

/// What a source found in one column of a record. Texts share the record's bytes where they can.
///
/// CSV has texts, and timestamps where their format is set; JSON has texts, numbers, booleans and JSON; the other variants
/// are Avro's, whose values have types.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Field {
    /// The record does not have the column.
    #[default]
    Absent,
    /// The column holds no value.
    Null,
    /// A text, exactly as it was written.
    Text(ByteString),
    /// A text that is not what its source was told that the column holds: no form of the values that are set fits.
    Unreadable(ByteString),
    /// A number with the digits it was written with, without an exponent. Of a floating-point number the shortest that
    /// read back as the same.
    Number(ByteString),
    /// A whole number.
    Integer(i64),
    /// An exact number.
    Decimal(Decimal),
    /// An id.
    Uuid(Uuid),
    /// A date.
    Date(NaiveDate),
    /// A date with a time, without a zone.
    Timestamp(NaiveDateTime),
    /// A moment.
    Instant(DateTime<Utc>),
    /// True or false.
    Boolean(bool),
    /// An object or a list: its own JSON text.
    Json(ByteString),
}

impl Field {
    /// A text, or the text of a number, an id, a date or a time (ISO 8601); `None` for anything else.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Text(text) | Self::Unreadable(text) | Self::Number(text) => Cow::Borrowed(text),
            Self::Integer(number) => number.to_string().into(),
            Self::Decimal(number) => number.to_string().into(),
            Self::Uuid(id) => id.to_string().into(),
            Self::Date(date) => date.to_string().into(),
            Self::Timestamp(at) => format!("{at:?}").into(),
            Self::Instant(at) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into(),
            Self::Absent | Self::Null | Self::Boolean(_) | Self::Json(_) => return None,
        })
    }

    /// As [`Field::text`].
    pub fn into_text(self) -> Option<ByteString> {
        match self {
            Self::Text(text) | Self::Unreadable(text) | Self::Number(text) => Some(text),
            other => other.text().map(|text| text.into_owned().into()),
        }
    }
}

/// Only which kind of value it is.
impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Null => "Null",
            Self::Text(_) => "Text",
            Self::Unreadable(_) => "Unreadable",
            Self::Number(_) => "Number",
            Self::Integer(_) => "Integer",
            Self::Decimal(_) => "Decimal",
            Self::Uuid(_) => "Uuid",
            Self::Date(_) => "Date",
            Self::Timestamp(_) => "Timestamp",
            Self::Instant(_) => "Instant",
            Self::Boolean(_) => "Boolean",
            Self::Json(_) => "Json",
        })
    }
}

/// The fields of a record in the order of [`Flow::columns`](crate::Flow::columns); none at all for a tombstone.
pub type Fields = Vec<Field>;

/// A record as its source found it. Its `Debug` shows no values.
pub struct Incoming<'a> {
    /// What the source found in the flow's columns.
    pub fields: Fields,
    /// How amounts are written in it.
    pub notation: Notation,
    /// Its bytes as they were.
    pub raw: &'a Raw,
}

impl Incoming<'_> {
    /// Whether the record has a key at most: on a compacted topic it says that the key is gone.
    pub fn is_tombstone(&self) -> bool {
        self.fields.is_empty()
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("raw", self.raw).finish_non_exhaustive()
    }
}

/// Names and values that travel with a record, in order; shared by the records they are the same for. A name may come
/// several times and a value may be missing, as in Kafka. Of a name that is not UTF-8, what is not is replaced by U+FFFD.
pub type Headers = Arc<[(String, Option<Bytes>)]>;

/// A record's bytes as they were. Cheap to clone. Its `Debug` shows only lengths.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Raw {
    /// What identifies it, where that is known.
    pub key: Option<Bytes>,
    /// Its content; `None` for a tombstone.
    pub payload: Option<Bytes>,
    /// Names and values.
    pub headers: Headers,
    /// When it was written to its topic; `None` for a file's.
    pub timestamp: Option<DateTime<Utc>>,
    /// The physical line, from 1, where it starts in its file; `None` for a topic's, and for one that was stored.
    pub line: Option<u64>,
}

impl Raw {
    /// Whether there is a header of this name, with a value or without.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(found, _)| found == name)
    }

    /// The value of the last header of this name, if it has one.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().rfind(|(found, _)| found == name)?.1.as_ref()
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map(Bytes::len);
        f.debug_struct("Raw")
            .field("key_bytes", &length(&self.key))
            .field("payload_bytes", &length(&self.payload))
            .field("headers", &self.headers.len())
            .field("timestamp", &self.timestamp)
            .field("line", &self.line)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_headers_with_one_name_the_last_counts() {
        let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let headers = [("a", value("1")), ("b", value("2")), ("a", value("3")), ("b", None)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let raw = Raw { headers, ..Raw::default() };
        assert_eq!(raw.header("a"), value("3").as_ref());
        assert_eq!((raw.has_header("b"), raw.header("b")), (true, None));
        assert_eq!((raw.has_header("c"), raw.header("c")), (false, None));
    }

    #[test]
    fn values_with_a_type_have_a_text() {
        let at: NaiveDateTime = "2024-01-15T08:30:00.25".parse().unwrap();
        for (field, text) in [
            (Field::Text("a".into()), Some("a")),
            (Field::Unreadable("a".into()), Some("a")),
            (Field::Number("1.50".into()), Some("1.50")),
            (Field::Integer(-7), Some("-7")),
            (Field::Decimal(Decimal { unscaled: -150, scale: 2 }), Some("-1.50")),
            (Field::Uuid(Uuid::from_u128(255)), Some("00000000-0000-0000-0000-0000000000ff")),
            (Field::Date(at.date()), Some("2024-01-15")),
            (Field::Timestamp(at), Some("2024-01-15T08:30:00.250")),
            (Field::Instant(at.and_utc()), Some("2024-01-15T08:30:00.250Z")),
            (Field::Boolean(true), None),
            (Field::Json("{}".into()), None),
            (Field::Null, None),
            (Field::Absent, None),
        ] {
            assert_eq!(field.text().as_deref(), text, "{field:?}");
            assert_eq!(field.into_text().as_deref(), text);
        }
    }
}
