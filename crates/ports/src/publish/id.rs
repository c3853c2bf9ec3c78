//! Which record a publication comes from.

use std::fmt;
use std::str::FromStr;

/// The Nth record that the one at a position of a log publishes: the header `tally.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationId<'a> {
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: &'a str,
    /// 0 for a file.
    pub partition: i32,
    /// Which log of that name it is, from 1.
    pub log: i64,
    /// The record's position.
    pub position: i64,
    /// Which of its publications, from 0.
    pub n: u32,
}

impl<'a> PublicationId<'a> {
    /// The id that a text is, exactly as it is written.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.rsplitn(5, '/');
        let (n, position) = (number(parts.next()?)?, number(parts.next()?)?);
        let (log, partition) = (number(parts.next()?)?, number(parts.next()?)?);
        Some(Self { stream: parts.next()?, partition, log, position, n })
    }
}

/// A number that is not negative, without zeros before it.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_shortest = text == "0" || !text.starts_with('0');
    if is_plain && is_shortest { text.parse().ok() } else { None }
}

impl fmt::Display for PublicationId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, partition, log, position, n } = self;
        write!(f, "{stream}/{partition}/{log}/{position}/{n}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id =
            PublicationId { stream: "group/a/topic", partition: 2, log: 1, position: 40, n: 3 };
        assert_eq!(id.to_string(), "group/a/topic/2/1/40/3");
        assert_eq!(PublicationId::parse("group/a/topic/2/1/40/3"), Some(id));
        for text in [
            "",
            "s/0/1/2",
            "s/0/1/+2/0",
            "s/0/1/02/0",
            "s/0/1/-2/0",
            "s/0/1/2/",
            "s/0/1/2/5000000000",
        ] {
            assert_eq!(PublicationId::parse(text), None, "{text}");
        }
    }
}
