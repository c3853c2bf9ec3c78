//! Records that a flow publishes to topics.

use std::fmt;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::flow::{Flow, Name};
use crate::record::Record;

/// The headers whose names begin so are the engine's.
pub const RESERVED_HEADERS: &str = "tally.";

/// One of the topics that a flow publishes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name in the settings.
    pub name: Name,
    /// The topic where no setting names one.
    pub topic: Name,
    /// The field that the engine adds to its values, JSON objects: when the record was processed. A flow has no clock.
    pub processed_at: Option<Name>,
}

impl Output {
    /// An output with its topic.
    pub const fn new(name: &'static str, topic: &'static str) -> Self {
        let (name, topic) = (Name::Borrowed(name), Name::Borrowed(topic));
        Self { name, topic, processed_at: None }
    }

    /// The same, with the time at which a record was processed in this field of its value.
    #[must_use]
    pub fn with_processed_at(self, field: &'static str) -> Self {
        Self { processed_at: Some(Name::Borrowed(field)), ..self }
    }
}

/// A record for a topic. Its `Debug` shows no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Publication {
    /// The index of the topic among [`Flow::outputs`].
    pub output: usize,
    /// Publications of one key go to one partition, in order.
    pub key: Option<Bytes>,
    /// Its content; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order. No name may begin with [`RESERVED_HEADERS`].
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").field("output", &self.output).finish_non_exhaustive()
    }
}

/// Adds the time `at` to what `records` publish to outputs that have a [field](Output::processed_at) for it: as the last member of
/// the object, RFC 3339 in UTC, to the microsecond.
pub fn add_processed_at<'a>(
    flow: &dyn Flow,
    records: impl Iterator<Item = &'a mut Record>,
    at: DateTime<Utc>,
) {
    let outputs = flow.outputs();
    if outputs.iter().all(|output| output.processed_at.is_none()) {
        return;
    }
    let text = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let member = |field: &Name| format!("\"{field}\":\"{text}\"}}");
    let members: Vec<_> =
        outputs.iter().map(|output| output.processed_at.as_ref().map(member)).collect();
    for publication in records.flat_map(|record| &mut record.publications) {
        let Some(Some(member)) = members.get(publication.output) else { continue };
        let Some(object) = publication.value.as_ref().and_then(|value| value.strip_suffix(b"}"))
        else {
            continue;
        };
        let mut value = BytesMut::with_capacity(object.len() + 1 + member.len());
        value.extend_from_slice(object);
        if object != b"{" {
            value.extend_from_slice(b",");
        }
        value.extend_from_slice(member.as_bytes());
        publication.value = Some(value.freeze());
    }
}

/// A published value without the `field` that [`add_processed_at`] added; as it is, where it has none.
pub fn without_processed_at(value: &Bytes, field: &str) -> Bytes {
    /// `"2026-11-30T12:34:56.123456Z"}`
    const TIME: usize = 30;
    let member = format!("\"{field}\":");
    let added = value.len().checked_sub(member.len() + TIME);
    let Some(object) = added.filter(|&added| value[added..].starts_with(member.as_bytes())) else {
        return value.clone();
    };
    let object = value[..object].strip_suffix(b",").unwrap_or(&value[..object]);
    [object, b"}"].concat().into()
}

/// Checks that what a record publishes fits the flow's description.
///
/// # Errors
/// What is wrong, to follow the name of the flow: a bug in it.
pub fn check(flow: &dyn Flow, record: &Record) -> Result<(), String> {
    for publication in &record.publications {
        if publication.output >= flow.outputs().len() {
            return Err("publishes to an output that it does not describe".to_owned());
        }
        let reserved =
            publication.headers.iter().find(|(name, _)| name.starts_with(RESERVED_HEADERS));
        if let Some((name, _)) = reserved {
            return Err(format!("publishes a header {name:?}, a name that the engine reserves"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Incoming, Reason, Table};

    #[derive(Debug)]
    struct Published([Output; 2]);

    impl Flow for Published {
        fn name(&self) -> &'static str {
            "published"
        }

        fn columns(&self) -> &[Column] {
            &[]
        }

        fn tables(&self) -> &[Table] {
            &[]
        }

        fn outputs(&self) -> &[Output] {
            &self.0
        }

        fn read(&self, _: Incoming<'_>) -> Result<Record, Reason> {
            Ok(Record::default())
        }
    }

    #[test]
    fn the_time_is_the_last_member_of_objects_and_can_be_left_out_again() {
        let outputs =
            [Output::new("timed", "a").with_processed_at("done"), Output::new("plain", "b")];
        let publication = |output, value: Option<&'static str>| Publication {
            output,
            value: value.map(Bytes::from),
            ..Publication::default()
        };
        let values =
            [(0, Some("{\"a\":1}")), (0, Some("{}")), (0, None), (0, Some("[]")), (1, Some("{}"))];
        let publications = values.map(|(output, value)| publication(output, value)).into();
        let mut record = Record { publications, ..Record::default() };
        let at = "2026-11-30T12:34:56.1234567Z".parse().unwrap();
        add_processed_at(&Published(outputs), std::iter::once(&mut record), at);

        let time = "\"done\":\"2026-11-30T12:34:56.123456Z\"";
        let expected = [
            Some(format!("{{\"a\":1,{time}}}")),
            Some(format!("{{{time}}}")),
            None,
            Some("[]".to_owned()),
            Some("{}".to_owned()),
        ];
        let added = record.publications.iter().map(|publication| publication.value.clone());
        assert_eq!(added.clone().collect::<Vec<_>>(), expected.map(|value| value.map(Bytes::from)));
        for (added, (_, before)) in added.zip(values) {
            let before = before.map(Bytes::from);
            assert_eq!(added.map(|added| without_processed_at(&added, "done")), before);
        }
    }
}
