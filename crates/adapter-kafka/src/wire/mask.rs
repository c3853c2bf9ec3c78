//! Fields that must not be kept of a dead letter.

use bytes::Bytes;
use serde_json::value::RawValue;
use tally_domain::{Column, Kind};
use tally_ports::privacy::{MASK, is_header_named, masked, unreadable};
use tally_ports::{Mask, Raw};

use super::members::Members;
use super::registry::Lookup;
use super::{Registry, avro};

/// Objects and lists in each other: deeper ones are not read.
const DEEPEST: usize = 100;

/// Masks fields of records of topics. JSON keeps the exact text of all others; a record in the registry's frame is kept
/// as JSON.
#[derive(Debug)]
pub struct WireMask {
    /// As they were given.
    names: Vec<String>,
    fields: MaskedFields,
    /// The last of their names: a key is not in the records that they are in.
    of_key: MaskedFields,
    /// Whether the key, which is the id's text, is one of them.
    is_key_masked: bool,
    /// Whether a record that a column is in is one of them.
    is_record_masked: bool,
    registry: Option<Registry>,
}

impl WireMask {
    /// Masks the fields of these names, at whatever depth and whether they are among the flow's `columns` or not. A name with
    /// points (`after.card`) is that of a field in a record of that name.
    pub fn new(fields: &[String], columns: &[Column], registry: Option<Registry>) -> Self {
        let last = |name: &String| name.rsplit('.').next().unwrap_or(name).to_owned();
        let (names, of_key) = (fields.to_vec(), MaskedFields(fields.iter().map(last).collect()));
        // Whether or not an event comes with its schema.
        let unwrapped = fields.iter().filter_map(|name| name.strip_prefix("payload."));
        let fields =
            MaskedFields(fields.iter().cloned().chain(unwrapped.map(str::to_owned)).collect());
        let is_covered = |column: &Column| fields.cover(&column.name);
        let is_key_masked =
            columns.iter().any(|column| column.kind == Kind::Id && is_covered(column));
        // A key may hold any column of a record that is masked as a whole.
        let is_record_masked = columns.iter().any(|column| {
            column.name.rsplit_once('.').is_some_and(|(record, _)| fields.cover(record))
        });
        Self { names, fields, of_key, is_key_masked, is_record_masked, registry }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) const fn fields(&self) -> &MaskedFields {
        &self.fields
    }

    pub(super) const fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }

    /// Whether the field at this path of a record is masked, or in one that is.
    pub(super) fn hides_field(&self, path: &str) -> bool {
        self.fields.hide(path)
    }

    /// Whether headers of this name are masked.
    pub(super) fn hides_header(&self, name: &str) -> bool {
        is_header_named(&self.names, name)
    }

    /// Whether each key is masked.
    pub(super) const fn hides_keys(&self) -> bool {
        self.is_key_masked
    }

    /// What is left of the payload; `None` where the fields cannot be told.
    fn payload(&self, payload: &Bytes, fields: &MaskedFields) -> Option<Bytes> {
        if payload.first() != Some(&avro::MAGIC) {
            return masked_json(payload, fields);
        }
        let (id, datum) = avro::unframe(payload).ok()?;
        // A payload was just read by it, if it can be read at all.
        match self.registry.as_ref()?.remembered(id)? {
            Lookup::Avro(schema) => Some(avro::masked(datum, &schema, fields).ok()?.into()),
            Lookup::Json => masked_json(&payload[avro::FRAME..], fields),
            Lookup::Unknown | Lookup::Unusable(_) => None,
        }
    }

    /// What is left of the key, which may be a record as the payload is: nothing where it then cannot be read.
    pub(super) fn key(&self, key: &Bytes) -> Option<Bytes> {
        match key.trim_ascii_start().first() {
            _ if self.is_key_masked => None,
            Some(b'{' | b'[' | &avro::MAGIC) if self.is_record_masked => None,
            Some(b'{' | b'[' | &avro::MAGIC) => self.payload(key, &self.of_key),
            _ => Some(key.clone()),
        }
    }
}

fn masked_json(payload: &[u8], fields: &MaskedFields) -> Option<Bytes> {
    json(payload, fields).filter(|text| text.starts_with('{')).map(Bytes::from)
}

/// The JSON value without blanks, its `fields` masked and all else exact; `None` where it is no JSON or too deep.
pub(super) fn json(payload: &[u8], fields: &MaskedFields) -> Option<String> {
    let json: &RawValue = serde_json::from_slice(payload).ok()?;
    let text = String::with_capacity(payload.len());
    let mut writer = Writer { fields, path: Path::default(), text };
    writer.write(json.get(), DEEPEST)?;
    Some(writer.text)
}

/// The names of fields whose values are left out.
#[derive(Debug)]
pub(super) struct MaskedFields(Vec<String>);

impl MaskedFields {
    #[cfg(test)]
    pub(super) fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|&name| name.to_owned()).collect())
    }

    /// Whether the field at this path is one of them.
    pub(super) fn mask(&self, path: &Path) -> bool {
        self.0.iter().any(|field| is_end(field, &path.0))
    }

    /// Whether the column's value may be one of them, or in one.
    fn cover(&self, column: &str) -> bool {
        let is_one =
            |path: &str| self.0.iter().any(|field| is_end(field, path) || is_end(path, field));
        outward(column).any(is_one)
    }

    /// Whether the field at this path is one of them, or in one.
    fn hide(&self, path: &str) -> bool {
        outward(path).any(|path| self.0.iter().any(|field| is_end(field, path)))
    }
}

/// The path, and those of the records that its field is in.
fn outward(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
    ends.map(|end| &path[..end])
}

/// Whether the names in `path` end with those in `end`.
fn is_end(end: &str, path: &str) -> bool {
    path.strip_suffix(end).is_some_and(|outer| outer.is_empty() || outer.ends_with('.'))
}

/// Where a field is: the names of the records that it is in and its own, joined by points.
#[derive(Debug, Default)]
pub(super) struct Path(String);

impl Path {
    /// Goes to the member of this name; [`Path::leave`] goes back by what this returns.
    pub(super) fn enter(&mut self, name: &str) -> usize {
        let outer = self.0.len();
        if outer > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        outer
    }

    pub(super) fn leave(&mut self, outer: usize) {
        self.0.truncate(outer);
    }
}

/// A JSON text that is being masked.
struct Writer<'a> {
    fields: &'a MaskedFields,
    path: Path,
    /// What was written so far.
    text: String,
}

impl Writer<'_> {
    /// Writes the JSON `value` without the named members.
    fn write(&mut self, value: &str, deeper: usize) -> Option<()> {
        let deeper = deeper.checked_sub(1)?;
        match value.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(value).ok()?;
                self.text.push('{');
                for (place, (name, member)) in members.iter().enumerate() {
                    if place > 0 {
                        self.text.push(',');
                    }
                    self.text.push_str(&serde_json::to_string(name).ok()?);
                    self.text.push(':');
                    let outer = self.path.enter(name);
                    if self.fields.mask(&self.path) {
                        self.text.push_str(&serde_json::to_string(MASK).ok()?);
                    } else {
                        self.write(member.get(), deeper)?;
                    }
                    self.path.leave(outer);
                }
                self.text.push('}');
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(value).ok()?;
                self.text.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        self.text.push(',');
                    }
                    self.write(item.get(), deeper)?;
                }
                self.text.push(']');
            }
            _ => self.text.push_str(value),
        }
        Some(())
    }
}

impl Mask for WireMask {
    fn mask(&self, raw: &Raw) -> Raw {
        let payload = match &raw.payload {
            None => None, // a tombstone has no fields
            Some(payload) => match self.payload(payload, &self.fields) {
                Some(payload) => Some(payload),
                None => return unreadable(raw, &self.names),
            },
        };
        let key = raw.key.as_ref().and_then(|key| self.key(key));
        Raw { key, ..masked(raw, payload, &self.names) }
    }
}

#[cfg(test)]
mod tests {
    use tally_domain::Flow;
    use tally_domain::transactions::Transactions;

    use super::*;

    fn raw(payload: Option<&'static [u8]>) -> Raw {
        let headers =
            [("merchant".to_owned(), Some(Bytes::from_static(b"Jane"))), ("x".to_owned(), None)];
        Raw {
            key: Some(Bytes::from_static(b"7")),
            payload: payload.map(Bytes::from_static),
            headers: headers.into(),
            ..Raw::default()
        }
    }

    fn mask(fields: &[&str], payload: Option<&'static [u8]>) -> Raw {
        let fields: Vec<String> = fields.iter().map(|&name| name.to_owned()).collect();
        WireMask::new(&fields, Transactions::default().columns(), None).mask(&raw(payload))
    }

    #[track_caller]
    fn check(fields: &[&str], payload: &'static str, expected: &str) {
        let found = mask(fields, Some(payload.as_bytes()));
        assert_eq!(str::from_utf8(found.payload.as_deref().unwrap()).unwrap(), expected);
        assert_eq!(found.header("masked").unwrap(), &fields.join(","));
    }

    #[test]
    fn named_fields_are_masked_at_any_depth_and_the_others_stay_exact() {
        check(
            &["merchant"],
            r#" {"id": 1.50e3, "merchant": {"a": 1}, "b": [{"merch\u0061nt": null}, 2, {"m": "x\u00e9"}], "merchant": "J"}"#,
            r#"{"id":1.50e3,"merchant":"***","b":[{"merchant":"***"},2,{"m":"x\u00e9"}],"merchant":"***"}"#,
        );
        check(&["nothing"], r#"{"a":{}}"#, r#"{"a":{}}"#);
    }

    #[test]
    fn points_name_a_field_in_a_record_of_that_name() {
        let payload = r#"{"card":1,"after":{"card":2,"x":{"card":3},"y":[{"card":4}]},"payload":{"after":{"card":5}},"before":{"card":6}}"#;
        check(
            &["after.card", "x.card"],
            payload,
            r#"{"card":1,"after":{"card":"***","x":{"card":"***"},"y":[{"card":4}]},"payload":{"after":{"card":"***"}},"before":{"card":6}}"#,
        );
        check(&["card.after"], r#"{"card":1,"after":2}"#, r#"{"card":1,"after":2}"#);
        check(&["payload.after.card"], r#"{"after":{"card":1}}"#, r#"{"after":{"card":"***"}}"#);
        check(
            &["after.card"],
            r#"{"after.card":1,"thereafter":{"card":2}}"#,
            r#"{"after.card":"***","thereafter":{"card":2}}"#,
        );
    }

    #[test]
    fn headers_of_that_name_go_and_the_key_with_the_id() {
        let found = mask(&["merchant"], None);
        let names: Vec<&str> = found.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, found.key.is_some(), found.payload), (vec!["x", "masked"], true, None));
        assert_eq!(mask(&["id"], Some(b"{}")).key, None);
    }

    #[test]
    fn a_key_that_is_an_object_is_masked_as_well() {
        let fields = ["merchant".to_owned()];
        let mask = WireMask::new(&fields, Transactions::default().columns(), None);
        let key = |key: &'static [u8]| {
            mask.mask(&Raw { key: Some(Bytes::from_static(key)), ..raw(Some(b"{}")) }).key
        };
        let masked = Bytes::from_static(br#"{"id":7,"merchant":"***"}"#);
        assert_eq!(key(br#"{"id":7,"merchant":"Jane"}"#), Some(masked));
        assert_eq!(key(b" {\"merchant\":\"Jane"), None);
        assert_eq!(key(br#"[{"merchant":"Jane"}]"#), None);
        assert_eq!(key(b"7"), Some(Bytes::from_static(b"7")));

        let fields = ["after.card".to_owned()];
        let mask = WireMask::new(&fields, Transactions::default().columns(), None);
        let key = Some(Bytes::from_static(br#"{"card":7}"#));
        let masked = mask.mask(&Raw { key, ..raw(Some(b"{}")) }).key;
        assert_eq!(masked.as_deref(), Some(&br#"{"card":"***"}"#[..]));
    }

    #[test]
    fn the_key_goes_with_whatever_its_id_is_in() {
        let columns = [Column::new("after.id", Kind::Id), Column::new("before.x", Kind::Text)];
        let has_key = |field: &str| {
            let mask = WireMask::new(&[field.to_owned()], &columns, None);
            mask.mask(&raw(Some(b"{}"))).key.is_some()
        };
        let found = ["after", "id", "after.id", "payload.after", "before", "x"].map(has_key);
        assert_eq!(found, [false, false, false, false, true, true]);

        let key = |field: &str| {
            let mask = WireMask::new(&[field.to_owned()], &columns, None);
            let key = Some(Bytes::from_static(br#"{"y":7}"#));
            mask.mask(&Raw { key, ..raw(Some(b"{}")) }).key.is_some()
        };
        assert_eq!(["before", "x", "y"].map(key), [false, true, true]);
    }

    #[test]
    fn what_cannot_be_parsed_is_kept_as_length_and_hash() {
        let deep: &'static [u8] = Box::leak("[".repeat(100_000).into_bytes().into_boxed_slice());
        let nested = "{\"a\":".repeat(200) + "1" + &"}".repeat(200);
        let nested: &'static [u8] = Box::leak(nested.into_bytes().into_boxed_slice());
        for payload in [
            &b"{\"merchant\":\"Jane\""[..],
            b"",
            b"\0\0\0\0\x01Jane",
            b"[1]",
            b"\xff",
            deep,
            nested,
        ] {
            let found = mask(&["merchant"], Some(payload));
            let hash = blake3::hash(payload).to_hex();
            let expected = format!("{} bytes, BLAKE3 {hash}", payload.len());
            assert_eq!(found.payload.as_deref(), Some(expected.as_bytes()));
            assert_eq!(found.key, None);
        }
    }
}
