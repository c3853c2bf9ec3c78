//! Where reading begins.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use tally_ports::{Stop, StopKind};

/// Where reading begins; `earliest`, `latest` or a timestamp as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record that the log still has.
    Earliest,
    /// Behind the last one.
    Latest,
    /// At the first record of this time or later.
    At(DateTime<Utc>),
}

impl FromStr for Start {
    type Err = Stop;

    fn from_str(text: &str) -> Result<Self, Stop> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match tally_domain::timestamp::parse(text) {
                Some(time) => Ok(Self::At(time.and_utc())),
                None => Err(Stop {
                    kind: StopKind::Setting,
                    message: format!("{text:?} is neither earliest, latest nor a timestamp"),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Start) {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }

    #[test]
    fn texts_are_parsed() {
        check("earliest", Start::Earliest);
        check("latest", Start::Latest);
        let time = DateTime::from_timestamp(1_705_307_400, 0).unwrap();
        check("2024-01-15T08:30:00Z", Start::At(time));
        check("2024-01-15 09:30:00+01:00", Start::At(time));
        check("2024-01-15 08:30:00", Start::At(time));
        for text in ["", "Earliest", "now", "2024-01-15", "0"] {
            assert!(text.parse::<Start>().is_err(), "{text}");
        }
    }
}
