//! Records as people see them, whatever flow they are of.

use bytes::Bytes;
use tally_domain::{Column, Reason};
use tally_ports::privacy::{MASK, length_and_hash};
use tally_ports::{Fault, Raw};

use super::mask::{self, WireMask};
use super::{Content, Registry, avro, refusal};

/// What UTF-8 may begin with, and JSON may not.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Shows records: values as JSON where they are JSON, or Avro that the registry knows, with fields masked by the rules of
/// [`WireMask`].
#[derive(Debug)]
pub struct View {
    mask: WireMask,
}

/// A record as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Viewed {
    /// The key; `***` where it is masked.
    pub key: Option<Bytes>,
    /// The headers; a masked one has the value `***`.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The value; none of a tombstone.
    pub value: Option<Value>,
    /// Why a value in the registry's frame is not shown as JSON.
    pub why: Option<Reason>,
}

/// A value as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// JSON without blanks.
    Json(String),
    /// Bytes of which nothing is known.
    Bytes(Bytes),
    /// Length and hash of such bytes, where fields are masked, which may be among them.
    Hidden(String),
}

impl View {
    /// Masks the fields of these names in records of a flow with these `columns`.
    pub fn new(masked: &[String], columns: &[Column], registry: Option<Registry>) -> Self {
        Self { mask: WireMask::new(masked, columns, registry) }
    }

    /// The record as it is shown.
    ///
    /// # Errors
    /// When the registry is unavailable; the call can be made again.
    pub async fn show(&self, raw: &Raw) -> Result<Viewed, Fault> {
        let (value, why) = match &raw.payload {
            None => (None, None),
            Some(payload) => {
                let (json, why) = match self.json(payload).await? {
                    Ok(json) => (json, None),
                    Err(reason) => (None, Some(reason)),
                };
                let hidden = || Value::Hidden(length_and_hash(payload));
                let value = match json {
                    Some(json) => Value::Json(json),
                    None if self.mask.is_empty() => Value::Bytes(payload.clone()),
                    None => hidden(),
                };
                (Some(value), why)
            }
        };
        let masked = || Bytes::from_static(MASK.as_bytes());
        let key = raw.key.as_ref().map(|key| match value {
            _ if self.mask.is_empty() => key.clone(),
            Some(Value::Hidden(_)) => masked(),
            _ => self.mask.key(key).unwrap_or_else(masked),
        });
        let headers = raw.headers.iter().map(|(name, value)| {
            let value = if self.hides_header(name) { Some(masked()) } else { value.clone() };
            (name.clone(), value)
        });
        Ok(Viewed { key, headers: headers.collect(), value, why })
    }

    /// The value as JSON; none where it is not in the registry's frame and no JSON; or why one in the frame cannot be read.
    async fn json(&self, payload: &Bytes) -> Result<Result<Option<String>, Reason>, Fault> {
        let fields = self.mask.fields();
        let json =
            |bytes: &[u8]| mask::json(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes), fields);
        let found = match Content::of(payload, self.mask.registry()).await? {
            Err(reason) => Err(reason),
            Ok(Content::Json(0)) => Ok(json(payload)),
            Ok(Content::Json(begin)) => match json(&payload[begin..]) {
                Some(json) => Ok(Some(json)),
                None => Err(refusal("json", &"not JSON, although its schema is a JSON Schema")),
            },
            Ok(Content::Avro(datum, schema)) => match avro::shown(datum, &schema, fields) {
                Ok(json) => Ok(Some(json)),
                Err(broken) => Err(refusal("avro", &broken)),
            },
        };
        // Only an object names its fields.
        let may_be_shown = |json: &String| self.mask.is_empty() || json.starts_with('{');
        Ok(found.map(|json| json.filter(may_be_shown)))
    }

    /// Whether the field at this path of a record, with points between the names, is masked or in one that is.
    pub fn hides_field(&self, path: &str) -> bool {
        self.mask.hides_field(path)
    }

    /// Whether headers of this name are masked.
    pub fn hides_header(&self, name: &str) -> bool {
        self.mask.hides_header(name)
    }

    /// Whether each key is masked.
    pub const fn hides_keys(&self) -> bool {
        self.mask.hides_keys()
    }
}

#[cfg(test)]
mod tests {
    use tally_domain::Kind;

    use super::*;

    fn view(masked: &[&str]) -> View {
        let masked: Vec<String> = masked.iter().map(|&name| name.to_owned()).collect();
        View::new(&masked, &[Column::new("id", Kind::Id)], None)
    }

    fn raw(key: &'static str, payload: Option<&'static [u8]>) -> Raw {
        let headers = [("card".to_owned(), Some(Bytes::from_static(b"4711")))];
        Raw {
            key: Some(Bytes::from_static(key.as_bytes())),
            payload: payload.map(Bytes::from_static),
            headers: headers.into(),
            ..Raw::default()
        }
    }

    async fn value(masked: &[&str], payload: &'static [u8]) -> Value {
        view(masked).show(&raw("7", Some(payload))).await.unwrap().value.unwrap()
    }

    async fn check(masked: &[&str], payload: &'static str, expected: &str) {
        let found = value(masked, payload.as_bytes()).await;
        assert_eq!(found, Value::Json(expected.to_owned()), "{payload}");
    }

    #[tokio::test]
    async fn json_is_one_line_and_stays_exact() {
        check(
            &[],
            "{\n \"a\": 1.50e3,\n \"b\": [1, \"x\\u00e9 y\"]}\n",
            r#"{"a":1.50e3,"b":[1,"x\u00e9 y"]}"#,
        )
        .await;
        check(&[], "\u{feff} 7 ", "7").await;
        check(&[], "[null]", "[null]").await;
    }

    #[tokio::test]
    async fn all_else_is_bytes() {
        let deep: &'static [u8] = Box::leak("[".repeat(100_000).into_bytes().into_boxed_slice());
        for payload in [b"{".as_slice(), b"", b"\xff", b"\"\xff\"", b"{\"\\ud800\":1}", deep] {
            let found = view(&[]).show(&raw("7", Some(payload))).await.unwrap();
            let expected = Some(Value::Bytes(Bytes::from_static(payload)));
            assert_eq!((found.value, found.why), (expected, None));
        }
        for (payload, why) in [
            (&b"\0\0\0\0\x07x"[..], "no schema registry is configured"),
            (b"\0\0\0\0", "the frame of five bytes ends too early"),
        ] {
            let found = view(&[]).show(&raw("7", Some(payload))).await.unwrap();
            let expected = Some(Value::Bytes(Bytes::from_static(payload)));
            assert_eq!((found.value, &*found.why.unwrap().message), (expected, why));
        }
        let found = view(&[]).show(&raw("7", None)).await.unwrap();
        assert_eq!((found.value, found.key.as_deref()), (None, Some(&b"7"[..])));
    }

    #[tokio::test]
    async fn masked_fields_are_masked_wherever_they_may_be() {
        check(&["card"], r#"{"a": {"card": 4711}, "b": 1}"#, r#"{"a":{"card":"***"},"b":1}"#).await;
        for payload in [b"{\"card\": 4711".as_slice(), b"\"4711\"", b"[4711]", b"\x004711"] {
            let found = value(&["card"], payload).await;
            let Value::Hidden(text) = found else { panic!("{found:?}") };
            assert!(text.starts_with(&format!("{} bytes, BLAKE3 ", payload.len())), "{text}");
        }
        let masked = Some(Bytes::from_static(b"***"));
        let shown = async |key, masked: &[&str], payload| {
            let found = view(masked).show(&raw(key, payload)).await.unwrap();
            (found.key, found.headers[0].1.clone())
        };
        let (key, header) = shown("7", &["card"], Some(b"{}")).await;
        assert_eq!((key.as_deref(), header), (Some(&b"7"[..]), masked.clone()));
        assert_eq!(shown("7", &["card"], Some(b"{")).await.0, masked);
        let (key, header) = shown("7", &["id"], Some(b"{}")).await;
        assert_eq!((key, header.as_deref()), (masked.clone(), Some(&b"4711"[..])));
        let (key, _) = shown(r#"{"card":1,"a":2}"#, &["card"], None).await;
        assert_eq!(key.as_deref(), Some(&br#"{"card":"***","a":2}"#[..]));
    }

    #[test]
    fn what_is_in_a_masked_field_is_masked() {
        let view = view(&["after.card", "id"]);
        let hidden = ["after.card", "x.after.card.no", "id", "a.id"].map(|at| view.hides_field(at));
        assert_eq!(hidden, [true; 4]);
        assert_eq!(["card", "after", "before.card"].map(|at| view.hides_field(at)), [false; 3]);
        assert!(view.hides_header("card") && !view.hides_header("after") && view.hides_keys());
    }
}
