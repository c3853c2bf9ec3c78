//! Amounts of money that fit `numeric(12,2)`.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

/// The first amount, in cents, that no longer fits `numeric(12,2)`.
const LIMIT_CENTS: i64 = 1_000_000_000_000;

/// An amount that fits `numeric(12,2)`, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    cents: i64,
}

/// A text that is a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Below, at or above zero.
    pub sign: Ordering,
    /// `None` when it needs more than ten digits before the point or more than two after it.
    pub amount: Option<Amount>,
}

impl Amount {
    /// Reads `[+-]digits[.digits]`, the whole text; `None` when it is anything else. Trailing zeros do not count
    /// as decimals. No exponent, no group separators, no blanks.
    pub fn parse(text: &str) -> Option<Parsed> {
        let (negative, digits) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let point = digits.iter().position(|&byte| byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &b"0"[..]),
        };
        let all_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }

        let is_zero = digits.iter().all(|&byte| matches!(byte, b'0' | b'.'));
        let sign = match (is_zero, negative) {
            (true, _) => Ordering::Equal,
            (false, true) => Ordering::Less,
            (false, false) => Ordering::Greater,
        };
        let amount = unsigned_cents(whole, fraction)
            .map(|cents| Self { cents: if negative { -cents } else { cents } });
        Some(Parsed { sign, amount })
    }

    /// The amount in cents, between -999,999,999,999 and 999,999,999,999.
    pub const fn cents(self) -> i64 {
        self.cents
    }

    /// The nearest floating-point number: for statistics and for JSON, where its shortest text is the amount's.
    #[expect(clippy::cast_precision_loss, reason = "twelve digits are exact in an f64")]
    pub fn to_f64(self) -> f64 {
        self.cents as f64 / 100.0
    }
}

fn unsigned_cents(whole: &[u8], fraction: &[u8]) -> Option<i64> {
    let decimals = fraction.iter().rposition(|&byte| byte != b'0').map_or(0, |last| last + 1);
    if decimals > 2 {
        return None;
    }
    let significant = whole.iter().skip_while(|&&byte| byte == b'0');
    let mut cents = 0_i64;
    for &byte in significant.chain([fraction[0], *fraction.get(1).unwrap_or(&b'0')].iter()) {
        cents = cents * 10 + i64::from(byte - b'0');
        if cents >= LIMIT_CENTS {
            return None;
        }
    }
    Some(cents)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.cents < 0 { "-" } else { "" };
        let cents = self.cents.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// A number for formats that people read (JSON). Bytes for binary ones: the cents as Avro's `decimal` with a scale of 2
/// wants them, two's complement, the highest byte first, as short as can be.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_f64(self.to_f64());
        }
        let bytes = self.cents.to_be_bytes();
        let is_sign_only = |at: usize| {
            let next_is_negative = bytes[at + 1] & 0x80 != 0;
            bytes[at] == if next_is_negative { 0xff } else { 0 }
        };
        let first = (0..bytes.len() - 1).find(|&at| !is_sign_only(at)).unwrap_or(bytes.len() - 1);
        serializer.serialize_bytes(&bytes[first..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let shown = Amount::parse(text).map(|parsed| {
            parsed.amount.map_or_else(|| "range".to_owned(), |amount| amount.to_string())
        });
        assert_eq!(shown.as_deref(), expected, "{text}");
    }

    #[test]
    fn reads_decimals_exactly() {
        check("12.34", Some("12.34"));
        check("-12.3", Some("-12.30"));
        check("+7", Some("7.00"));
        check("007.50", Some("7.50"));
        check("0.10", Some("0.10"));
        check("-0.01", Some("-0.01"));
        check("9999999999.99", Some("9999999999.99"));
        check("-9999999999.99", Some("-9999999999.99"));
        check("0000000000000000000000000000000001", Some("1.00"));
    }

    #[test]
    fn trailing_zeros_are_no_decimals() {
        check("12.3400000000000000000000000", Some("12.34"));
        check("1.000", Some("1.00"));
    }

    #[test]
    fn what_does_not_fit_is_out_of_range() {
        check("10000000000", Some("range"));
        check("99999999999.99", Some("range"));
        check("12.345", Some("range"));
        check("0.001", Some("range"));
        check("99999999999999999999999999999999999999999", Some("range"));
    }

    #[test]
    fn anything_else_is_no_number() {
        for text in [
            "", "-", ".", "1.", ".5", "1e5", "NaN", "inf", "12,34", "1 000", "1_0", "--1", "0x10",
            "1.2.3", "١",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_sign_is_known_even_out_of_range() {
        let sign = |text| Amount::parse(text).map(|parsed| parsed.sign);
        assert_eq!(sign("-0.00"), Some(Ordering::Equal));
        assert_eq!(sign("-99999999999.99"), Some(Ordering::Less));
        assert_eq!(sign("0.001"), Some(Ordering::Greater));
    }

    #[test]
    fn its_float_prints_as_the_amount() {
        for cents in [1, 10, 99, 100, 110, 12_345, 999_999_999_999, -7] {
            let amount = Amount { cents };
            assert_eq!(format!("{:.2}", amount.to_f64()), amount.to_string());
        }
    }
}
