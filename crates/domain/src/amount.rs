//! Amounts of money that fit `numeric(12,2)`.

mod notation;
mod text;

use std::cmp::Ordering;
use std::fmt;

pub use self::notation::{DecimalSign, Notation, Votes};
use self::text::Number;
pub use self::text::{Separators, Unreadable, separators};
use crate::Decimal;

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
    /// Reads the whole text as a number in this notation. Trailing zeros do not count as decimals.
    ///
    /// Plain is `[+-]digits[.digits]`. Else it is digits behind an optional `-`, perhaps with a decimal sign, before
    /// which there may be none; thousands may be in groups, divided by the sign that is not the decimal one, or by a
    /// blank, U+00A0, U+202F, `'` or U+2019, always by the same. An amount whose separators can mean one thing only
    /// is never read as another thing.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str, notation: Notation) -> Result<Parsed, Unreadable> {
        let Number { is_negative, whole, fraction } = text::read(text, notation)?;
        let is_zero =
            !whole.bytes().chain(fraction.bytes()).any(|byte| matches!(byte, b'1'..=b'9'));
        let sign = match (is_zero, is_negative) {
            (true, _) => Ordering::Equal,
            (false, true) => Ordering::Less,
            (false, false) => Ordering::Greater,
        };
        let amount = unsigned_cents(whole, fraction)
            .map(|cents| Self { cents: if is_negative { -cents } else { cents } });
        Ok(Parsed { sign, amount })
    }

    /// The same number. Trailing zeros do not count as decimals.
    pub fn of(decimal: Decimal) -> Parsed {
        let Decimal { mut unscaled, mut scale } = decimal;
        while scale > 2 && unscaled % 10 == 0 {
            (unscaled, scale) = (unscaled / 10, scale - 1);
        }
        let power = 2_u32.checked_sub(scale.into());
        let cents = power.and_then(|power| unscaled.checked_mul(10_i64.pow(power)));
        let amount = cents
            .filter(|cents| cents.unsigned_abs() < LIMIT_CENTS.unsigned_abs())
            .map(|cents| Self { cents });
        Parsed { sign: decimal.unscaled.cmp(&0), amount }
    }

    /// The amount in cents, between -999,999,999,999 and 999,999,999,999.
    pub const fn cents(self) -> i64 {
        self.cents
    }
}

fn unsigned_cents(whole: &str, fraction: &str) -> Option<i64> {
    let decimals = fraction.trim_end_matches('0');
    if decimals.len() > 2 {
        return None;
    }
    let mut cents = 0_i64;
    for digit in whole.bytes().filter(u8::is_ascii_digit).chain(decimals.bytes()) {
        cents = cents * 10 + i64::from(digit - b'0');
        if cents >= LIMIT_CENTS {
            return None;
        }
    }
    for _ in decimals.len()..2 {
        cents *= 10;
    }
    (cents < LIMIT_CENTS).then_some(cents)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.cents < 0 { "-" } else { "" };
        let cents = self.cents.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

#[cfg(test)]
mod tests;
