//! One valid login.

use bytes::Bytes;
use chrono::{DateTime, DurationRound, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use tally_domain::{ByteString, JsonObject, Value, json_object, timestamp};

use crate::TIMESTAMP;

/// The most bytes by which a processed login is longer, without the time of its processing.
const LONGER: usize = 64;

/// A login that the schema takes.
pub(crate) struct Login<'a> {
    text: &'a str,
    /// All of it.
    object: JsonObject<'a>,
    pub(crate) user_id: ByteString,
    device_type: ByteString,
    locale: ByteString,
    app_version: ByteString,
    created_at: DateTime<Utc>,
}

impl<'a> Login<'a> {
    /// From its JSON, a part of the `payload`; `None` where a field is there twice or a text cannot be read.
    pub(crate) fn parse(payload: &Bytes, text: &'a str) -> Option<Self> {
        let object = JsonObject::parse(text)?;
        let whole = ByteString::try_from(payload.slice_ref(text.as_bytes())).ok()?;
        let text_of = |name: &str| {
            let json = object.get(name)?;
            // Without an escape it shares the record's bytes.
            let inner = json.strip_prefix('"')?.strip_suffix('"')?;
            if inner.contains('\\') {
                return serde_json::from_str::<String>(json).ok().map(ByteString::from);
            }
            Some(whole.slice_ref(inner))
        };
        Some(Self {
            text,
            user_id: text_of("user_id")?,
            device_type: text_of("device_type")?,
            locale: text_of("locale")?,
            app_version: text_of("app_version")?,
            created_at: timestamp::of_seconds(object.get(TIMESTAMP)?)?,
            object,
        })
    }

    /// The same fields with the time as text: RFC 3339 in UTC. The engine adds when it was processed.
    pub(crate) fn processed(&self) -> Bytes {
        let created_at =
            format!("\"{}\"", self.created_at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        let members = self.object.members().filter_map(|(name, value)| match name {
            "created_at" | "processed_at" => None,
            TIMESTAMP => Some(("created_at", &*created_at)),
            _ => Some((name, value)),
        });
        let mut value = Vec::with_capacity(self.text.len() + LONGER);
        json_object::write(&mut value, members);
        value.into()
    }

    /// What it adds to each of the flow's tables, in their order.
    pub(crate) fn counted(self) -> [Vec<Value>; 4] {
        [
            Value::Text(self.device_type),
            Value::Text(self.locale),
            Value::Text(self.app_version),
            Value::Timestamp(hour(self.created_at)),
        ]
        .map(|key| vec![key, Value::Integer(1)])
    }
}

fn hour(at: DateTime<Utc>) -> NaiveDateTime {
    let at = at.naive_utc();
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}
