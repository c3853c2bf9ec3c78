//! Which records are printed.

use std::collections::HashMap;
use std::str::FromStr;

use bytes::Bytes;
use clap::Args;
use serde_json::value::RawValue;
use tally_adapter_kafka::wire::{Value, View, Viewed};
use tally_app::bytes::inline;
use tally_ports::{Stop, StopKind};

/// Which records are printed: those for which all of it holds.
#[derive(Args, Debug, Default)]
pub struct Filters {
    /// Only records with this key, as it is printed
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only records with this header, or with this value of it; repeated ones must all hold
    #[arg(long = "header", value_name = "NAME[=VALUE]")]
    headers: Vec<Header>,
    /// Only records with this value of a field; points lead into objects (after.id=7); repeated ones must all hold
    ///
    /// A text is compared without its quotes, any other value as it is printed: amount=-1.50, merchant=null.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    fields: Vec<Field>,
}

/// A header, and its value.
#[derive(Clone, Debug)]
struct Header {
    name: String,
    value: Option<String>,
}

/// A field's path, and its value.
#[derive(Clone, Debug)]
struct Field {
    path: String,
    value: String,
}

impl Filters {
    /// Refuses those that would tell what is masked.
    pub fn check(&self, view: &View) -> Result<(), Stop> {
        let refused = |filter: &str, what: &str| {
            let message = format!(
                "{filter} asks for {what}, which privacy.masked hides: leave the filter out"
            );
            Err(Stop { kind: StopKind::Setting, message })
        };
        if self.key.is_some() && view.hides_keys() {
            return refused("--key", "the key");
        }
        if let Some(header) = self.headers.iter().find(|header| view.hides_header(&header.name)) {
            return refused("--header", &format!("the header {}", header.name));
        }
        match self.fields.iter().find(|field| view.hides_field(&field.path)) {
            Some(field) => refused("--where", &format!("the field {}", field.path)),
            None => Ok(()),
        }
    }

    /// Whether all of them hold of the record as it is shown.
    pub fn let_through(&self, viewed: &Viewed) -> bool {
        let is_key = |key: &String| is_shown_as(viewed.key.as_ref(), key);
        let has_header = |wanted: &Header| {
            viewed.headers.iter().any(|(name, value)| {
                let is_value = |text: &String| is_shown_as(value.as_ref(), text);
                *name == wanted.name && wanted.value.as_ref().is_none_or(is_value)
            })
        };
        let has_field = |wanted: &Field| match &viewed.value {
            Some(Value::Json(json)) => has_value(json, &wanted.path, &wanted.value),
            _ => false,
        };
        self.key.as_ref().is_none_or(is_key)
            && self.headers.iter().all(has_header)
            && self.fields.iter().all(has_field)
    }
}

fn is_shown_as(bytes: Option<&Bytes>, text: &str) -> bool {
    bytes.is_some_and(|bytes| *bytes == text.as_bytes() || inline(Some(bytes)) == text)
}

/// Whether the member at a path is a text of this content, or another value of this JSON.
fn has_value(json: &str, path: &str, value: &str) -> bool {
    let member = |json: &str, name: &str| {
        let members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
        members.get(name).map(|found| found.get().to_owned())
    };
    let found = path.split('.').try_fold(json.to_owned(), |json, name| member(&json, name));
    let Some(found) = found else { return false };
    match serde_json::from_str::<String>(&found) {
        Ok(text) => text == value,
        Err(_) => found == value,
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        Ok(Self { name: name.to_owned(), value })
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("expected FIELD=VALUE like side=debit")?;
        Ok(Self { path: path.to_owned(), value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use tally_domain::{Column, Kind};

    use super::*;

    fn filters(key: Option<&str>, headers: &[&str], fields: &[&str]) -> Filters {
        Filters {
            key: key.map(str::to_owned),
            headers: headers.iter().map(|text| text.parse().unwrap()).collect(),
            fields: fields.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn record(key: Option<&'static [u8]>, value: Option<Value>) -> Viewed {
        let header = |name: &str, value: Option<&'static [u8]>| {
            (name.to_owned(), value.map(Bytes::from_static))
        };
        let headers = vec![
            header("a", Some(b"1")),
            header("a", Some(b"x=y")),
            header("b", None),
            header("c", Some(b"\xff")),
        ];
        Viewed { key: key.map(Bytes::from_static), headers, value, why: None }
    }

    #[test]
    fn keys_are_given_as_they_are_or_as_they_are_printed() {
        let is_key = |key: Option<&'static [u8]>, text: &str| {
            filters(Some(text), &[], &[]).let_through(&record(key, None))
        };
        assert!(
            is_key(Some(b"7"), "7") && is_key(Some(b"\xff\0"), "0xff00") && is_key(Some(b""), "")
        );
        assert!(!is_key(Some(b"77"), "7") && !is_key(None, "") && !is_key(None, "-"));
    }

    #[test]
    fn headers_are_given_by_name_or_with_a_value_and_must_all_be_there() {
        let has = |headers: &[&str]| filters(None, headers, &[]).let_through(&record(None, None));
        for headers in [&["a"][..], &["a=1"], &["a=x=y"], &["a=1", "a=x=y", "b"], &["c=0xff"]] {
            assert!(has(headers), "{headers:?}");
        }
        for headers in [&["d"][..], &["A"], &["a=2"], &["b="], &["a=1", "d"]] {
            assert!(!has(headers), "{headers:?}");
        }
    }

    #[test]
    fn fields_are_compared_by_their_texts() {
        const JSON: &str = r#"{"side":"debit","amount":-1.50,"none":null,"a":{"b":{"c":"é\"","d":[1,{"e":2}]}},"a.b":7}"#;
        let has = |fields: &[&str]| {
            let value = Value::Json(JSON.to_owned());
            filters(None, &[], fields).let_through(&record(None, Some(value)))
        };
        for fields in [
            &["side=debit"][..],
            &["amount=-1.50"],
            &["none=null"],
            &["a.b.c=é\""],
            &[r#"a.b.d=[1,{"e":2}]"#],
            &["side=debit", "amount=-1.50"],
        ] {
            assert!(has(fields), "{fields:?}");
        }
        for fields in [
            &["side=\"debit\""][..],
            &["amount=-1.5"],
            &["a.b=7"],
            &["a.b.d.e=2"],
            &["side.x=debit"],
            &["x=null"],
            &["side=debit", "amount=0"],
        ] {
            assert!(!has(fields), "{fields:?}");
        }
        assert!("side".parse::<Field>().is_err());
        for value in
            [None, Some(Value::Bytes(Bytes::from_static(b"null"))), Some(Value::Json("[]".into()))]
        {
            assert!(!filters(None, &[], &["side=debit"]).let_through(&record(None, value)));
        }
    }

    #[test]
    fn a_filter_that_would_tell_what_is_masked_is_refused() {
        let masked = ["after.card".to_owned(), "id".to_owned()];
        let view = View::new(&masked, &[Column::new("id", Kind::Id)], None);
        let check = |filters: Filters| filters.check(&view).map_err(|stop| stop.to_string());
        for (filters, what) in [
            (filters(Some("7"), &[], &[]), "the key"),
            (filters(None, &["x", "card"], &[]), "the header card"),
            (filters(None, &[], &["side=debit", "after.card.no=7"]), "the field after.card.no"),
        ] {
            let message = check(filters).unwrap_err();
            assert!(message.contains(what) && message.contains("privacy.masked"), "{message}");
            assert!(!message.contains('7'), "{message}");
        }
        assert_eq!(check(filters(None, &["x"], &["side=debit", "card=7"])), Ok(()));
    }
}
