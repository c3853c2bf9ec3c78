//! One valid event.

use std::borrow::Cow;

use chrono::NaiveDateTime;
use serde::Deserialize;
use serde_json::value::RawValue;
use tally_domain::{Name, Value, timestamp};

/// The quality rules; none of them needs to know another record.
pub(crate) const RULES: [Name; 4] = [
    Name::Borrowed("change_mismatch"),
    Name::Borrowed("organization_changed"),
    Name::Borrowed("same_timestamps"),
    Name::Borrowed("key_not_id"),
];

/// An event that the schema takes.
#[derive(Deserialize)]
pub(crate) struct Event<'a> {
    #[serde(borrow, rename = "event")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    company: Company<'a>,
    #[serde(borrow, default)]
    changes: Option<&'a RawValue>,
    #[serde(skip)]
    listed: Vec<Change<'a>>,
}

#[derive(Deserialize)]
struct Company<'a> {
    id: Id,
    #[serde(borrow)]
    name: Cow<'a, str>,
    organization_id: Id,
    created_at: Time,
    updated_at: Time,
}

/// A field before and after an update.
#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    field: Cow<'a, str>,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
    #[serde(borrow, default)]
    to: Option<&'a RawValue>,
}

/// A text, or the digits of an integer.
#[derive(Deserialize, PartialEq, Eq)]
#[serde(try_from = "&RawValue")]
struct Id(String);

impl TryFrom<&RawValue> for Id {
    type Error = &'static str;

    fn try_from(json: &RawValue) -> Result<Self, Self::Error> {
        let json = json.get();
        if json.starts_with('"') {
            let text = serde_json::from_str(json).map(Self);
            return text.map_err(|_| "not a text");
        }
        let digits = json.strip_prefix('-').unwrap_or(json);
        let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_integer { Ok(Self(json.to_owned())) } else { Err("not a plain integer") }
    }
}

/// A number of seconds since 1970, to the microsecond.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(try_from = "&RawValue")]
struct Time(NaiveDateTime);

impl TryFrom<&RawValue> for Time {
    type Error = &'static str;

    fn try_from(json: &RawValue) -> Result<Self, Self::Error> {
        let moment = timestamp::of_seconds(json.get());
        let stored = moment.and_then(|moment| timestamp::stored(moment.naive_utc()));
        stored.map(Self).ok_or("not a time")
    }
}

impl<'a> Event<'a> {
    /// From its JSON; `None` where a field is there twice, or an integer is not written as one.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut event: Self = serde_json::from_str(text).ok()?;
        if let Some(changes) = event.changes {
            event.listed = serde_json::from_str(changes.get()).ok()?;
        }
        Some(event)
    }

    /// Which of [`RULES`] it breaks.
    pub(crate) fn breaks(&self, key: Option<&[u8]>) -> Vec<usize> {
        let Company { id, created_at, updated_at, .. } = &self.company;
        let is_update = self.kind.ends_with("updated");
        let is_key = key.is_some_and(|key| {
            key == id.0.as_bytes()
                || serde_json::from_slice(key).is_ok_and(|key: Cow<'_, str>| key == id.0)
        });
        let broken = [
            is_update && self.listed.iter().any(|change| !self.company.has(change)),
            is_update && self.listed.iter().any(Change::moves_organization),
            is_update && created_at == updated_at,
            !is_key,
        ];
        broken.into_iter().enumerate().filter_map(|(rule, is)| is.then_some(rule)).collect()
    }

    /// Its rows in the flow's tables.
    pub(crate) fn rows(self) -> [Vec<Value>; 2] {
        let Self { kind, company, changes, .. } = self;
        let text = |text: String| Value::Text(text.into());
        let company = [
            text(company.id.0),
            text(company.name.into_owned()),
            text(company.organization_id.0),
            Value::Timestamp(company.created_at.0),
            Value::Timestamp(company.updated_at.0),
        ];
        let changes = changes.map_or(Value::Null, |changes| Value::Json(changes.get().into()));
        let version = [text(kind.into_owned())].into_iter().chain(company.clone()).chain([changes]);
        [version.collect(), company.to_vec()]
    }
}

impl Company<'_> {
    /// Whether a field is what the change says; of a field that is none of a company nothing is known.
    fn has(&self, Change { field, to, .. }: &Change<'_>) -> bool {
        let json = to.map_or("null", RawValue::get);
        let is_id = |id: &Id| id_of(*to).is_some_and(|to| to == *id);
        let is_time = |time: Time| serde_json::from_str(json).is_ok_and(|to: Time| to == time);
        match &**field {
            "id" => is_id(&self.id),
            "organization_id" => is_id(&self.organization_id),
            "name" => serde_json::from_str(json).is_ok_and(|to: Cow<'_, str>| to == self.name),
            "created_at" => is_time(self.created_at),
            "updated_at" => is_time(self.updated_at),
            _ => true,
        }
    }
}

impl Change<'_> {
    fn moves_organization(&self) -> bool {
        self.field == "organization_id"
            && id_of(self.from).is_some()
            && id_of(self.from) != id_of(self.to)
    }
}

fn id_of(json: Option<&RawValue>) -> Option<Id> {
    Id::try_from(json?).ok()
}
