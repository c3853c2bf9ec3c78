//! Data as JSON text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value as Json;
use tally_domain::Field;
use tally_ports::privacy::MASK;

use super::datum::Datum;
use super::schema::{Node, WriterSchema};
use super::value::{DEEPEST, in_blocks, scalar, skip, too_deep};
use crate::wire::broken::Broken;
use crate::wire::mask::{MaskedFields, Path};

/// A value: a number with its digits; what has no JSON of its own as its text.
pub(super) fn text(
    datum: &mut Datum<'_>,
    schema: &WriterSchema,
    node: &Node,
) -> Result<String, Broken> {
    let (path, text) = Default::default();
    let mut writer = Writer { schema, form: Form::Exact, masked: None, path, text };
    writer.value(datum, node, DEEPEST)?;
    Ok(writer.text)
}

/// The record that `datum` is, every value as its text, those of `fields` masked at whatever depth.
pub(in crate::wire) fn masked(
    datum: Datum<'_>,
    schema: &WriterSchema,
    fields: &MaskedFields,
) -> Result<String, Broken> {
    whole(datum, schema, fields, Form::Texts)
}

/// What `datum` is, for people: a number with its digits, bytes that are no text in base64, those of `fields` masked at
/// whatever depth.
pub(in crate::wire) fn shown(
    datum: Datum<'_>,
    schema: &WriterSchema,
    fields: &MaskedFields,
) -> Result<String, Broken> {
    whole(datum, schema, fields, Form::Shown)
}

fn whole(
    mut datum: Datum<'_>,
    schema: &WriterSchema,
    fields: &MaskedFields,
    form: Form,
) -> Result<String, Broken> {
    let (path, text) = Default::default();
    let mut writer = Writer { schema, form, masked: Some(fields), path, text };
    writer.value(&mut datum, schema.root(), DEEPEST)?;
    datum.end()?;
    Ok(writer.text)
}

/// What becomes of values that JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// They are refused.
    Exact,
    /// They are texts, and so are numbers; bytes of a fixed number are told by that.
    Texts,
    /// They are texts; bytes of a fixed number, and others that are not UTF-8, are in base64.
    Shown,
}

struct Writer<'a> {
    schema: &'a WriterSchema,
    form: Form,
    /// The fields whose values are left out.
    masked: Option<&'a MaskedFields>,
    /// Where in the record the value is; kept with masked fields only.
    path: Path,
    /// What was written so far.
    text: String,
}

impl Writer<'_> {
    fn value(&mut self, datum: &mut Datum<'_>, node: &Node, deeper: usize) -> Result<(), Broken> {
        let deeper = deeper.checked_sub(1).ok_or_else(too_deep)?;
        let schema = self.schema;
        match schema.resolve(node, datum)? {
            Node::Record(fields) => {
                self.text.push('{');
                for (place, field) in fields.iter().enumerate() {
                    self.separate(place);
                    self.member(&field.name, datum, schema.node(field.node), deeper)?;
                }
                self.text.push('}');
            }
            Node::Array(item) => {
                self.text.push('[');
                let mut place = 0;
                in_blocks(datum, |datum| {
                    self.separate(place);
                    place += 1;
                    self.value(datum, schema.node(*item), deeper)
                })?;
                self.text.push(']');
            }
            Node::Map(item) => {
                self.text.push('{');
                let mut place = 0;
                in_blocks(datum, |datum| {
                    self.separate(place);
                    place += 1;
                    let name = datum.string()?;
                    self.member(&name, datum, schema.node(*item), deeper)
                })?;
                self.text.push('}');
            }
            Node::Fixed(size) if self.form == Form::Texts => {
                datum.take(*size)?;
                self.quote(&format!("{size} bytes"));
            }
            Node::Fixed(size) if self.form == Form::Shown => {
                self.quote(&BASE64_STANDARD.encode(datum.take(*size)?));
            }
            Node::Bytes if self.form == Form::Shown => {
                let bytes = datum.counted()?;
                match str::from_utf8(bytes) {
                    Ok(text) => self.quote(text),
                    Err(_) => self.quote(&BASE64_STANDARD.encode(bytes)),
                }
            }
            node => self.scalar(&scalar(datum, node, "a JSON value")?)?,
        }
        Ok(())
    }

    fn member(
        &mut self,
        name: &str,
        datum: &mut Datum<'_>,
        node: &Node,
        deeper: usize,
    ) -> Result<(), Broken> {
        self.quote(name);
        self.text.push(':');
        let Some(masked) = self.masked else { return self.value(datum, node, deeper) };
        let outer = self.path.enter(name);
        if masked.mask(&self.path) {
            self.quote(MASK);
            skip(datum, self.schema, node)?;
        } else {
            self.value(datum, node, deeper)?;
        }
        self.path.leave(outer);
        Ok(())
    }

    fn scalar(&mut self, field: &Field) -> Result<(), Broken> {
        match field {
            Field::Number(number) if self.form != Form::Texts => {
                let is_json = number.ends_with(|end: char| end.is_ascii_digit());
                match self.form {
                    _ if is_json => self.text.push_str(number),
                    Form::Exact => return Err(Broken::new("a number that JSON does not have")),
                    _ => self.quote(number),
                }
            }
            Field::Integer(_) | Field::Decimal(_) if self.form != Form::Texts => {
                self.text.push_str(&field.text().unwrap_or_default());
            }
            Field::Boolean(is_true) => self.text.push_str(if *is_true { "true" } else { "false" }),
            field => match field.text() {
                Some(text) => self.quote(&text),
                None => self.text.push_str("null"),
            },
        }
        Ok(())
    }

    fn separate(&mut self, place: usize) {
        if place > 0 {
            self.text.push(',');
        }
    }

    fn quote(&mut self, text: &str) {
        self.text.push_str(&Json::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
        {"name": "id", "type": "string"},
        {"name": "merchant", "type": ["null", "string"]},
        {"name": "n", "type": {"type": "record", "name": "N", "fields": [
            {"name": "merchant", "type": "string"},
            {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}}]}},
        {"name": "list", "type": {"type": "array", "items": "N"}}]}"#;

    const DATUM: &[u8] = b"\x027\x02\x08Jane\x02X\x02\x96\x02\x02Y\x02\x05\x00";

    #[test]
    fn named_fields_are_masked_at_any_depth() {
        let schema = WriterSchema::parse(SCHEMA, &[]).unwrap();
        let fields = MaskedFields::of(&["merchant"]);
        let masked = |datum: &[u8]| {
            let datum = Bytes::copy_from_slice(datum);
            masked(Datum::new(&datum, &datum), &schema, &fields)
        };
        assert_eq!(
            serde_json::from_str::<Json>(&masked(DATUM).unwrap()).unwrap(),
            json!({
                "id": "7", "merchant": "***", "n": {"merchant": "***", "amount": "-1.06"},
                "list": [{"merchant": "***", "amount": "0.05"}],
            })
        );
        for cut in 0..DATUM.len() {
            assert!(masked(&DATUM[..cut]).is_err(), "{cut}");
        }
        assert!(masked(&[DATUM, b"x"].concat()).is_err());

        let datum = Bytes::from_static(DATUM);
        let fields = MaskedFields::of(&["n.merchant"]);
        let text = super::masked(Datum::new(&datum, &datum), &schema, &fields).unwrap();
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["merchant"], &json["n"]["merchant"]), (&json!("Jane"), &json!("***")));
    }

    #[test]
    fn people_see_numbers_as_numbers_and_all_bytes() {
        let schema = r#"{"type": "record", "name": "R", "fields": [
            {"name": "n", "type": "double"}, {"name": "x", "type": "double"},
            {"name": "b", "type": "bytes"}, {"name": "t", "type": "bytes"},
            {"name": "f", "type": {"type": "fixed", "name": "F", "size": 2}},
            {"name": "card", "type": {"type": "record", "name": "C", "fields": [{"name": "no", "type": "long"}]}}]}"#;
        let schema = WriterSchema::parse(schema, &[]).unwrap();
        let (number, none) = (1.5_f64.to_le_bytes(), f64::NAN.to_le_bytes());
        let datum = [&number[..], &none, b"\x04\xff\x00", b"\x02t", b"\xfe\xff", b"\x0e"].concat();
        let datum = Bytes::from(datum);
        let shown = |fields: &[&str]| {
            shown(Datum::new(&datum, &datum), &schema, &MaskedFields::of(fields)).unwrap()
        };
        let expected = r#"{"n":1.5,"x":"NaN","b":"/wA=","t":"t","f":"/v8=","card":{"no":7}}"#;
        assert_eq!(shown(&[]), expected);
        assert_eq!(shown(&["card.no"]), expected.replace('7', "\"***\""));
    }
}
