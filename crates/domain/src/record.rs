//! A valid record: what it writes.

use std::cmp::Ordering;
use std::fmt;

use bytestring::ByteString;
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Name, Publication, Table};

/// A valid record: what it writes. Only a flow makes one. Its `Debug` shows no values.
#[derive(Clone, Default)]
pub struct Record {
    /// All of it or, if the database refuses a part, nothing. A record without any is skipped, unless it is published.
    pub writes: Vec<Write>,
    /// What is published of it; nothing if it becomes a dead letter.
    pub publications: Vec<Publication>,
    /// Whether the model is asked about it.
    pub is_asked: bool,
    /// The indices of those of [`Flow::rules`](crate::Flow::rules) that it breaks whatever its neighbours are.
    pub breaks: Vec<usize>,
    /// The flow's own word for what it is, by which the ledger splits what was written and skipped.
    pub detail: Option<Name>,
}

impl Record {
    /// A record that writes one row, asked about where the flow has a model.
    pub fn upsert(table: usize, values: Vec<Value>) -> Self {
        let writes = vec![Write { table, action: Action::Upsert, values }];
        Self { writes, is_asked: true, ..Self::default() }
    }

    /// Puts the values of the model's answer into the `columns` that hold them.
    pub fn take_answer(&mut self, columns: &[AnsweredColumn], answer: &[Value]) {
        for write in self.writes.iter_mut().filter(|write| write.action != Action::Delete) {
            for AnsweredColumn { column, field, .. } in
                columns.iter().filter(|column| column.table == write.table)
            {
                if let (Some(value), Some(answered)) =
                    (write.values.get_mut(*column), answer.get(*field))
                {
                    value.clone_from(answered);
                }
            }
        }
    }

    /// The first text in the `columns` that hold the model's answer: by it a summary counts.
    pub fn answer(&self, columns: &[AnsweredColumn]) -> Option<&str> {
        let text =
            |answered: &AnsweredColumn| match self.row(answered.table)?.get(answered.column)? {
                Value::Text(text) => Some(&**text),
                _ => None,
            };
        columns.iter().filter(|_| self.is_asked).find_map(text)
    }

    /// The row of the table at this index that it upserts or appends.
    pub fn row(&self, table: usize) -> Option<&[Value]> {
        let row = |write: &&Write| {
            write.table == table && matches!(write.action, Action::Upsert | Action::Append)
        };
        self.writes.iter().find(row).map(|write| write.values.as_slice())
    }
}

/// A column that holds a value of the model's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnsweredColumn {
    table: usize,
    column: usize,
    field: usize,
}

impl AnsweredColumn {
    /// Those of the `tables`.
    pub fn all(tables: &[Table]) -> Vec<Self> {
        let of_table = |(table, described): (usize, &Table)| {
            let answered = described.columns.iter().enumerate();
            let answered = answered.filter_map(move |(column, described)| {
                described.answer.map(|field| Self { table, column, field })
            });
            answered.collect::<Vec<_>>()
        };
        tables.iter().enumerate().flat_map(of_table).collect()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("writes", &self.writes.len())
            .field("publications", &self.publications.len())
            .finish_non_exhaustive()
    }
}

/// One thing that a record does to a table.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The index of the table among [`Flow::tables`](crate::Flow::tables).
    pub table: usize,
    /// What is done.
    pub action: Action,
    /// For each column of the table its value, null where the model's answer comes. For a delete null in all columns but
    /// those of the key and the version.
    pub values: Vec<Value>,
}

/// What a record does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The row of its key is inserted or replaced; the newest version wins.
    Upsert,
    /// A row of its own.
    Append,
    /// The row of the key is marked as deleted and keeps the version, so that nothing older resurrects it.
    Delete,
    /// Numbers are added to the counters of the key.
    Add,
}

/// What a column of a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Boolean,
    /// 64 bits.
    Integer,
    /// `numeric(precision, scale)`, of at most 18 digits.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// An id.
    Uuid,
    /// A text without U+0000, of at most this many characters.
    Text {
        /// `None` for any length.
        limit: Option<usize>,
    },
    /// Any JSON value.
    Json,
    /// A date with a time, without a zone.
    Timestamp,
    /// A moment.
    Instant,
}

/// A value of a column. Its `Debug` shows none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// None.
    Null,
    /// True or false.
    Boolean(bool),
    /// 64 bits.
    Integer(i64),
    /// Exact.
    Decimal(Decimal),
    /// An id.
    Uuid(Uuid),
    /// A text.
    Text(ByteString),
    /// A JSON value's own text.
    Json(Box<str>),
    /// To the microsecond.
    Timestamp(NaiveDateTime),
    /// To the microsecond.
    Instant(DateTime<Utc>),
}

impl Value {
    /// A text, or null.
    pub fn text(text: Option<ByteString>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// The text that it is, or holds as JSON.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a column of this type from its JSON; `None` where that is of another kind.
    pub fn from_json(kind: Type, json: &RawValue) -> Option<Self> {
        let json = json.get();
        let text = || serde_json::from_str::<String>(json).ok();
        Some(match kind {
            _ if json == "null" => Self::Null,
            Type::Boolean => Self::Boolean(json.parse().ok()?),
            Type::Integer => Self::Integer(json.parse().ok()?),
            Type::Decimal { precision, scale } => {
                Self::Decimal(Decimal::parse(json, precision, scale)?)
            }
            Type::Uuid => Self::Uuid(text()?.parse().ok()?),
            Type::Text { .. } => Self::Text(text()?.into()),
            Type::Json => Self::Json(json.into()),
            Type::Timestamp => Self::Timestamp(text()?.parse().ok()?),
            Type::Instant => Self::Instant(text()?.parse().ok()?),
        })
    }

    /// Whether a column of this type can hold it.
    pub const fn is(&self, kind: Type) -> bool {
        matches!(
            (self, kind),
            (Self::Null, _)
                | (Self::Boolean(_), Type::Boolean)
                | (Self::Integer(_), Type::Integer)
                | (Self::Decimal(_), Type::Decimal { .. })
                | (Self::Uuid(_), Type::Uuid)
                | (Self::Text(_), Type::Text { .. })
                | (Self::Json(_), Type::Json)
                | (Self::Timestamp(_), Type::Timestamp)
                | (Self::Instant(_), Type::Instant)
        )
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value { .. }")
    }
}

/// As JSON: an exact number, an id and a text as such, a timestamp in ISO 8601.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Decimal(decimal) => decimal.serialize(serializer),
            Self::Uuid(id) => id.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(text) => match serde_json::from_str::<&RawValue>(text) {
                Ok(json) => json.serialize(serializer),
                Err(_) => Err(serde::ser::Error::custom("a value is not JSON")),
            },
            Self::Timestamp(at) => at.serialize(serializer),
            Self::Instant(at) => at.serialize(serializer),
        }
    }
}

/// An exact decimal number: `unscaled` divided by ten to the power of `scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// The digits as one number.
    pub unscaled: i64,
    /// How many of them are after the point; at most 18.
    pub scale: u8,
}

impl Decimal {
    /// The whole text as a plain number, `[-]digits[.digits]`, with as many decimals as `scale`; `None` where it is none, has
    /// more decimals that are not 0, or more digits in all than `precision`.
    pub fn parse(text: &str, precision: u8, scale: u8) -> Option<Self> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let fraction = Some(fraction).filter(|digits| is_number(digits))?.trim_end_matches('0');
        let missing = usize::from(scale).checked_sub(fraction.len())?;
        let mut unscaled = 0_i64;
        for digit in Some(whole).filter(|digits| is_number(digits))?.bytes().chain(fraction.bytes())
        {
            unscaled = unscaled.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        }
        for _ in 0..missing {
            unscaled = unscaled.checked_mul(10)?;
        }
        let fits = unscaled < 10_i64.checked_pow(precision.into())?;
        fits.then_some(Self { unscaled: if is_negative { -unscaled } else { unscaled }, scale })
    }

    /// The nearest floating-point number: for statistics.
    #[expect(clippy::cast_precision_loss, reason = "the nearest is wanted")]
    pub fn to_f64(self) -> f64 {
        self.unscaled as f64 / 10_u64.pow(self.scale.min(18).into()) as f64
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By scale first: within a column, where all have the same, by number.
impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.scale, self.unscaled).cmp(&(other.scale, other.unscaled))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = self.unscaled.unsigned_abs();
        let power = 10_u64.pow(self.scale.min(18).into());
        write!(f, "{sign}{}", digits / power)?;
        match usize::from(self.scale) {
            0 => Ok(()),
            scale => write!(f, ".{:0scale$}", digits % power),
        }
    }
}

/// A number with its exact digits, without zeros at its end.
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Up to 15 digits a float's shortest text is the number's.
        const EXACT: u64 = 1_000_000_000_000_000;
        if self.unscaled.unsigned_abs() < EXACT {
            return serializer.serialize_f64(self.to_f64());
        }
        let text = self.to_string();
        let trimmed =
            if self.scale == 0 { &text } else { text.trim_end_matches('0').trim_end_matches('.') };
        match RawValue::from_string(trimmed.to_owned()) {
            Ok(number) => number.serialize(serializer),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let parsed = |text| Decimal::parse(text, 5, 2).map(|decimal| decimal.to_string());
        for (text, expected) in [
            ("0", Some("0.00")),
            ("-0.5", Some("-0.50")),
            ("999.99", Some("999.99")),
            ("1.230", Some("1.23")),
            ("1000", None),
            ("1.234", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("1.", None),
            ("1e2", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parsed(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_decimals_float_prints_as_the_decimal() {
        for unscaled in [1, 10, 99, 100, 110, 12_345, 999_999_999_999, -7] {
            let decimal = Decimal { unscaled, scale: 2 };
            assert_eq!(format!("{:.2}", decimal.to_f64()), decimal.to_string());
        }
    }

    #[test]
    fn values_are_json_as_the_model_is_shown_them() {
        let decimal = |unscaled, scale| Value::Decimal(Decimal { unscaled, scale });
        let values = [
            Value::Null,
            Value::Boolean(true),
            Value::Integer(i64::MAX),
            decimal(-1234, 2),
            decimal(1_200, 2),
            decimal(999_999_999_999_999_999, 4),
            decimal(7, 0),
            Value::Text("a\"b".into()),
            Value::Json(r#"{"a": 1.50}"#.into()),
        ];
        let json = r#"[null,true,9223372036854775807,-12.34,12.0,99999999999999.9999,7.0,"a\"b",{"a": 1.50}]"#;
        assert_eq!(serde_json::to_string(&values).unwrap(), json);
    }

    #[test]
    fn a_value_is_read_from_its_json() {
        let decimal = Type::Decimal { precision: 18, scale: 4 };
        let time: NaiveDateTime = "2026-01-02T03:04:05.678901".parse().unwrap();
        for (kind, value) in [
            (Type::Boolean, Value::Boolean(false)),
            (Type::Integer, Value::Integer(i64::MIN)),
            (decimal, Value::Decimal(Decimal { unscaled: -999_999_999_999_999_999, scale: 4 })),
            (decimal, Value::Decimal(Decimal { unscaled: 70_000, scale: 4 })),
            (Type::Uuid, Value::Uuid(Uuid::from_u128(7))),
            (Type::Text { limit: None }, Value::Text("a\"é\n".into())),
            (Type::Json, Value::Json(r#"{"a": 1.50}"#.into())),
            (Type::Timestamp, Value::Timestamp(time)),
            (Type::Instant, Value::Instant(time.and_utc())),
            (Type::Integer, Value::Null),
        ] {
            let json = serde_json::to_string(&value).unwrap();
            let raw = RawValue::from_string(json.clone()).unwrap();
            assert!(Value::from_json(kind, &raw) == Some(value), "{json}");
        }
        let raw = RawValue::from_string("\"7\"".to_owned()).unwrap();
        assert!(Value::from_json(Type::Integer, &raw).is_none());
    }

    #[test]
    fn an_answer_goes_into_the_columns_that_hold_it() {
        let text = Type::Text { limit: None };
        let columns = vec![
            crate::TableColumn::new("id", text),
            crate::TableColumn::answered("said", text, 1),
        ];
        let tables = [Table::keyed("t", &[0], columns)];
        let mut record = Record::upsert(0, vec![Value::Text("a".into()), Value::Null]);
        let columns = AnsweredColumn::all(&tables);
        record.take_answer(&columns, &[Value::Integer(7), Value::Text("yes".into())]);
        assert!(record.row(0) == Some(&[Value::Text("a".into()), Value::Text("yes".into())]));
    }
}
