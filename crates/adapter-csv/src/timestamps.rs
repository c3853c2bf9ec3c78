//! Timestamps in the formats that are set.

use std::fmt::Write;

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta};
use tally_domain::{ByteString, Field, timestamp};

/// A moment that every format can show and read again: 2001-02-03 16:05:06.789 UTC.
const SAMPLE: i64 = 981_216_306_789;

/// The formats of `csv.timestamp_formats`, in their order.
#[derive(Debug, Default)]
pub struct Formats(Vec<Format>);

#[derive(Debug)]
struct Format {
    items: Vec<Item<'static>>,
    /// Whether it has no time of day: a timestamp is then at midnight.
    is_date: bool,
}

impl Formats {
    /// Fails for a format that strftime does not know, or from which no date can be read.
    pub fn new(formats: &[String]) -> Result<Self, String> {
        let format = |text: &String| {
            let problem = |what| format!("csv.timestamp_formats: {text:?} {what}");
            let items = StrftimeItems::new(text).parse_to_owned();
            let items = items.map_err(|_| problem("is not a format of strftime, like %d/%m/%Y"))?;
            Format::new(items)
                .ok_or_else(|| problem("names no date, or only a part of a time of day"))
        };
        formats.iter().map(format).collect::<Result<_, _>>().map(Self)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the field holds by the first format that fits. A blank one stays.
    pub fn read(&self, field: &mut Field) {
        let Field::Text(text) = field else { return };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return;
        }
        *field = match self.0.iter().find_map(|format| format.read(trimmed)) {
            Some(at) => Field::Timestamp(at),
            None => Field::Unreadable(ByteString::clone(text)),
        };
    }
}

impl Format {
    fn new(items: Vec<Item<'static>>) -> Option<Self> {
        let sample = DateTime::from_timestamp_millis(SAMPLE)?;
        let mut shown = String::new();
        write!(shown, "{}", sample.format_with_items(items.iter())).ok()?;
        let parsed = parsed(&shown, &items)?;
        let is_date = parsed.hour_div_12().is_none()
            && parsed.hour_mod_12().is_none()
            && parsed.minute().is_none()
            && parsed.second().is_none()
            && parsed.nanosecond().is_none()
            && parsed.timestamp().is_none();
        let format = Self { items, is_date };
        format.read(&shown).is_some().then_some(format)
    }

    /// With an offset in UTC, without one as it is written.
    fn read(&self, text: &str) -> Option<NaiveDateTime> {
        let parsed = parsed(text, &self.items)?;
        let offset = parsed.offset().unwrap_or(0);
        let local = if self.is_date {
            parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN)
        } else {
            parsed.to_naive_datetime_with_offset(offset).ok()?
        };
        timestamp::stored(local.checked_sub_signed(TimeDelta::seconds(offset.into()))?)
    }
}

fn parsed(text: &str, items: &[Item<'_>]) -> Option<Parsed> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, items.iter()).ok()?;
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(formats: &[&str]) -> Result<Formats, String> {
        Formats::new(&formats.iter().map(|&format| format.to_owned()).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(set: &[&str], text: &str, expected: Option<&str>) {
        let mut field = Field::Text(text.into());
        formats(set).unwrap().read(&mut field);
        let found = match &field {
            Field::Timestamp(at) => Some(at.to_string()),
            Field::Unreadable(_) => None,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn the_first_format_that_fits_counts() {
        let set = ["%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"];
        check(&set, " 01/02/2024 03:04:05 ", Some("2024-02-01 03:04:05"));
        check(&set, "01/15/2024 03:04:05", Some("2024-01-15 03:04:05"));
        check(&set, "15/15/2024 03:04:05", None);
        check(&set, "2024-01-15 03:04:05", None);
        check(&set, "01/02/2024 03:04:05 and more", None);
    }

    #[test]
    fn a_date_alone_is_midnight_and_a_time_may_lack_seconds() {
        check(&["%d.%m.%y"], "15.01.24", Some("2024-01-15 00:00:00"));
        check(&["%d.%m.%Y %H:%M"], "15.01.2024 08:30", Some("2024-01-15 08:30:00"));
        check(&["%m/%d/%Y %I:%M %p"], "01/15/2024 08:30 PM", Some("2024-01-15 20:30:00"));
    }

    #[test]
    fn an_offset_leads_to_utc_and_fractions_are_cut() {
        check(&["%d/%m/%Y %H:%M %z"], "15/01/2024 00:30 +0200", Some("2024-01-14 22:30:00"));
        check(&["%Y%m%d%H%M%S%.f"], "20240115083000.1234567", Some("2024-01-15 08:30:00.123456"));
        check(&["%s"], "1705307400", Some("2024-01-15 08:30:00"));
    }

    #[test]
    fn what_does_not_exist_is_none() {
        check(&["%d/%m/%Y"], "30/02/2024", None);
        check(&["%d/%m/%Y"], "01/01/0000", None);
        check(&["%Y-%m-%d %H:%M:%S"], "2024-01-15 23:59:60", None);
    }

    #[test]
    fn a_blank_stays() {
        let mut field = Field::Text("  ".into());
        formats(&["%F"]).unwrap().read(&mut field);
        assert_eq!(field, Field::Text("  ".into()));
    }

    #[test]
    fn a_format_that_can_read_nothing_is_named() {
        for (set, problem) in [
            ("%Q", "is not a format of strftime, like %d/%m/%Y"),
            ("%", "is not a format of strftime, like %d/%m/%Y"),
            ("%d/%m", "names no date, or only a part of a time of day"),
            ("%H:%M", "names no date, or only a part of a time of day"),
            ("%d/%m/%Y %H", "names no date, or only a part of a time of day"),
            ("%d/%m/%Y %I:%M", "names no date, or only a part of a time of day"),
            ("", "names no date, or only a part of a time of day"),
        ] {
            let error = formats(&["%F", set]).unwrap_err();
            assert_eq!(error, format!("csv.timestamp_formats: {set:?} {problem}"));
        }
    }
}
