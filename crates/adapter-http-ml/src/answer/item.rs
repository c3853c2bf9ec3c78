//! One element of the model's list.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess};
use serde_json::value::RawValue;
use tally_domain::{ByteString, Decimal, ModelApi, Type, Value};
use tally_ports::Answer;
use uuid::Uuid;

/// A fit element of the list.
pub(super) struct Item {
    /// `None` for a text that is no id.
    pub(super) id: Option<Value>,
    /// `None` where it says that the model knows none, or something that no column can hold.
    pub(super) answer: Option<Answer>,
}

impl Item {
    /// What is not fit costs no neighbour: an element that is no object, whose fields are not there once each, of another
    /// kind, or whose texts are not Unicode (half of a surrogate pair). Its other fields are only passed over.
    pub(super) fn fit(
        element: &RawValue,
        api: &ModelApi,
        id_kind: Type,
        repeated: &mut Repeated,
    ) -> Option<Self> {
        let object = element.get().starts_with('{').then(|| element.get())?;
        let mut json = serde_json::Deserializer::from_str(object);
        let fields = json.deserialize_map(Members(api)).ok()?;
        let (id, answers) = fields.split_first()?;
        let id = read_id((*id)?, id_kind).ok()?;
        let mut values = std::mem::take(&mut repeated.values);
        values.clear();
        for (field, raw) in api.answers.iter().zip(answers) {
            values.extend(read_value((*raw)?, field.kind, repeated).ok()?);
        }
        let answer = (values.len() == answers.len()).then(|| repeated.answer(&values));
        repeated.values = values;
        Some(Self { id, answer })
    }
}

/// A model gives few different answers again and again: equal ones, and equal texts in them, share their memory.
#[derive(Default)]
pub(super) struct Repeated {
    texts: Vec<ByteString>,
    answers: Vec<Answer>,
    /// The values of the item that is read.
    values: Vec<Value>,
}

impl Repeated {
    fn text(&mut self, text: &str) -> ByteString {
        known(&mut self.texts, |known| **known == *text, || text.into())
    }

    fn answer(&mut self, values: &[Value]) -> Answer {
        known(&mut self.answers, |known| **known == *values, || values.into())
    }
}

/// The one that `is` it, else a new one, which is remembered while there are few.
fn known<T: Clone>(known: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> T {
    const MOST: usize = 32;
    if let Some(found) = known.iter().find(|one| is(one)) {
        return found.clone();
    }
    let new = new();
    if known.len() < MOST {
        known.push(new.clone());
    }
    new
}

/// Reads the members of an item: the id, then the fields of the answer; one that is there twice is an error.
struct Members<'a>(&'a ModelApi);

impl<'de> de::Visitor<'de> for Members<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let ModelApi { answer_id, answers, .. } = self.0;
        let mut fields = vec![None; 1 + answers.len()];
        while let Some(Text(name)) = map.next_key()? {
            let place = if name == *answer_id {
                Some(0)
            } else {
                answers.iter().position(|field| field.name == name).map(|place| place + 1)
            };
            match place {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(place) if fields[place].is_some() => {
                    return Err(de::Error::custom("a field is there twice"));
                }
                Some(place) => fields[place] = Some(map.next_value()?),
            }
        }
        Ok(fields)
    }
}

/// A text that borrows where it can.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
}

/// A value is of another kind than its field.
struct OtherKind;

/// The id; `None` for a text that is none.
fn read_id(raw: &RawValue, kind: Type) -> Result<Option<Value>, OtherKind> {
    if kind == Type::Integer {
        let number = raw.get().parse().map_err(|_| OtherKind)?;
        return Ok(Some(Value::Integer(number)));
    }
    let text = read_text(raw).ok_or(OtherKind)?;
    Ok(match kind {
        Type::Uuid => Uuid::try_parse(&text).ok().map(Value::Uuid),
        _ => Some(Value::Text(text.into_owned().into())),
    })
}

/// The value of a field; `None` where it is `null` or no column could hold it.
fn read_value(
    raw: &RawValue,
    kind: Type,
    repeated: &mut Repeated,
) -> Result<Option<Value>, OtherKind> {
    let json = raw.get();
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    Ok(match kind {
        _ if json == "null" => None,
        Type::Boolean => Some(Value::Boolean(json.parse().map_err(|_| OtherKind)?)),
        Type::Integer if is_number => json.parse().ok().map(Value::Integer),
        Type::Decimal { precision, scale } if is_number => {
            Decimal::parse(json, precision, scale).map(Value::Decimal)
        }
        Type::Text { limit } => {
            let text = read_text(raw).ok_or(OtherKind)?;
            let text = text.trim();
            is_usable(text, limit).then(|| Value::Text(repeated.text(text)))
        }
        Type::Json => Some(Value::Json(json.into())),
        _ => return Err(OtherKind),
    })
}

/// Blanks alone are none, as in the columns of a record. U+0000 cannot be stored.
fn is_usable(text: &str, limit: Option<usize>) -> bool {
    let is_short = limit.is_none_or(|most| text.len() <= most || text.chars().count() <= most);
    is_short && !text.is_empty() && !text.contains('\0')
}
