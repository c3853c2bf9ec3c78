//! One valid login.

use chrono::{DateTime, DurationRound, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use tally_domain::{JsonObject, Value};

use crate::TIMESTAMP;

/// A login that the schema takes.
pub(crate) struct Login<'a> {
    /// All of it.
    object: JsonObject<'a>,
    pub(crate) user_id: String,
    device_type: String,
    locale: String,
    app_version: String,
    created_at: DateTime<Utc>,
}

impl<'a> Login<'a> {
    /// From its JSON; `None` where a field is there twice or a text cannot be read.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let object = JsonObject::parse(text)?;
        let text = |name: &str| serde_json::from_str::<String>(object.get(name)?).ok();
        Some(Self {
            user_id: text("user_id")?,
            device_type: text("device_type")?,
            locale: text("locale")?,
            app_version: text("app_version")?,
            created_at: time(object.get(TIMESTAMP)?)?,
            object,
        })
    }

    /// The same fields with the time as text: RFC 3339 in UTC. The engine adds when it was processed.
    pub(crate) fn processed(&self) -> JsonObject<'_> {
        let mut processed = self.object.clone();
        processed.remove("created_at");
        processed.remove("processed_at");
        let created_at = self.created_at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        processed.replace(TIMESTAMP, "created_at", format!("\"{created_at}\""));
        processed
    }

    /// What it adds to each of the flow's tables, in their order.
    pub(crate) fn counted(&self) -> [Vec<Value>; 4] {
        let text = |text: &str| Value::Text(text.into());
        [
            text(&self.device_type),
            text(&self.locale),
            text(&self.app_version),
            Value::Timestamp(hour(self.created_at)),
        ]
        .map(|key| vec![key, Value::Integer(1)])
    }
}

/// The time that a number of seconds since 1970 is, to the nanosecond.
fn time(seconds: &str) -> Option<DateTime<Utc>> {
    if seconds.contains(['e', 'E']) {
        // Written out without an exponent.
        return time(&seconds.parse::<f64>().ok()?.to_string());
    }
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let nanoseconds = format!("{fraction:0<9.9}").parse().ok()?;
    DateTime::from_timestamp(whole.parse().ok()?, nanoseconds)
}

fn hour(at: DateTime<Utc>) -> NaiveDateTime {
    let at = at.naive_utc();
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}
