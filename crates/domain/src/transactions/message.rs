//! A transaction on its way to a topic.

use std::fmt;

use bytestring::ByteString;
use chrono::NaiveDateTime;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::Wire;
use super::faults::{self, Faults};
use crate::Reason;
use crate::amount::{Amount, Notation};

/// A transaction that can be read, whatever the rules say of it: a side that does not fit the amount, or a text that is
/// too long, passes as it is, and whoever reads the topic judges it. Its `Debug` shows no values.
///
/// It serializes with the table's column names. For formats that people read (JSON): the id as lower-case UUID, the
/// amount as an exact number, the timestamp in ISO 8601. For binary ones as Avro's logical types want it: the id as
/// the same text, the amount as `decimal(12,2)`, the timestamp as microseconds.
#[derive(Serialize)]
pub struct Message {
    #[serde(serialize_with = "hyphenated")]
    id: Uuid,
    description: Option<ByteString>,
    amount: Amount,
    #[serde(serialize_with = "moment")]
    timestamp: NaiveDateTime,
    merchant: Option<ByteString>,
    operation_type: Option<ByteString>,
    side: Option<ByteString>,
}

impl Message {
    /// The record, if its id, amount and timestamp can be read; else every reason why not, with the codes that
    /// validation would give them.
    pub fn parse(wire: Wire, notation: Notation) -> Result<Self, Reason> {
        let mut faults = Faults::default();
        let id = faults.id(&wire);
        let amount = faults.amount(&wire, notation).and_then(|parsed| parsed.amount);
        let timestamp = faults.timestamp(&wire);
        let Wire { description, merchant, operation_type, side, .. } = wire;
        match (id, amount, timestamp) {
            (Some(id), Some(amount), Some(timestamp)) => {
                Ok(Self { id, description, amount, timestamp, merchant, operation_type, side })
            }
            _ => Err(faults.into_reason().unwrap_or_else(faults::program_error)),
        }
    }

    /// What identifies it: the record's key on a topic.
    pub const fn id(&self) -> Uuid {
        self.id
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message { .. }")
    }
}

fn hyphenated<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    id.as_hyphenated().serialize(serializer)
}

fn moment<S: Serializer>(moment: &NaiveDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        moment.serialize(serializer)
    } else {
        serializer.serialize_i64(moment.and_utc().timestamp_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(id: &str, amount: &str, timestamp: &str) -> Wire {
        let text = |text: &str| Some(text.into());
        Wire {
            id: text(id),
            description: text(" Bakery \"7\" "),
            amount: text(amount),
            timestamp: text(timestamp),
            merchant: None,
            operation_type: text(""),
            side: text(" Debit"),
        }
    }

    #[track_caller]
    fn refused(wire: Wire, code: &str, faults: usize) {
        let reason = Message::parse(wire, Notation::Plain).unwrap_err();
        assert_eq!((&*reason.code, reason.message.split(';').count()), (code, faults));
    }

    #[test]
    fn what_can_be_read_is_written_with_the_columns_names() {
        let message = Message::parse(
            wire("255", " 9999999999.990", "2024-01-15T08:30:00+02:00"),
            Notation::Plain,
        );
        assert_eq!(
            serde_json::to_string(&message.unwrap()).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-0000000000ff","description":" Bakery \"7\" ","amount":9999999999.99,"timestamp":"2024-01-15T06:30:00","merchant":null,"operation_type":"","side":" Debit"}"#
        );
        let id = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
        let message =
            Message::parse(wire(id, "-0,1", "2024-01-15 08:30:00.120"), Notation::Undecided)
                .unwrap();
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(json["id"], id.to_lowercase());
        assert_eq!(json["amount"].to_string(), "-0.1");
        assert_eq!(json["timestamp"], "2024-01-15T08:30:00.120");
        assert_eq!(message.id().to_string(), id.to_lowercase());
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_validations_codes() {
        let at = "2024-01-15 08:30:00";
        refused(wire("", "1", at), "id_missing", 1);
        refused(wire("-1", "1", at), "id_invalid", 1);
        refused(wire("1", " ", at), "amount_missing", 1);
        refused(wire("1", "1,5", at), "amount_invalid", 1);
        refused(wire("1", "0.001", at), "amount_range", 1);
        refused(wire("1", "1", ""), "timestamp_missing", 1);
        refused(wire("1", "1", "2024-01-15"), "timestamp_invalid", 1);
        refused(wire("x", "x", "x"), "id_invalid", 3);
        refused(Wire::default(), "id_missing", 3);
    }
}
