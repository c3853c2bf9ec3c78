//! Records as JSON objects.
//!
//! A column is a string, a number, null or absent. A number is its exact text, never a float; one with an exponent is
//! written out (see [`decimal::plain`]). Fields that are no column are passed over, whatever they hold and however
//! often they are there; a column that is there twice makes the record a bad one, even twice the same. One byte order
//! mark before the object is no part of it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess};
use serde::forward_to_deserialize_any;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::column::{Broken, Column, Value};
use super::decimal;

/// The record that `payload` is.
pub(super) fn decode<W: DeserializeOwned>(payload: &[u8]) -> Result<W, Broken> {
    let text = str::from_utf8(payload).map_err(|_| Broken::new("not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_ascii_start().bytes().next() {
        None => return Err(Broken::new("empty")),
        Some(b'{') => {}
        Some(_) => return Err(Broken::new("not a JSON object")),
    }

    let mut json = serde_json::Deserializer::from_str(text);
    let mut broken = None;
    let wire = json
        .deserialize_map(Object { broken: &mut broken, wire: PhantomData })
        .and_then(|wire| json.end().map(|()| wire));
    wire.map_err(|error| broken.unwrap_or_else(|| error.into()))
}

/// The whole object. What is wrong with a value is kept aside, for `serde_json`'s error would show its text only.
struct Object<'a, W> {
    broken: &'a mut Option<Broken>,
    wire: PhantomData<W>,
}

impl<'de, W: Deserialize<'de>> de::Visitor<'de> for Object<'_, W> {
    type Value = W;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<W, A::Error> {
        let mut fault = None;
        W::deserialize(Members { map, fault: &mut fault, name: Cow::Borrowed("") }).map_err(
            |broken| {
                fault.unwrap_or_else(|| {
                    *self.broken = Some(broken);
                    de::Error::custom("broken")
                })
            },
        )
    }
}

/// The members of the object, one after the other.
struct Members<'a, 'de, A: MapAccess<'de>> {
    map: A,
    /// What is wrong with the JSON itself.
    fault: &'a mut Option<A::Error>,
    /// Of the member whose value comes next.
    name: Cow<'de, str>,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Members<'_, 'de, A> {
    type Error = Broken;

    fn deserialize_any<R: de::Visitor<'de>>(self, visitor: R) -> Result<R::Value, Broken> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, 'de, A> {
    type Error = Broken;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Broken> {
        let name = self.map.next_key().map_err(|fault| keep(self.fault, fault))?;
        let Some(Name(name)) = name else { return Ok(None) };
        let key = seed.deserialize(StrDeserializer::<Broken>::new(&name))?;
        self.name = name;
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Broken> {
        let member = Member { map: &mut self.map, fault: self.fault };
        seed.deserialize(Column(member)).map_err(|broken| broken.of(&self.name))
    }
}

/// A name that borrows where it can.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of a member.
struct Member<'a, 'de, A: MapAccess<'de>> {
    map: &'a mut A,
    fault: &'a mut Option<A::Error>,
}

impl<'de, A: MapAccess<'de>> Value<'de> for Member<'_, 'de, A> {
    fn text(self) -> Result<Option<Cow<'de, str>>, Broken> {
        let raw: &RawValue = self.map.next_value().map_err(|fault| keep(self.fault, fault))?;
        let raw = raw.get();
        match raw.as_bytes() {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                Ok(Some(Cow::Borrowed(&raw[1..raw.len() - 1])))
            }
            [b'"', ..] => serde_json::from_str(raw)
                .map(|text| Some(Cow::Owned(text)))
                .map_err(|_| Broken::new("a string with an escape that stands for no character")),
            [b'-' | b'0'..=b'9', ..] => Ok(Some(decimal::plain(raw))),
            b"null" => Ok(None),
            [b'[', ..] => Err(Broken::new("a list instead of a text")),
            [b'{', ..] => Err(Broken::new("an object instead of a text")),
            _ => Err(Broken::new("true or false instead of a text")),
        }
    }

    fn skip(self) -> Result<(), Broken> {
        let skipped = self.map.next_value::<IgnoredAny>();
        skipped.map(drop).map_err(|fault| keep(self.fault, fault))
    }
}

/// Keeps what `serde_json` says; the answer only stands for it.
fn keep<E>(kept: &mut Option<E>, fault: E) -> Broken {
    *kept = Some(fault);
    Broken::new("not JSON")
}

impl From<serde_json::Error> for Broken {
    /// Of its words only the place: the others can quote the record.
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Eof => Self::new("the JSON ends too early"),
            _ => Self::new(format!("not JSON at line {line} column {column}")),
        }
    }
}
