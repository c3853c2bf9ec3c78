//! The cursor, which tells whether a log is still the one that was read.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_kafka_client::Record;
use tally_ports::{Fault, StopKind};
use uuid::Uuid;

/// The topic, and the last record of the partition that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Another one each time a topic of that name is created. None in cursors from before it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic_id: Option<Uuid>,
    #[serde(flatten)]
    pub(crate) last: Option<LastRecord>,
}

/// The last record that was read: its offset, its timestamp, and a checksum of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastRecord {
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    timestamp: i64,
    /// CRC-32C of key and value, each after its length.
    crc: u32,
}

impl Cursor {
    /// A position's cursor; null where nothing is known, as at the start.
    pub(crate) fn from_json(json: &Value) -> Result<Self, Fault> {
        if json.is_null() {
            return Ok(Self::default());
        }
        match Self::deserialize(json) {
            Ok(cursor) if cursor != Self::default() => Ok(cursor),
            _ => {
                let message = format!("the position's cursor {json} is not one of a topic");
                Err(Fault::stop(StopKind::Data, message))
            }
        }
    }

    pub(crate) fn to_json(self) -> Value {
        if self == Self::default() {
            return Value::Null;
        }
        // Fails for nothing that it consists of.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl LastRecord {
    /// Whether it is `record`, whose timestamp counts where it was read as it is now (`is_timestamp_known`).
    pub(crate) fn is(&self, record: &Record, is_timestamp_known: bool) -> bool {
        let timestamp = if is_timestamp_known { record.timestamp } else { self.timestamp };
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        *self == Self::new(record.offset, timestamp, key, value)
    }

    pub(crate) fn new(
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Self {
        Self { offset, timestamp, crc: checksum(key, value) }
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
    use serde_json::json;

    use super::*;

    fn record(key: Option<&str>, value: Option<&str>, millis: i64) -> LastRecord {
        LastRecord::new(7, millis, key.map(str::as_bytes), value.map(str::as_bytes))
    }

    #[test]
    fn other_records_are_told_apart() {
        let one = record(Some("k"), Some("value"), 1);
        assert_eq!(one, record(Some("k"), Some("value"), 1));
        for other in [
            record(Some("k"), Some("valuf"), 1),
            record(Some("k"), Some("value"), 2),
            record(Some("kv"), Some("alue"), 1),
            record(Some("k"), None, 1),
            record(None, Some("value"), 1),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(record(None, None, 1), record(None, Some(""), 1));
        assert_ne!(record(None, None, 1), record(Some(""), None, 1));
    }

    #[test]
    fn the_timestamp_counts_where_it_is_known() {
        let last = record(None, None, 1);
        let found = |timestamp| Record {
            offset: 7,
            timestamp,
            key: None,
            value: None,
            headers: tally_kafka_client::Headers::default(),
        };
        assert!(last.is(&found(1), true) && last.is(&found(1), false));
        assert!(!last.is(&found(2), true) && last.is(&found(2), false));
        assert!(!last.is(&Record { offset: 8, ..found(1) }, false));
    }

    #[test]
    fn it_survives_the_store() {
        let topic_id = Some(Uuid::from_u128(7));
        let last = Some(record(Some("k"), Some("value"), 1_700_000_000_000));
        let known = [Cursor { topic_id, last }, Cursor { topic_id, last: None }];
        for cursor in known.into_iter().chain([Cursor::default()]) {
            assert_eq!(Cursor::from_json(&cursor.to_json()), Ok(cursor));
        }
        assert_eq!(Cursor::default().to_json(), Value::Null);
        let without_topic = json!({ "offset": 7, "timestamp": 1, "crc": 2 });
        let last = Some(LastRecord { offset: 7, timestamp: 1, crc: 2 });
        assert_eq!(Cursor::from_json(&without_topic), Ok(Cursor { topic_id: None, last }));
        for json in [json!({ "byte": 7, "line": 2 }), json!({}), json!({ "topic_id": 7 })] {
            assert!(Cursor::from_json(&json).is_err(), "{json}");
        }
    }
}
