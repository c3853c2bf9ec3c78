//! What a dead letter is on a topic.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use tally_ports::RelayedDeadLetter;
use tally_ports::dead_letter::{TRUNCATED, headers_to_json};
use tally_ports::position::FILE;

/// A dead letter as `service` tells of it. Serializes as the JSON event, and for binary formats as `dlqs_v1`.
#[derive(Clone, Copy)]
pub(super) struct Event<'a> {
    letter: &'a RelayedDeadLetter,
    service: &'a str,
    kept: Kept,
}

/// How much of a dead letter its event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    payload: usize,
    headers: bool,
    key: bool,
}

impl<'a> Event<'a> {
    /// The whole of it.
    pub(super) fn new(letter: &'a RelayedDeadLetter, service: &'a str) -> Self {
        let payload = letter.raw.payload.as_ref().map_or(0, Bytes::len);
        Self { letter, service, kept: Kept { payload, headers: true, key: true } }
    }

    /// The same with less in it: half the payload, or no headers, whichever is more; at last no key. `None` when nothing
    /// can be left out any more.
    pub(super) fn cut(self) -> Option<Self> {
        let headers = &self.letter.raw.headers;
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let headers = headers.iter().map(|(name, value)| name.len() + length(value)).sum::<usize>();
        let mut kept = self.kept;
        if kept.headers && headers > kept.payload {
            kept.headers = false;
        } else if kept.payload > 0 {
            kept.payload /= 2;
        } else if kept.key {
            kept.key = false;
        } else {
            return None;
        }
        Some(Self { kept, ..self })
    }

    /// The record's key, or the dead letter's id where it has none.
    pub(super) fn key(&self) -> Bytes {
        let key = self.letter.raw.key.clone().filter(|_| self.kept.key);
        key.unwrap_or_else(|| self.letter.id.to_string().into())
    }

    /// Kafka Connect's names for what happened, as its dead letter queues have them, and what tells dead letters apart.
    pub(super) fn headers(&self) -> Vec<(Bytes, Option<Bytes>)> {
        let RelayedDeadLetter { id, partition, position, attempt, stage, code, message, .. } =
            self.letter;
        let connect = |name| format!("__connect.errors.{name}");
        let mut headers: Vec<(String, Bytes)> = vec![
            (connect("partition"), partition.to_string().into()),
            (connect("offset"), position.to_string().into()),
            (connect("connector.name"), self.service.to_owned().into()),
            (connect("stage"), stage.clone().into()),
            (connect("exception.class.name"), code.clone().into()),
            (connect("exception.message"), message.clone().into()),
            ("tally.dead_letter.id".into(), id.to_string().into()),
            ("tally.dead_letter.attempt".into(), attempt.to_string().into()),
        ];
        if let Some(topic) = self.topic() {
            headers.push((connect("topic"), topic.to_owned().into()));
        }
        headers.into_iter().map(|(name, value)| (name.into(), Some(value))).collect()
    }

    /// The topic it was read from. A topic's name has no slash.
    fn topic(&self) -> Option<&'a str> {
        let stream = &self.letter.stream;
        if stream.starts_with(FILE) {
            return None;
        }
        stream.rsplit('/').next()
    }

    /// The payload as text, and how.
    fn payload(&self) -> (Option<Cow<'a, str>>, &'static str) {
        let Some(payload) = &self.letter.raw.payload else { return (None, "none") };
        let kept = self.kept.payload.min(payload.len());
        match str::from_utf8(payload) {
            Ok(text) => (Some(Cow::Borrowed(&text[..text.floor_char_boundary(kept)])), "utf8"),
            Err(_) => (Some(Cow::Owned(BASE64_STANDARD.encode(&payload[..kept]))), "base64"),
        }
    }

    /// Whether the record had more than the event, or than the store.
    fn is_truncated(&self) -> bool {
        let raw = &self.letter.raw;
        let payload = raw.payload.as_ref().map_or(0, Bytes::len);
        self.kept.payload < payload
            || !self.kept.headers && !raw.headers.is_empty()
            || raw.has_header(TRUNCATED)
    }
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_json = serializer.is_human_readable();
        let letter = self.letter;
        let topic = self.topic();
        let (payload, encoding) = self.payload();
        let headers = if self.kept.headers {
            headers_to_json(&letter.raw.headers)
        } else {
            serde_json::Value::Array(Vec::new())
        };
        let failed_at = letter.failed_at.and_utc();

        let mut event = serializer.serialize_struct("DeadLetter", 17)?;
        event.serialize_field("id", letter.id.as_hyphenated())?;
        event.serialize_field("attempt", &letter.attempt)?;
        event.serialize_field("flow", &letter.flow)?;
        event.serialize_field("stream", &letter.stream)?;
        event.serialize_field("topic", &topic)?;
        event.serialize_field("partition", &letter.partition)?;
        event.serialize_field("offset", &letter.position)?;
        if is_json {
            event.serialize_field("failed_at", &failed_at)?;
        } else {
            event.serialize_field("failed_at", &failed_at.timestamp_micros())?;
        }
        event.serialize_field("service", self.service)?;
        event.serialize_field("source", if topic.is_some() { "kafka" } else { "file" })?;
        event.serialize_field("stage", &letter.stage)?;
        event.serialize_field("error_type", &letter.code)?;
        event.serialize_field("error_message", &letter.message)?;
        event.serialize_field(if is_json { "payload" } else { "payload_json" }, &payload)?;
        event.serialize_field("payload_encoding", encoding)?;
        event.serialize_field("truncated", &self.is_truncated())?;
        if is_json {
            event.serialize_field("headers", &headers)?;
        } else {
            event.serialize_field("headers_json", &headers.to_string())?;
        }
        event.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tally_ports::Raw;
    use uuid::Uuid;

    use super::*;

    fn letter(
        stream: &str,
        payload: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) -> RelayedDeadLetter {
        let headers: Vec<(String, Option<Bytes>)> = headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), Some(Bytes::copy_from_slice(value))))
            .collect();
        let payload = payload.map(Bytes::copy_from_slice);
        RelayedDeadLetter {
            id: Uuid::from_u128(0xab),
            flow: "transactions".into(),
            stream: stream.into(),
            partition: 3,
            pass: 1,
            position: 41,
            attempt: 2,
            raw: Raw {
                key: Some("key".into()),
                payload,
                headers: Arc::from(headers),
                ..Raw::default()
            },
            stage: "validate".into(),
            code: "amount_missing".into(),
            message: "amount is missing".into(),
            failed_at: "2026-11-21T10:00:00.25".parse().unwrap(),
        }
    }

    fn to_json(event: Event<'_>) -> Value {
        serde_json::to_value(event).unwrap()
    }

    #[test]
    fn a_topics_dead_letter() {
        let letter = letter("team/a/transactions", Some(b"{}"), &[("trace", b"\xff")]);
        let event = Event::new(&letter, "kafka-consumer");
        assert_eq!(
            to_json(event),
            json!({
                "id": "00000000-0000-0000-0000-0000000000ab",
                "attempt": 2,
                "flow": "transactions",
                "stream": "team/a/transactions",
                "topic": "transactions",
                "partition": 3,
                "offset": 41,
                "failed_at": "2026-11-21T10:00:00.250Z",
                "service": "kafka-consumer",
                "source": "kafka",
                "stage": "validate",
                "error_type": "amount_missing",
                "error_message": "amount is missing",
                "payload": "{}",
                "payload_encoding": "utf8",
                "truncated": false,
                "headers": [["trace", "/w=="]],
            })
        );
        assert_eq!(event.key(), "key");
        let headers = event.headers();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (str::from_utf8(name).unwrap(), value.as_deref().unwrap()))
            .collect();
        let connect: [(&str, &[u8]); 9] = [
            ("__connect.errors.partition", b"3"),
            ("__connect.errors.offset", b"41"),
            ("__connect.errors.connector.name", b"kafka-consumer"),
            ("__connect.errors.stage", b"validate"),
            ("__connect.errors.exception.class.name", b"amount_missing"),
            ("__connect.errors.exception.message", b"amount is missing"),
            ("tally.dead_letter.id", b"00000000-0000-0000-0000-0000000000ab"),
            ("tally.dead_letter.attempt", b"2"),
            ("__connect.errors.topic", b"transactions"),
        ];
        assert_eq!(headers, connect);
    }

    #[test]
    fn a_files_dead_letter_has_no_topic() {
        let mut letter = letter("file/00ff", Some(b"1;2"), &[]);
        letter.raw.key = None;
        let event = Event::new(&letter, "csv-runner");
        let json = to_json(event);
        assert_eq!((&json["topic"], &json["source"]), (&Value::Null, &json!("file")));
        assert_eq!(event.key(), "00000000-0000-0000-0000-0000000000ab");
        assert!(event.headers().iter().all(|(name, _)| name != "__connect.errors.topic"));
    }

    #[test]
    fn payloads_are_text_base64_or_none() {
        let check = |payload: Option<&[u8]>, expected: Value, encoding: &str| {
            let letter = letter("g/t", payload, &[]);
            let json = to_json(Event::new(&letter, "s"));
            assert_eq!(json["payload"], expected);
            assert_eq!(json["payload_encoding"], encoding);
        };
        check(Some("é\u{0}".as_bytes()), json!("é\u{0}"), "utf8");
        check(Some(b""), json!(""), "utf8");
        check(Some(b"\x00\x00\x00\x00\x07\xff"), json!("AAAAAAf/"), "base64");
        check(None, Value::Null, "none");
    }

    /// Cuts `times` times, and shows the payload, the number of headers and the key.
    #[track_caller]
    fn check_cut(letter: &RelayedDeadLetter, times: usize, expected: Option<(&str, usize, &str)>) {
        let event = (0..times).try_fold(Event::new(letter, "s"), |event, _| event.cut());
        let shown = event.map(|event| {
            let json = to_json(event);
            assert_eq!(json["truncated"], times > 0);
            let headers = json["headers"].as_array().unwrap().len();
            let key = String::from_utf8(event.key().to_vec()).unwrap();
            (json["payload"].as_str().unwrap().to_owned(), headers, key)
        });
        let shown = shown.as_ref().map(|(payload, headers, key)| (&**payload, *headers, &**key));
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_too_large_is_cut_between_characters() {
        let letter = letter("g/t", Some("aébcdef".as_bytes()), &[("h", b"2")]);
        check_cut(&letter, 0, Some(("aébcdef", 1, "key")));
        check_cut(&letter, 1, Some(("aéb", 1, "key")));
        check_cut(&letter, 2, Some(("a", 1, "key")));
        check_cut(&letter, 3, Some(("a", 1, "key")));
        check_cut(&letter, 4, Some(("a", 0, "key")));
        check_cut(&letter, 5, Some(("", 0, "key")));
        check_cut(&letter, 6, Some(("", 0, "00000000-0000-0000-0000-0000000000ab")));
        check_cut(&letter, 7, None);
    }

    #[test]
    fn headers_that_are_more_than_the_payload_go_first() {
        let letter = letter("g/t", Some(b"ab"), &[("long", b"value")]);
        check_cut(&letter, 1, Some(("ab", 0, "key")));
    }

    #[test]
    fn what_the_store_has_cut_is_truncated() {
        let letter = letter("g/t", Some(b"ab"), &[(TRUNCATED, b"true")]);
        assert_eq!(to_json(Event::new(&letter, "s"))["truncated"], true);
    }
}
