//! The cursor, which tells whether a log is still the one that was read.

use rskafka::record::RecordAndOffset;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_ports::{Fault, StopKind};

/// The last record that was read: its offset, its timestamp, and a checksum of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    pub(super) offset: i64,
    /// Milliseconds since 1970.
    timestamp: i64,
    /// CRC-32C of key and value, each after its length.
    crc: u32,
}

impl Cursor {
    pub(super) fn of(found: &RecordAndOffset) -> Self {
        let record = &found.record;
        let timestamp = record.timestamp.timestamp_millis();
        Self::new(found.offset, timestamp, record.key.as_deref(), record.value.as_deref())
    }

    pub(super) fn new(
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Self {
        Self { offset, timestamp, crc: checksum(key, value) }
    }

    /// A position's cursor; none at the start.
    pub(super) fn from_json(json: &Value) -> Result<Option<Self>, Fault> {
        match json {
            Value::Null => Ok(None),
            other => Self::deserialize(other).map(Some).map_err(|_| {
                let message = format!("the position's cursor {other} is not one of a topic");
                Fault::stop(StopKind::Data, message)
            }),
        }
    }

    pub(super) fn to_json(self) -> Value {
        serde_json::json!({ "offset": self.offset, "timestamp": self.timestamp, "crc": self.crc })
    }
}

fn checksum(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    let mut crc = 0;
    for part in [key, value] {
        let length = part.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        crc = crc32c::crc32c_append(crc, &length.to_le_bytes());
        crc = crc32c::crc32c_append(crc, part.unwrap_or_default());
    }
    crc
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use rskafka::record::Record;

    use super::*;

    fn cursor(key: Option<&str>, value: Option<&str>, millis: i64) -> Cursor {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let timestamp = DateTime::from_timestamp_millis(millis).unwrap();
        let (key, value) = (key.map(bytes), value.map(bytes));
        let record = Record { key, value, headers: BTreeMap::new(), timestamp };
        Cursor::of(&RecordAndOffset { record, offset: 7 })
    }

    #[test]
    fn other_records_have_other_cursors() {
        let one = cursor(Some("k"), Some("value"), 1);
        assert_eq!(one, cursor(Some("k"), Some("value"), 1));
        for other in [
            cursor(Some("k"), Some("valuf"), 1),
            cursor(Some("k"), Some("value"), 2),
            cursor(Some("kv"), Some("alue"), 1),
            cursor(Some("k"), None, 1),
            cursor(None, Some("value"), 1),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(cursor(None, None, 1), cursor(None, Some(""), 1));
        assert_ne!(cursor(None, None, 1), cursor(Some(""), None, 1));
    }

    #[test]
    fn it_survives_the_store() {
        let one = cursor(Some("k"), Some("value"), 1_700_000_000_000);
        assert_eq!(Cursor::from_json(&one.to_json()), Ok(Some(one)));
        assert_eq!(Cursor::from_json(&Value::Null), Ok(None));
        assert!(Cursor::from_json(&serde_json::json!({ "byte": 7, "line": 2 })).is_err());
    }
}
