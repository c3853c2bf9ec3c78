//! JSON objects whose members keep their order and their values' exact text.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The schema registry's frame: a zero and the schema's id.
const FRAME: usize = 5;
/// The byte order mark in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The usual number of members at most.
const USUAL: usize = 16;

/// What stands before a payload's JSON, and the rest: the schema registry's frame and a byte order mark, where there are some.
/// JSON does not begin with a zero.
pub fn unframed(payload: &[u8]) -> (&[u8], &[u8]) {
    let frame = if payload.first() == Some(&0) { FRAME } else { 0 };
    let mark = payload.get(frame..).is_some_and(|rest| rest.starts_with(MARK));
    let before = if mark { frame + MARK.len() } else { frame };
    payload.split_at_checked(before).unwrap_or((payload, &[]))
}

/// A JSON object: names and the exact texts of their values, in order. Its `Debug` shows no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JsonObject<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> JsonObject<'a> {
    /// The object that a text is; `None` where it is none, or has a member twice.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Names and texts of values, in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The text of the value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Gives a value, a JSON text, to a name: in its place, or behind all others.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, json: impl Into<Cow<'a, str>>) {
        let name = name.into();
        match self.members.iter_mut().find(|(found, _)| *found == name) {
            Some((_, value)) => *value = json.into(),
            None => self.members.push((name, json.into())),
        }
    }

    fn has_a_name_twice(&self) -> bool {
        if self.members.len() <= USUAL {
            let mut indexed = self.members.iter().enumerate();
            return indexed.any(|(index, (name, _))| {
                self.members[..index].iter().any(|(before, _)| before == name)
            });
        }
        let mut names: Vec<&str> = self.members().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Takes the value of this name out.
    pub fn remove(&mut self, name: &str) {
        self.members.retain(|(found, _)| found != name);
    }

    /// Sets the value at a path, whose points lead into inner objects; whether there is an object at each but the last.
    pub fn set_at(&mut self, path: &str, json: &str) -> bool {
        let Some((first, rest)) = path.split_once('.') else {
            self.set(path.to_owned(), json.to_owned());
            return true;
        };
        let Some(inner) = self.get(first) else { return false };
        let Some(mut inner) = JsonObject::parse(inner) else { return false };
        let is_set = inner.set_at(rest, json);
        let inner = inner.to_string();
        self.set(first.to_owned(), inner);
        is_set
    }

    /// Its text behind a `frame`.
    pub fn framed(&self, frame: &[u8]) -> Bytes {
        let texts: usize = self.members().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut payload = Vec::with_capacity(frame.len() + texts + 2);
        payload.extend_from_slice(frame);
        write(&mut payload, self.members());
        payload.into()
    }
}

/// Appends the object of these names and texts of values.
pub fn write<'a>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut before = b'{';
    for (name, value) in members {
        out.push(before);
        before = b',';
        if name.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')) {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        } else {
            let _never_fails = serde_json::to_writer(&mut *out, name);
        }
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    if before == b'{' {
        out.push(before);
    }
    out.push(b'}');
}

/// Its text.
impl fmt::Display for JsonObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.framed(&[])).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for JsonObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonObject").field("members", &self.members.len()).finish()
    }
}

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = JsonObject { members: Vec::with_capacity(USUAL) };
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    let value: &RawValue = map.next_value()?;
                    object.members.push((name.0, Cow::Borrowed(value.get())));
                }
                if object.has_a_name_twice() {
                    return Err(A::Error::custom("a member twice"));
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A name, which is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_texts_stay() {
        let text = r#" { "b" : 1.50, "a\"":[ 1,2 ], "c":{"d": null,"e":"é\u0041"}, "z" : 1e2 } "#;
        let mut object = JsonObject::parse(text).unwrap();
        assert_eq!(
            object.to_string(),
            r#"{"b":1.50,"a\"":[ 1,2 ],"c":{"d": null,"e":"é\u0041"},"z":1e2}"#
        );
        object.set("b", "2");
        object.set("new", "true");
        object.remove("a\"");
        assert!(object.set_at("c.d", "7") && object.set_at("c.f", "8"));
        assert!(!object.set_at("c.e.x", "7") && !object.set_at("none.x", "7"));
        assert_eq!(
            object.to_string(),
            r#"{"b":2,"c":{"d":7,"e":"é\u0041","f":8},"z":1e2,"new":true}"#
        );
        assert_eq!((object.get("z"), object.get("a\"")), (Some("1e2"), None));
    }

    #[test]
    fn what_is_no_object_or_has_a_member_twice_is_none() {
        for text in ["", "[]", "7", "{\"a\":1", "{\"a\":1}{}", "{\"a\":1,\"\\u0061\":2}"] {
            assert_eq!(JsonObject::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_frame_is_kept() {
        assert_eq!(unframed(b"\0\0\0\0\x07{}"), (&b"\0\0\0\0\x07"[..], &b"{}"[..]));
        assert_eq!(unframed(b"{}"), (&b""[..], &b"{}"[..]));
        assert_eq!(unframed(b"\0\0"), (&b"\0\0"[..], &b""[..]));
        assert_eq!(unframed(b""), (&b""[..], &b""[..]));
        assert_eq!(unframed("\u{feff}{}".as_bytes()), ("\u{feff}".as_bytes(), &b"{}"[..]));
        assert_eq!(
            JsonObject::parse("{ }").unwrap().framed(b"\0\0\0\0\x07"),
            &b"\0\0\0\0\x07{}"[..]
        );
    }
}
