//! When a transaction is valid.

use std::cmp::Ordering;

use bytestring::ByteString;

use super::{Side, Transaction, Wire, limit};
use crate::Reason;
use crate::amount::Notation;
use crate::faults::{Faults, program_error, trimmed};

/// The transaction, or every fault it has: the first by code, all in the message.
pub(super) fn validate(wire: Wire, notation: Notation) -> Result<Transaction, Reason> {
    let mut faults = Faults::default();

    let id = faults.id("id", &wire.id);
    let parsed = faults.amount("amount", &wire.amount, notation);
    let side = match trimmed(wire.side.as_deref()) {
        None => faults.add("side_missing", "side is missing"),
        Some("debit") => Some(Side::Debit),
        Some("credit") => Some(Side::Credit),
        Some(_) => faults.add("side_unknown", "side is neither debit nor credit"),
    };
    match (side, parsed.map(|parsed| parsed.sign)) {
        (Some(Side::Debit), Some(Ordering::Equal | Ordering::Greater)) => {
            faults.note("debit_sign", "amount of a debit is not below 0");
        }
        (Some(Side::Credit), Some(Ordering::Equal | Ordering::Less)) => {
            faults.note("credit_sign", "amount of a credit is not above 0");
        }
        _ => {}
    }
    let timestamp = faults.timestamp("timestamp", &wire.timestamp);

    let texts = [
        ("description", &wire.description, limit::DESCRIPTION),
        ("merchant", &wire.merchant, limit::DESCRIPTION),
        ("operation_type", &wire.operation_type, limit::OPERATION_TYPE),
    ];
    let texts_with = |fault: fn(&str, usize) -> bool| {
        texts
            .iter()
            .filter(move |(_, text, limit)| text.as_deref().is_some_and(|text| fault(text, *limit)))
    };
    for (name, ..) in texts_with(|text, _| text.contains('\0')) {
        faults.note("nul", format!("{name} contains U+0000"));
    }
    for (name, _, limit) in
        texts_with(|text, limit| text.len() > limit && text.chars().count() > limit)
    {
        faults.note("text_too_long", format!("{name} is longer than {limit} characters"));
    }

    let amount = parsed.and_then(|parsed| parsed.amount);
    match (faults.into_reason(), id, amount, timestamp, side) {
        (None, Some(id), Some(amount), Some(timestamp), Some(side)) => Ok(Transaction {
            id,
            description: not_blank(wire.description).unwrap_or_default(),
            amount,
            timestamp,
            merchant: not_blank(wire.merchant),
            operation_type: not_blank(wire.operation_type).unwrap_or_default(),
            side,
        }),
        (reason, ..) => Err(reason.unwrap_or_else(program_error)),
    }
}

fn not_blank(text: Option<ByteString>) -> Option<ByteString> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decimal, Field, Stage};

    fn valid() -> Wire {
        let text = |text: &str| Some(text.into());
        Wire {
            id: field("7"),
            description: text(" CB BOULANGERIE "),
            amount: field("-12.34"),
            timestamp: field("2024-01-15 08:30:00"),
            merchant: text("Boulangerie"),
            operation_type: text("payment"),
            side: text("debit"),
        }
    }

    /// Breaks one valid record by `spoil` and compares all its codes' first and the number of messages.
    #[track_caller]
    fn check(spoil: impl FnOnce(&mut Wire), code: &str, faults: usize) {
        let mut wire = valid();
        spoil(&mut wire);
        let reason = validate(wire, Notation::Plain).unwrap_err();
        assert_eq!(
            (&*reason.code, reason.message.split(';').count()),
            (code, faults),
            "{}",
            reason.message
        );
        assert_eq!(reason.stage, Stage::Validate);
    }

    fn field(text: &str) -> Field {
        Field::Text(text.into())
    }

    #[expect(clippy::unnecessary_wraps, reason = "a field of the wire is optional")]
    fn set(text: &str) -> Option<ByteString> {
        Some(text.into())
    }

    #[test]
    fn a_valid_record_keeps_its_texts_as_read() {
        let record = validate(valid(), Notation::Plain).unwrap();
        assert_eq!(&*record.description, " CB BOULANGERIE ");
        assert_eq!(record.amount.cents(), -1234);
        assert_eq!(record.id, uuid::Uuid::from_u128(7));
    }

    #[test]
    fn values_with_a_type_are_read_as_their_texts() {
        let at = "2024-01-15T08:30:00.000001".parse().unwrap();
        let texts = Wire { timestamp: field("2024-01-15T08:30:00.000001Z"), ..valid() };
        let typed = |at| Wire {
            id: Field::Uuid(uuid::Uuid::from_u128(7)),
            amount: Field::Decimal(Decimal { unscaled: -123_400, scale: 4 }),
            timestamp: at,
            ..valid()
        };
        let read = |wire| validate(wire, Notation::Plain).unwrap().into_record().writes;
        let expected = read(texts);
        for at in [Field::Timestamp(at), Field::Instant(at.and_utc())] {
            assert!(read(typed(at)) == expected);
        }
        let whole = Wire { id: Field::Integer(7), amount: Field::Integer(-12), ..valid() };
        let record = validate(whole, Notation::Plain).unwrap();
        assert_eq!((record.id.as_u128(), record.amount.cents()), (7, -1200));
    }

    #[test]
    fn blanks_around_values_are_cut() {
        let spaced = Wire {
            id: field(" 7 "),
            amount: field("\t5 "),
            side: set(" credit "),
            timestamp: field(" 2024-01-15T08:30:00Z "),
            ..valid()
        };
        assert_eq!(validate(spaced, Notation::Plain).unwrap().side, Side::Credit);
    }

    #[test]
    fn blank_texts_are_missing() {
        let blank =
            Wire { description: set("  "), merchant: set(" "), operation_type: None, ..valid() };
        let record = validate(blank, Notation::Plain).unwrap();
        assert_eq!(
            (&*record.description, record.merchant.as_deref(), &*record.operation_type),
            ("", None, "")
        );
    }

    #[test]
    fn each_fault_has_its_code() {
        check(|wire| wire.id = Field::Absent, "id_missing", 1);
        check(|wire| wire.id = field(" "), "id_missing", 1);
        check(|wire| wire.id = field("x"), "id_invalid", 1);
        check(|wire| wire.amount = field(""), "amount_missing", 1);
        check(|wire| wire.amount = field("1e5"), "amount_invalid", 1);
        check(|wire| wire.amount = field("-12.345"), "amount_range", 1);
        for (unscaled, scale) in [(-12_345, 3), (-1_000_000_000_000, 2), (i64::MIN, 0)] {
            let amount = Field::Decimal(Decimal { unscaled, scale });
            check(|wire| wire.amount = amount, "amount_range", 1);
        }
        check(|wire| wire.side = None, "side_missing", 1);
        check(|wire| wire.side = set("Debit"), "side_unknown", 1);
        check(|wire| wire.amount = field("12.34"), "debit_sign", 1);
        check(|wire| wire.amount = field("-0.00"), "debit_sign", 1);
        check(|wire| wire.side = set("credit"), "credit_sign", 1);
        check(|wire| wire.timestamp = Field::Absent, "timestamp_missing", 1);
        check(|wire| wire.timestamp = field("2024-02-30 00:00:00"), "timestamp_invalid", 1);
        check(|wire| wire.merchant = set("a\0b"), "nul", 1);
        check(|wire| wire.description = set(&"é".repeat(1025)), "text_too_long", 1);
        check(|wire| wire.operation_type = set(&"x".repeat(65)), "text_too_long", 1);
    }

    #[test]
    fn texts_at_their_limit_are_valid() {
        let longest = Wire {
            description: set(&"é".repeat(1024)),
            operation_type: set(&"é".repeat(64)),
            ..valid()
        };
        assert!(validate(longest, Notation::Plain).is_ok());
    }

    #[test]
    fn all_faults_are_listed_and_the_first_in_order_is_the_code() {
        check(|wire| *wire = Wire::default(), "id_missing", 4);
        check(
            |wire| (wire.amount, wire.timestamp) = (field("99999999999.99"), Field::Null),
            "amount_range",
            3,
        );
        check(
            |wire| (wire.merchant, wire.description) = (set("\0"), set(&"x\0".repeat(1025))),
            "nul",
            3,
        );
    }

    #[test]
    fn messages_quote_no_value() {
        let wire = Wire {
            id: field("secret-7"),
            amount: field("secret"),
            side: set("secret"),
            timestamp: field("secret"),
            ..valid()
        };
        assert!(!validate(wire, Notation::Plain).unwrap_err().message.contains("secret"));
    }
}
