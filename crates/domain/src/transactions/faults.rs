//! What is wrong with a record, found while its values are read.

use chrono::NaiveDateTime;
use uuid::Uuid;

use super::Wire;
use crate::amount::{Amount, Notation, Parsed};
use crate::{Reason, Stage, id, timestamp};

/// The faults of one record, in the order of their codes.
#[derive(Default)]
pub(super) struct Faults {
    first_code: Option<&'static str>,
    message: String,
}

impl Faults {
    pub(super) fn note(&mut self, code: &'static str, message: impl AsRef<str>) {
        if self.first_code.is_some() {
            self.message.push(';');
        }
        self.first_code.get_or_insert(code);
        self.message.push_str(message.as_ref());
    }

    /// Notes the fault of a value that is therefore absent.
    pub(super) fn add<T>(&mut self, code: &'static str, message: &str) -> Option<T> {
        self.note(code, message);
        None
    }

    pub(super) fn id(&mut self, wire: &Wire) -> Option<Uuid> {
        match trimmed(wire.id.as_deref()) {
            None => self.add("id_missing", "id is missing"),
            Some(text) => id::parse(text).or_else(|| {
                self.add("id_invalid", "id is neither a UUID nor an integer from 0 to 2^128 - 1")
            }),
        }
    }

    /// The amount as read: its sign is known even where it is out of range.
    pub(super) fn amount(&mut self, wire: &Wire, notation: Notation) -> Option<Parsed> {
        let parsed = match trimmed(wire.amount.as_deref()) {
            None => self.add("amount_missing", "amount is missing"),
            Some(text) => match Amount::parse(text, notation) {
                Ok(parsed) => Some(parsed),
                Err(unreadable) => self.add("amount_invalid", &format!("amount {unreadable}")),
            },
        };
        if parsed.is_some_and(|parsed| parsed.amount.is_none()) {
            self.note(
                "amount_range",
                "amount has more than ten digits before or more than two after the decimal separator",
            );
        }
        parsed
    }

    pub(super) fn timestamp(&mut self, wire: &Wire) -> Option<NaiveDateTime> {
        match trimmed(wire.timestamp.as_deref()) {
            None => self.add("timestamp_missing", "timestamp is missing"),
            Some(text) => timestamp::parse(text).or_else(|| {
                self.add(
                    "timestamp_invalid",
                    "timestamp is not a date with a time, like 2024-01-31 23:59:59",
                )
            }),
        }
    }

    pub(super) fn into_reason(self) -> Option<Reason> {
        self.first_code.map(|code| Reason::new(Stage::Validate, code, self.message))
    }
}

/// The reason of a record that is refused without a fault, which no record is.
pub(super) fn program_error() -> Reason {
    Reason::new(Stage::Validate, "invalid", "invalid")
}

/// Without the blanks around it; `None` where that leaves nothing.
pub(super) fn trimmed(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
