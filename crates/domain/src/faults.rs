//! What is wrong with a record, found while its values are read.

use chrono::NaiveDateTime;
use uuid::Uuid;

use crate::amount::{Amount, Notation, Parsed};
use crate::{Field, Name, Reason, Stage, id, timestamp};

/// The faults of one record, in the order in which they are found. Messages quote no value.
#[derive(Debug, Default)]
pub struct Faults {
    first_code: Option<Name>,
    message: String,
}

impl Faults {
    /// Notes a fault.
    pub fn note(&mut self, code: impl Into<Name>, message: impl AsRef<str>) {
        if self.first_code.is_some() {
            self.message.push(';');
        }
        self.first_code.get_or_insert_with(|| code.into());
        self.message.push_str(message.as_ref());
    }

    /// Notes the fault of a value that is therefore absent.
    pub fn add<T>(&mut self, code: impl Into<Name>, message: impl AsRef<str>) -> Option<T> {
        self.note(code, message);
        None
    }

    /// The id in the column `name`, else `NAME_missing` or `NAME_invalid`. See [`id::parse`].
    pub fn id(&mut self, name: &str, field: &Field) -> Option<Uuid> {
        if let Field::Uuid(id) = field {
            return Some(*id);
        }
        let text = field.text();
        let text = self.present(name, text.as_deref())?;
        id::parse(text).or_else(|| {
            let what = "is neither a UUID nor an integer from 0 to 2^128 - 1";
            self.add(format!("{name}_invalid"), format!("{name} {what}"))
        })
    }

    /// The amount in the column `name` as read, its sign known even where it is out of range, else `NAME_missing`,
    /// `NAME_invalid` or `NAME_range`. See [`Amount::parse`].
    pub fn amount(&mut self, name: &str, field: &Field, notation: Notation) -> Option<Parsed> {
        let parsed = if let Field::Decimal(decimal) = field {
            Some(Amount::of(*decimal))
        } else {
            let text = field.text();
            match Amount::parse(self.present(name, text.as_deref())?, notation) {
                Ok(parsed) => Some(parsed),
                Err(unreadable) => {
                    self.add(format!("{name}_invalid"), format!("{name} {unreadable}"))
                }
            }
        };
        if parsed.is_some_and(|parsed| parsed.amount.is_none()) {
            let what =
                "has more than ten digits before or more than two after the decimal separator";
            self.note(format!("{name}_range"), format!("{name} {what}"));
        }
        parsed
    }

    /// The timestamp in the column `name`, of a moment that in UTC, else `NAME_missing` or `NAME_invalid`. See
    /// [`timestamp::parse`].
    pub fn timestamp(&mut self, name: &str, field: &Field) -> Option<NaiveDateTime> {
        match field {
            Field::Timestamp(at) => return Some(*at),
            Field::Instant(at) => return Some(at.naive_utc()),
            Field::Unreadable(_) => {
                let what = "is in none of the formats that are set (csv.timestamp_formats)";
                return self.add(format!("{name}_invalid"), format!("{name} {what}"));
            }
            _ => {}
        }
        let text = field.text();
        let text = self.present(name, text.as_deref())?;
        timestamp::parse(text).or_else(|| {
            let what = match field {
                Field::Number(_) | Field::Integer(_) => format!(
                    "is a number: columns.{name}.unit must say its unit, in which it is a time of the years 1 to 9999"
                ),
                Field::Date(_) => format!("is a date: set columns.{name}.unit to days to read it as its midnight"),
                _ => "is not a date with a time, like 2024-01-31 23:59:59 (the form in a file: csv.timestamp_formats)".to_owned(),
            };
            self.add(format!("{name}_invalid"), format!("{name} {what}"))
        })
    }

    /// The text without the blanks around it, else `NAME_missing`.
    pub fn present<'a>(&mut self, name: &str, text: Option<&'a str>) -> Option<&'a str> {
        trimmed(text).or_else(|| self.add(format!("{name}_missing"), format!("{name} is missing")))
    }

    /// All of them under the code of the first; `None` where there is none.
    pub fn into_reason(self) -> Option<Reason> {
        let (stage, message) = (Stage::Validate, self.message);
        self.first_code.map(|code| Reason { stage, code, message })
    }
}

/// The reason of a record that is refused without a fault, which cannot happen.
pub(crate) fn program_error() -> Reason {
    Reason::new(Stage::Validate, "invalid", "invalid")
}

/// Without the blanks around it; `None` where that leaves nothing.
pub(crate) fn trimmed(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
