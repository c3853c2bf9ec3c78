//! A record that could not be written, and why.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::NaiveDateTime;
use serde_json::{Value, json};
use tally_domain::Reason;
use uuid::Uuid;

use crate::{Headers, Raw, Stream};

/// Payloads above this size are cut.
pub const PAYLOAD_LIMIT: usize = 1024 * 1024;

/// The header that says that a payload was cut; such a dead letter cannot be replayed.
pub const TRUNCATED: &str = "truncated";

/// The namespace of dead letters' ids: the UUIDv5 of the name `tally:dead-letter` in the OID namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0xb0c1_d1b8_2931_5e5f_b3b8_dd6c_9845_f5aa);

/// A record that could not be written, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it was read.
    pub position: i64,
    /// 1 for the first failure, one more for each replay.
    pub attempt: i32,
    /// Why it failed.
    pub reason: Reason,
    /// Its bytes, unchanged.
    pub raw: Raw,
}

impl DeadLetter {
    /// The first failure of a record. A payload over [`PAYLOAD_LIMIT`] is cut, and says so.
    pub fn first(position: i64, reason: Reason, mut raw: Raw) -> Self {
        let whole = raw.payload.as_ref().map_or(0, Bytes::len);
        if whole > PAYLOAD_LIMIT {
            raw.payload = raw.payload.map(|payload| payload.slice(..PAYLOAD_LIMIT));
            let said = (TRUNCATED.to_owned(), Some(Bytes::from_static(b"true")));
            raw.headers = raw.headers.iter().cloned().chain([said]).collect();
        }
        Self { position, attempt: 1, reason, raw }
    }

    /// Deterministic: the same for the same failure, however often it is committed.
    pub fn id(&self, stream: &Stream, pass: i32) -> Uuid {
        let Stream { flow, name, partition, .. } = stream;
        identity(flow, name, *partition, pass, self.position, self.attempt)
    }
}

/// The id of a dead letter.
pub(crate) fn identity(
    flow: &str,
    stream: &str,
    partition: i32,
    pass: i32,
    position: i64,
    attempt: i32,
) -> Uuid {
    let identity = format!("{flow}\n{stream}\n{partition}\n{pass}\n{position}\n{attempt}");
    Uuid::new_v5(&NAMESPACE, identity.as_bytes())
}

/// A dead letter as a store holds it, on its way to a topic. Its `Debug` shows no values.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayedDeadLetter {
    /// See [`DeadLetter::id`].
    pub id: Uuid,
    /// The flow's name.
    pub flow: String,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: String,
    /// 0 for a file.
    pub partition: i32,
    /// Which reading of the stream it was.
    pub pass: i32,
    /// Where it was read.
    pub position: i64,
    /// 1 for the first failure.
    pub attempt: i32,
    /// Its bytes, unchanged.
    pub raw: Raw,
    /// The stage that refused it.
    pub stage: String,
    /// The reason in one word.
    pub code: String,
    /// All reasons as a sentence.
    pub message: String,
    /// When it failed, in UTC.
    pub failed_at: NaiveDateTime,
}

impl fmt::Debug for RelayedDeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayedDeadLetter")
            .field("id", &self.id)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// Headers from what [`headers_to_json`] made; `None` where that did not make it.
pub fn headers_from_json(json: &Value) -> Option<Headers> {
    let pair = |pair: &Value| {
        let [name, value] = pair.as_array()?.as_slice() else { return None };
        let value = match value {
            Value::Null => None,
            value => Some(Bytes::from(BASE64_STANDARD.decode(value.as_str()?).ok()?)),
        };
        Some((name.as_str()?.to_owned(), value))
    };
    json.as_array()?.iter().map(pair).collect()
}

/// Headers as the tables hold them: a list of pairs of name and base64, or null where there is no value.
pub fn headers_to_json(headers: &[(impl AsRef<str>, Option<Bytes>)]) -> Value {
    let base64 = |value: &Bytes| BASE64_STANDARD.encode(value);
    let pair = |(name, value): &(_, Option<Bytes>)| {
        let name: &str = AsRef::as_ref(name);
        json!([name, value.as_ref().map(base64)])
    };
    headers.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_in_order_with_and_without_a_value() {
        let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let headers = [("a", value("1")), ("b", None), ("a", value(""))];
        let headers: Headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let json = headers_to_json(&headers);
        assert_eq!(json, json!([["a", "MQ=="], ["b", null], ["a", ""]]));
        assert_eq!(headers_from_json(&json), Some(headers));
        for json in [json!([["a"]]), json!([["a", 1]]), json!([[null, "MQ=="]]), json!({})] {
            assert_eq!(headers_from_json(&json), None, "{json}");
        }
    }
}
