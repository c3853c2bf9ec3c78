//! Records as JSON objects.
//!
//! A column is a string, a number, null or absent; one of [`Kind::Boolean`] is true or false as well, and one of
//! [`Kind::Json`] any value, as its own text. A number is its exact text, never a float; one with an exponent is written
//! out (see [`decimal::written_out`]). Fields that are no column are passed over, whatever they hold and however often
//! they are there; a column that is there twice makes the record a bad one, even twice the same, and so does an object
//! that columns are in. One byte order mark before the object is no part of it.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use tally_domain::json_object::unframed;
use tally_domain::{ByteString, Envelope, Field, Fields, JsonObject, Kind};

use super::broken::Broken;
use super::columns::{Columns, Level, Member};
use super::decimal;

/// The fields of the record that `payload` is, out of its `envelope`.
pub(super) fn decode(
    payload: &Bytes,
    envelope: Envelope,
    columns: &Columns,
) -> Result<Fields, Broken> {
    let text = ByteString::try_from(payload.clone()).map_err(|_| Broken::new("not UTF-8"))?;
    let object = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let object = match envelope {
        Envelope::Plain => object,
        Envelope::Debezium => match unwrapped(object) {
            Some("null") => return Ok(Fields::new()),
            Some(inner) => inner,
            None => object,
        },
    };
    match object.trim_ascii_start().bytes().next() {
        None => return Err(Broken::new("empty")),
        Some(b'{') => {}
        Some(_) => return Err(Broken::new("not a JSON object")),
    }

    let mut fields = columns.absent();
    let mut broken = None;
    let reading = Reading { text: &text, fields: &mut fields, broken: &mut broken };
    let mut json = serde_json::Deserializer::from_str(object);
    let read = Object { reading, level: &columns.root, path: "" }.deserialize(&mut json);
    match read.and_then(|()| json.end()) {
        Ok(()) => Ok(fields),
        Err(error) => Err(broken.unwrap_or_else(|| error.into())),
    }
}

/// The object with this JSON at the path, whose points lead into inner objects, behind what stands before it.
pub(super) fn edited(payload: &Bytes, path: &str, json: &str) -> Result<Bytes, Broken> {
    let (before, text) = unframed(payload);
    let object = str::from_utf8(text).ok().and_then(JsonObject::parse);
    let mut object = object.ok_or_else(|| Broken::new("not a JSON object"))?;
    if object.set_at(path, json) {
        Ok(object.framed(before))
    } else {
        Err(Broken::new(format!("nothing in it leads to {path}")))
    }
}

/// The payload of an object that says its schema too, and nothing else.
fn unwrapped(object: &str) -> Option<&str> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapper<'a> {
        #[serde(rename = "schema")]
        _schema: IgnoredAny,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let is_object = object.trim_ascii_start().starts_with('{'); // a list of the two is taken as well
    let Wrapper { payload, .. } = serde_json::from_str(object).ok().filter(|_| is_object)?;
    Some(payload.get())
}

/// A record that is being read.
struct Reading<'a> {
    /// All of it.
    text: &'a ByteString,
    fields: &'a mut Fields,
    /// What is wrong with a value, kept aside, for `serde_json`'s error would show its text only.
    broken: &'a mut Option<Broken>,
}

impl Reading<'_> {
    fn again(&mut self) -> Reading<'_> {
        Reading { text: self.text, fields: self.fields, broken: self.broken }
    }

    /// Ends reading.
    fn refuse<E: Error>(&mut self, broken: Broken) -> E {
        *self.broken = Some(broken);
        E::custom("broken")
    }
}

/// An object that columns are in, or null.
struct Object<'a> {
    reading: Reading<'a>,
    level: &'a Level,
    path: &'a str,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { mut reading, level, .. } = self;
        let mut next = 0;
        // Those among the members that were there.
        let mut objects = Vec::new();
        while let Some(found) = map.next_key_seed(Name { level, next: &mut next })? {
            let Some((place, member)) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if !member.inner.is_empty() {
                if objects.contains(&place) {
                    return Err(reading.refuse(twice(member)));
                }
                objects.push(place);
            }
            let inner = |reading| Object { reading, level: &member.inner, path: &member.path };
            let Some(column) = member.column else {
                map.next_value_seed(inner(reading.again()))?;
                continue;
            };
            if reading.fields[column.place] != Field::Absent {
                return Err(reading.refuse(twice(member)));
            }
            let value = map.next_value::<&RawValue>()?.get();
            match field(reading.text, value, column.kind) {
                Ok(field) => reading.fields[column.place] = column.in_unit(field),
                Err(broken) => return Err(reading.refuse(broken.of(&member.path))),
            }
            if !member.inner.is_empty() {
                let mut json = serde_json::Deserializer::from_str(value);
                let read = inner(reading.again()).deserialize(&mut json);
                read.map_err(Error::custom)?;
            }
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.level.set_null(self.reading.fields);
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.is("a text")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.is("true or false")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.is("a list")
    }
}

impl Object<'_> {
    fn is<E: Error>(mut self, what: &str) -> Result<(), E> {
        let broken = Broken::new(format!("{what} instead of an object")).of(self.path);
        Err(self.reading.refuse(broken))
    }
}

fn twice(member: &Member) -> Broken {
    Broken::new("is there more than once").of(&member.path)
}

/// The name of a member, and what it stands for.
struct Name<'a, 'n> {
    level: &'a Level,
    next: &'n mut usize,
}

impl<'de, 'a> DeserializeSeed<'de> for Name<'a, '_> {
    type Value = Option<(usize, &'a Member)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a, '_> {
    type Value = Option<(usize, &'a Member)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.level.find(name, self.next))
    }
}

/// What a column holds; `value` is a part of `text`.
fn field(text: &ByteString, value: &str, kind: Kind) -> Result<Field, Broken> {
    let wanted = if kind == Kind::Boolean { "true or false" } else { "a text" };
    let instead = |what| Err(Broken::new(format!("{what} instead of {wanted}")));
    Ok(match value.as_bytes() {
        b"null" => Field::Null,
        _ if kind == Kind::Json => Field::Json(text.slice_ref(value)),
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
            Field::Text(text.slice_ref(&value[1..value.len() - 1]))
        }
        [b'"', ..] => {
            let unescaped = String::deserialize(&mut serde_json::Deserializer::from_str(value));
            let unescaped = unescaped
                .map_err(|_| Broken::new("a string with an escape that stands for no character"))?;
            Field::Text(unescaped.into())
        }
        [b'-' | b'0'..=b'9', ..] => Field::Number(match decimal::written_out(value) {
            Some(number) => number.into(),
            None => text.slice_ref(value),
        }),
        [b'[', ..] => return instead("a list"),
        [b'{', ..] => return instead("an object"),
        word if kind == Kind::Boolean => Field::Boolean(word == b"true"),
        _ => return instead("true or false"),
    })
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
