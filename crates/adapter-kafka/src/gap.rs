//! A range of a log that cannot be read.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use tally_ports::{Stop, StopKind};

/// A range of a log that cannot be read, as a stop names it and `--accept-gap` takes it:
/// `TOPIC/PARTITION@FIRST-LAST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The topic.
    pub topic: String,
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The last offset, inclusive.
    pub last: i64,
    /// Where reading can resume. Not part of the text: a parsed gap resumes after `last`.
    pub resume: i64,
    /// Whether the topic was recreated since the range was read. Not part of the text either.
    pub is_recreated: bool,
    /// The cursor where reading can resume. Not part of the text either: a parsed gap has none.
    pub cursor: Value,
    /// Why the range cannot be read. Not part of the text either: a parsed gap has no reason.
    pub why: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, first, last, .. } = self;
        write!(f, "{topic}/{partition}@{first}-{last}")
    }
}

impl FromStr for Gap {
    type Err = Stop;

    fn from_str(text: &str) -> Result<Self, Stop> {
        parse(text).ok_or_else(|| Stop {
            kind: StopKind::Setting,
            message: "a range has the form TOPIC/PARTITION@FIRST-LAST".to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Gap> {
    let (place, range) = text.rsplit_once('@')?;
    let (topic, partition) = place.rsplit_once('/')?;
    let (first, last) = range.split_once('-')?;
    let partition = i32::try_from(number(partition)?).ok()?;
    let (first, last) = (number(first)?, number(last)?);
    let is_range = !topic.is_empty() && first <= last && last < i64::MAX;
    is_range.then(|| Gap {
        topic: topic.to_owned(),
        partition,
        first,
        last,
        resume: last + 1,
        is_recreated: false,
        cursor: Value::Null,
        why: String::new(),
    })
}

/// Digits and nothing else.
fn number(text: &str) -> Option<i64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_parsed() {
        let gap = Gap {
            topic: "bank.transactions-v1".to_owned(),
            partition: 3,
            first: 0,
            last: 99,
            resume: 100,
            is_recreated: false,
            cursor: Value::Null,
            why: String::new(),
        };
        assert_eq!(gap.to_string(), "bank.transactions-v1/3@0-99");
        assert_eq!(gap.to_string().parse(), Ok(gap));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "t",
            "t/0",
            "t/0@1",
            "t/0@2-1",
            "/0@1-2",
            "t/-1@1-2",
            "t/0@-1-2",
            "t/0@+1-2",
            "t/0@1-",
            "t@1-2",
            "t/0@1-9223372036854775807",
            "t/0@1-2 ",
        ] {
            assert!(text.parse::<Gap>().is_err(), "{text}");
        }
    }
}
