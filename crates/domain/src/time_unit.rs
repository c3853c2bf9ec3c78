//! Times as numbers.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use crate::Field;

/// What a time that is a number counts since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Days: a date, which stands for its midnight.
    Days,
}

/// The units of columns, by name.
pub type TimeUnits = BTreeMap<String, TimeUnit>;

impl TimeUnit {
    const fn nanoseconds(self) -> i128 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
            Self::Days => 86_400_000_000_000,
        }
    }

    /// The moment that a number stands for, or the midnight of a date where days are counted. Anything else stays what it
    /// is, a number among it that stands for no moment of the years 1 to 9999.
    #[must_use]
    pub fn read(self, field: Field) -> Field {
        let moment = match &field {
            Field::Integer(count) => moment(i128::from(*count) * self.nanoseconds()),
            Field::Number(text) => self.parse(text).and_then(moment),
            Field::Date(date) if self == Self::Days => {
                Some(date.and_time(chrono::NaiveTime::MIN).and_utc())
            }
            _ => None,
        };
        moment.map_or(field, Field::Instant)
    }

    /// In nanoseconds, cut after them.
    fn parse(self, text: &str) -> Option<i128> {
        /// Of a unit.
        const FRACTION: usize = 18;
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = &fraction[..fraction.len().min(FRACTION)];
        let whole = i128::from(whole.parse::<u64>().ok()?) * self.nanoseconds();
        let fraction = format!("{fraction:0<FRACTION$}").parse::<i128>().ok()?;
        let fraction = fraction * self.nanoseconds() / 10_i128.pow(18);
        Some(sign * (whole + fraction))
    }
}

fn moment(nanoseconds: i128) -> Option<DateTime<Utc>> {
    let microseconds = i64::try_from(nanoseconds.div_euclid(1_000)).ok()?;
    DateTime::from_timestamp_micros(microseconds).filter(|at| (1..=9999).contains(&at.year()))
}

#[cfg(test)]
mod tests {
    use super::TimeUnit::{Days, Microseconds, Milliseconds, Nanoseconds, Seconds};
    use super::*;

    #[track_caller]
    fn check(unit: TimeUnit, text: &str, expected: &str) {
        let read = unit.read(Field::Number(text.into()));
        assert_eq!(read.text().as_deref(), Some(expected), "{unit:?} {text}");
        if let Ok(count) = text.parse() {
            assert_eq!(unit.read(Field::Integer(count)), read);
        }
    }

    #[test]
    fn a_number_is_a_moment_in_its_unit() {
        check(Seconds, "1705307400", "2024-01-15T08:30:00Z");
        check(Seconds, "1705307400.25", "2024-01-15T08:30:00.250Z");
        check(Milliseconds, "1705307400001", "2024-01-15T08:30:00.001Z");
        check(Microseconds, "1705307400000001", "2024-01-15T08:30:00.000001Z");
        check(Nanoseconds, "1705307400000001999", "2024-01-15T08:30:00.000001Z");
        check(Days, "19737", "2024-01-15T00:00:00Z");
        check(Seconds, "0", "1970-01-01T00:00:00Z");
        check(Seconds, "-1", "1969-12-31T23:59:59Z");
        check(Seconds, "-0.5", "1969-12-31T23:59:59.500Z");
        check(Seconds, "0.9999999999999999999999", "1970-01-01T00:00:00.999999Z");
        // Years 1 to 9999.
        check(Seconds, "-62135596800", "0001-01-01T00:00:00Z");
        check(Seconds, "253402300799", "9999-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_moment_stays_what_it_is() {
        for text in ["-62135596801", "253402300800", "1705307400000001999", "99999999999999999999"]
        {
            let number = Field::Number(text.into());
            assert_eq!(Seconds.read(number.clone()), number);
        }
        let date = Field::Date("2024-01-15".parse().unwrap());
        assert_eq!(Days.read(date.clone()).text().as_deref(), Some("2024-01-15T00:00:00Z"));
        for field in [date, Field::Text("1705307400".into()), Field::Null, Field::Absent] {
            assert_eq!(Seconds.read(field.clone()), field);
        }
    }
}
