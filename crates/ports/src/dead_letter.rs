//! A record that could not be written, and why.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
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
    /// Its bytes as they were.
    pub raw: Raw,
}

impl DeadLetter {
    /// The first failure of a record.
    pub const fn first(position: i64, reason: Reason, raw: Raw) -> Self {
        Self { position, attempt: 1, reason, raw }
    }

    /// The same for the same failure, however often it is committed.
    pub fn id(&self, stream: &Stream, pass: i32) -> Uuid {
        let Stream { flow, name, partition, .. } = stream;
        let identity =
            format!("{flow}\n{name}\n{partition}\n{pass}\n{}\n{}", self.position, self.attempt);
        Uuid::new_v5(&NAMESPACE, identity.as_bytes())
    }
}

/// Headers as the tables hold them: a list of pairs of name and base64.
pub fn headers_to_json(headers: &Headers) -> Value {
    headers.iter().map(|(name, value)| json!([name, BASE64_STANDARD.encode(value)])).collect()
}
