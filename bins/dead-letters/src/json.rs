//! Dead letters as JSON, for scripts: these names are stable.

use chrono::NaiveDateTime;
use serde::Serialize;
use tally_ports::{DeadLetterSummary, OutdatedBy, StoredDeadLetter};
use uuid::Uuid;

use tally_app::bytes::{encoded, whole_characters};

/// One in a list.
#[derive(Serialize)]
pub struct DeadLetterJson<'a> {
    pub id: Uuid,
    pub flow: &'a str,
    pub stream: &'a str,
    pub label: Option<&'a str>,
    pub partition: i32,
    pub pass: i32,
    pub position: i64,
    pub attempt: i32,
    pub batch_id: Uuid,
    pub stage: &'a str,
    pub code: &'a str,
    pub message: &'a str,
    pub state: &'a str,
    /// `position` or `key`, where a later pass or file outdated it.
    pub outdated_by: Option<&'static str>,
    pub failed_at: String,
    pub published_at: Option<String>,
    /// In a list the first 256 bytes of it.
    pub key: Option<String>,
    pub key_encoding: &'static str,
    pub payload_bytes: Option<i64>,
}

/// A whole one.
#[derive(Serialize)]
pub struct WholeJson<'a> {
    #[serde(flatten)]
    pub letter: DeadLetterJson<'a>,
    pub payload: Option<String>,
    pub payload_encoding: &'static str,
    pub headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
pub struct Header<'a> {
    pub name: &'a str,
    pub value: Option<String>,
    pub value_encoding: &'static str,
}

impl<'a> DeadLetterJson<'a> {
    pub fn of(summary: &'a DeadLetterSummary) -> Self {
        let key = summary.key.as_deref().map(whole_characters);
        Self::with_key(summary, key)
    }

    fn with_key(summary: &'a DeadLetterSummary, key: Option<&[u8]>) -> Self {
        let (key, key_encoding) = encoded(key);
        let place = &summary.identity;
        Self {
            id: summary.id,
            flow: &place.flow,
            stream: &place.stream,
            label: summary.label.as_deref(),
            partition: place.partition,
            pass: place.pass,
            position: place.position,
            attempt: place.attempt,
            batch_id: summary.batch_id,
            stage: &summary.stage,
            code: &summary.code,
            message: &summary.message,
            state: summary.state.as_str(),
            outdated_by: summary.outdated_by.map(OutdatedBy::as_str),
            failed_at: moment(summary.failed_at),
            published_at: summary.published_at.map(moment),
            key,
            key_encoding,
            payload_bytes: summary.payload_bytes,
        }
    }
}

impl<'a> WholeJson<'a> {
    pub fn of(StoredDeadLetter { summary, raw }: &'a StoredDeadLetter) -> Self {
        let (payload, payload_encoding) = encoded(raw.payload.as_deref());
        let header = |(name, value): &'a (String, Option<bytes::Bytes>)| {
            let (value, value_encoding) = encoded(value.as_deref());
            Header { name, value, value_encoding }
        };
        Self {
            letter: DeadLetterJson::with_key(summary, raw.key.as_deref()),
            payload,
            payload_encoding,
            headers: raw.headers.iter().map(header).collect(),
        }
    }
}

/// One line of JSON.
pub fn line(value: &impl Serialize) -> String {
    // What is serialized here has no keys but texts, and nothing that fails.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// In UTC, as RFC 3339 wants it.
pub fn moment(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()
}
