//! A record as a line.

use std::fmt::Write as _;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tally_adapter_kafka::wire::{Value, Viewed};
use tally_app::bytes::{encoded, hex, inline};

use super::reading::Record;

/// How many bytes are shown of a value that is not JSON.
const BYTES_SHOWN: usize = 64;

/// For people: `0@7  2024-01-15T08:30:00.000Z  5m ago  key=7  [a=1]  {"id":7}`.
pub fn text(record: &Record, viewed: &Viewed, now: DateTime<Utc>) -> String {
    let Record { partition, offset, raw } = record;
    let time = raw.timestamp.map_or_else(|| "-".to_owned(), timestamp);
    let age = raw.timestamp.map_or_else(|| "-".to_owned(), |at| age(now - at));
    let key = format!("key={}", inline(viewed.key.as_deref()));
    let mut parts = vec![format!("{partition}@{offset}"), time, age, key];
    let header =
        |(name, value): &(String, Option<Bytes>)| format!("{name}={}", inline(value.as_deref()));
    let headers: Vec<String> = viewed.headers.iter().map(header).collect();
    if !headers.is_empty() {
        parts.push(format!("[{}]", headers.join(", ")));
    }
    parts.push(match &viewed.value {
        None => "null".to_owned(),
        Some(Value::Json(text) | Value::Hidden(text)) => text.clone(),
        Some(Value::Bytes(bytes)) => dump(bytes),
    });
    escaped(&parts.join("  "))
}

/// For scripts: a JSON object, whose names are stable.
pub fn json(topic: &str, record: &Record, viewed: &Viewed) -> String {
    let (key, key_encoding) = encoded(viewed.key.as_deref());
    let header = |(name, value): &(String, Option<Bytes>)| {
        let (value, value_encoding) = encoded(value.as_deref());
        HeaderJson { name: name.clone(), value, value_encoding }
    };
    let as_text = |text: Option<String>| text.and_then(|text| to_raw_value(&text).ok());
    let (value, value_encoding) = match &viewed.value {
        Some(Value::Json(json)) => (RawValue::from_string(json.clone()).ok(), "json"),
        Some(Value::Hidden(text)) => (as_text(Some(text.clone())), "masked"),
        Some(Value::Bytes(bytes)) => {
            let (text, encoding) = encoded(Some(bytes));
            (as_text(text), encoding)
        }
        None => (None, "none"),
    };
    let json = RecordJson {
        topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.raw.timestamp.map(timestamp),
        key,
        key_encoding,
        headers: viewed.headers.iter().map(header).collect(),
        value,
        value_encoding,
    };
    // Nothing in it fails.
    escaped(&serde_json::to_string(&json).unwrap_or_default())
}

#[derive(Serialize)]
struct RecordJson<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    key: Option<String>,
    key_encoding: &'static str,
    headers: Vec<HeaderJson>,
    value: Option<Box<RawValue>>,
    value_encoding: &'static str,
}

#[derive(Serialize)]
struct HeaderJson {
    name: String,
    value: Option<String>,
    value_encoding: &'static str,
}

fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// In the largest unit that there is one of.
fn age(age: TimeDelta) -> String {
    let seconds = age.num_seconds().abs();
    let (length, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "m"),
        3_600..86_400 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    if age < -TimeDelta::seconds(1) {
        format!("in {length}{unit}")
    } else {
        format!("{length}{unit} ago")
    }
}

/// The first bytes, how many there are, and the text that they are, if they are one.
fn dump(bytes: &[u8]) -> String {
    let length = bytes.len();
    if length == 0 {
        return inline(Some(bytes));
    }
    let more = if length > BYTES_SHOWN { "…" } else { "" };
    let text = match str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => {
            format!(": {}{more}", &text[..text.floor_char_boundary(BYTES_SHOWN)])
        }
        _ => String::new(),
    };
    format!("{}{more} ({length} bytes{text})", hex(&bytes[..length.min(BYTES_SHOWN)]))
}

/// The line with its end. Control characters, which a terminal would obey, are escaped as JSON has it, which may hold some
/// of them as they are.
fn escaped(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len() + 1);
    for char in line.chars() {
        if char.is_control() {
            let _never_fails = write!(escaped, "\\u{:04x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    escaped.push('\n');
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tally_ports::Raw;

    use super::*;

    const MILLIS: i64 = 1_705_307_400_250;

    fn record(millis: Option<i64>) -> Record {
        let timestamp = millis.and_then(DateTime::from_timestamp_millis);
        Record { partition: 3, offset: 1024, raw: Raw { timestamp, ..Raw::default() } }
    }

    fn viewed(key: Option<&'static [u8]>, value: impl Into<Option<Value>>) -> Viewed {
        let (key, value) = (key.map(Bytes::from_static), value.into());
        Viewed { key, headers: Vec::new(), value, why: None }
    }

    fn bytes(bytes: &[u8]) -> Value {
        Value::Bytes(Bytes::copy_from_slice(bytes))
    }

    #[track_caller]
    fn check(value: impl Into<Option<Value>>, expected: &str) {
        let line = text(&record(None), &viewed(None, value), Utc::now());
        assert_eq!(line, format!("3@1024  -  -  key=-  {expected}\n"));
    }

    #[test]
    fn a_line_has_all_parts() {
        let mut viewed = viewed(Some(b"7"), Value::Json(r#"{"id":7}"#.to_owned()));
        let now = DateTime::from_timestamp_millis(MILLIS + 200_000).unwrap();
        let line = text(&record(Some(MILLIS)), &viewed, now);
        assert_eq!(line, "3@1024  2024-01-15T08:30:00.250Z  3m ago  key=7  {\"id\":7}\n");

        viewed.headers = vec![
            ("a".to_owned(), Some(Bytes::from_static(b"1"))),
            ("b\u{1b}".to_owned(), None),
            ("c".to_owned(), Some(Bytes::from_static(b"\xff"))),
        ];
        let line = text(&record(Some(MILLIS)), &viewed, now);
        assert!(line.contains("  key=7  [a=1, b\\u001b=-, c=0xff]  {"), "{line}");
    }

    #[test]
    fn what_is_not_json_is_hexadecimal_of_bounded_length() {
        check(None::<Value>, "null");
        check(bytes(b""), "(empty)");
        check(bytes(b"\x00\xff"), "0x00ff (2 bytes)");
        check(bytes("né".as_bytes()), "0x6ec3a9 (3 bytes: né)");
        check(bytes(b"a\x1b[31m"), "0x611b5b33316d (6 bytes)");
        let long = "é".repeat(1_000);
        let shown = format!("0x{}… (2000 bytes: {}…)", "c3a9".repeat(32), "é".repeat(32));
        check(bytes(long.as_bytes()), &shown);
        let odd = format!("0x61{}c3… (2001 bytes: a{}…)", "c3a9".repeat(31), "é".repeat(31));
        check(bytes(format!("a{long}").as_bytes()), &odd);
        check(Value::Hidden("9 bytes, BLAKE3 ab".to_owned()), "9 bytes, BLAKE3 ab");
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let value = || Value::Json("\"\u{9b}31m\u{7f}é\"".to_owned());
        check(value(), "\"\\u009b31m\\u007fé\"");
        let line = json("t", &record(None), &viewed(Some(b"\x1b\n"), value()));
        assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&read["value"], &read["key"]),
            (&json!("\u{9b}31m\u{7f}é"), &json!("\u{1b}\n"))
        );
    }

    #[test]
    fn json_says_how_each_part_is_encoded() {
        let check = |viewed: &Viewed, members: serde_json::Value| {
            let line = json("t", &record(Some(MILLIS)), viewed);
            assert_eq!(line.matches('\n').count(), 1);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            let mut expected = json!({
                "topic": "t", "partition": 3, "offset": 1024, "timestamp": "2024-01-15T08:30:00.250Z",
                "key": null, "key_encoding": "none", "headers": [],
            });
            expected.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            assert_eq!(read, expected);
        };
        let text = Value::Json("{\"a\":[1]}".to_owned());
        check(&viewed(None, Some(text)), json!({ "value": {"a": [1]}, "value_encoding": "json" }));
        check(&viewed(None, None::<Value>), json!({ "value": null, "value_encoding": "none" }));
        check(&viewed(None, bytes(b"")), json!({ "value": "", "value_encoding": "utf8" }));
        check(
            &viewed(None, bytes(b"\xff")),
            json!({ "value": "/w==", "value_encoding": "base64" }),
        );
        let hidden = Value::Hidden("9 bytes".to_owned());
        check(&viewed(None, hidden), json!({ "value": "9 bytes", "value_encoding": "masked" }));
        let mut with_headers = viewed(Some(b"\xff"), None::<Value>);
        with_headers.headers =
            vec![("a".to_owned(), Some(Bytes::from_static(b"1"))), ("b".to_owned(), None)];
        check(
            &with_headers,
            json!({
                "key": "/w==", "key_encoding": "base64", "value": null, "value_encoding": "none",
                "headers": [
                    { "name": "a", "value": "1", "value_encoding": "utf8" },
                    { "name": "b", "value": null, "value_encoding": "none" },
                ],
            }),
        );
        let exact = viewed(None, Value::Json("1.50e3".to_owned()));
        assert!(json("t", &record(None), &exact).contains(r#""timestamp":null,"#));
        assert!(json("t", &record(None), &exact).contains(r#""value":1.50e3,"#));
    }

    #[test]
    fn ages_are_in_one_unit() {
        let shown = |seconds| age(TimeDelta::seconds(seconds));
        let found = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 8_640_000, -1, -90].map(shown);
        let expected = ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "100d", "1s"];
        assert_eq!(found[..9], expected.map(|age| format!("{age} ago")));
        assert_eq!(found[9], "in 1m");
    }
}
