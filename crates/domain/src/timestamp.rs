//! Timestamps in texts.

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};

/// The length of a timestamp without its seconds.
const MINUTES: usize = "YYYY-MM-DDTHH:MM".len();

/// `YYYY-MM-DD`, `T` or a blank, `HH:MM`, optionally `:SS`, then optionally a fraction (cut after microseconds), optionally
/// `Z` or an offset (`+02:00`, `+0200`, `+02`). With an offset the result is in UTC, without one it is what was written.
/// Years 1 to 9999. `None` for anything else, a date that does not exist and a leap second among it.
pub fn parse(text: &str) -> Option<NaiveDateTime> {
    if !text.is_ascii() || text.len() < MINUTES {
        return None;
    }
    if matches!(text.as_bytes().get(MINUTES), None | Some(b'Z' | b'z' | b'+' | b'-')) {
        let (minutes, offset) = text.split_at(MINUTES);
        return parse(&format!("{minutes}:00{offset}"));
    }
    if text.len() < "YYYY-MM-DDTHH:MM:SS".len() {
        return None;
    }
    // RFC 3339 requires an offset with a colon; its other checks are the ones needed here.
    let (clock, offset) = match text[19..].find(['Z', 'z', '+', '-']) {
        Some(at) => text.split_at(19 + at),
        None => (text, "Z"),
    };
    let moment = match offset.as_bytes() {
        [b'+' | b'-', _, _] => rfc3339(&format!("{clock}{offset}:00")),
        [b'+' | b'-', _, _, b'0'..=b'9', _] => {
            let (hours, minutes) = offset.split_at(3);
            rfc3339(&format!("{clock}{hours}:{minutes}"))
        }
        _ if clock.len() == text.len() => rfc3339(&format!("{text}Z")),
        _ => rfc3339(text),
    }?;

    stored(moment.naive_utc())
}

/// The moment cut after microseconds; `None` for a leap second and outside of the years 1 to 9999.
pub fn stored(at: NaiveDateTime) -> Option<NaiveDateTime> {
    let leap_second = at.nanosecond() >= 1_000_000_000;
    if leap_second || !(1..=9999).contains(&at.year()) {
        return None;
    }
    at.with_nanosecond(at.nanosecond() / 1_000 * 1_000)
}

/// The moment that a JSON number of seconds since 1970 is, to the nanosecond.
pub fn of_seconds(seconds: &str) -> Option<DateTime<Utc>> {
    if seconds.contains(['e', 'E']) {
        // Written out without an exponent.
        return of_seconds(&seconds.parse::<f64>().ok()?.to_string());
    }
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let nanoseconds =
        if fraction.is_empty() { 0 } else { format!("{fraction:0<9.9}").parse().ok()? };
    DateTime::from_timestamp(whole.parse().ok()?, nanoseconds)
}

fn rfc3339(text: &str) -> Option<DateTime<chrono::FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).map(|at| at.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn without_an_offset_it_stays() {
        check("2024-02-29 23:59:59", Some("2024-02-29 23:59:59"));
        check("2024-01-15T08:30:00", Some("2024-01-15 08:30:00"));
        check("2024-01-15T08:30:00.5", Some("2024-01-15 08:30:00.500"));
        check("2024-01-15T08:30:00.123456789", Some("2024-01-15 08:30:00.123456"));
    }

    #[test]
    fn with_an_offset_it_becomes_utc() {
        check("2024-01-15T08:30:00Z", Some("2024-01-15 08:30:00"));
        check("2024-01-15T00:30:00+02:00", Some("2024-01-14 22:30:00"));
        check("2024-01-15 00:30:00.25-0130", Some("2024-01-15 02:00:00.250"));
        check("2024-01-15 00:30:00+00", Some("2024-01-15 00:30:00"));
    }

    #[test]
    fn seconds_may_be_missing() {
        check("2024-01-15 08:30", Some("2024-01-15 08:30:00"));
        check("2024-01-15T00:30+02:00", Some("2024-01-14 22:30:00"));
        check("2024-01-15T08:30Z", Some("2024-01-15 08:30:00"));
        check("2024-01-15 08:30.5", None);
        check("2024-01-15 08:30:", None);
        check("2024-01-15 08:3", None);
        check("2024-01-15 08:60", None);
    }

    #[test]
    fn anything_else_is_no_timestamp() {
        for text in [
            "",
            "2024-01-15",
            "2024-02-30 10:00:00",
            "2023-02-29 10:00:00",
            "2024-13-01 10:00:00",
            "2024-01-15 24:00:00",
            "2024-01-15 23:59:60",
            "2024-01-15  10:00:00",
            "15/01/2024 10:00:00",
            "2024-1-5 10:00:00.00",
            "0000-01-01 00:00:00",
            "2024-01-15 10:00:00 ",
            "2024-01-15 10:00:00+",
            "2024-01-15 10:00:00+1",
            "2024-01-15 10:00:00.",
            "+2024-01-15 10:00:00",
            "2024-01-15 10:00:00Z0",
            "2024-01-15 10:00:00+25:00x",
            "9999-12-31 23:59:59-01:00",
            "２０２４-01-15 10:00:00",
        ] {
            check(text, None);
        }
    }
}
