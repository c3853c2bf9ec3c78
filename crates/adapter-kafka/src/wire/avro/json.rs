//! Data as JSON text.

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
    let mut writer = Writer { schema, masked: None, path: Path::default(), text: String::new() };
    writer.value(datum, node, DEEPEST)?;
    Ok(writer.text)
}

/// The record that `datum` is, every value as its text, those of `fields` masked at whatever depth.
pub(in crate::wire) fn masked(
    mut datum: Datum<'_>,
    schema: &WriterSchema,
    fields: &MaskedFields,
) -> Result<String, Broken> {
    let (path, text) = Default::default();
    let mut writer = Writer { schema, masked: Some(fields), path, text };
    writer.value(&mut datum, schema.root(), DEEPEST)?;
    datum.end()?;
    Ok(writer.text)
}

struct Writer<'a> {
    schema: &'a WriterSchema,
    /// The fields whose values are left out. With them numbers are texts, and bytes of a fixed number are told by
    /// that.
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
            Node::Fixed(size) if self.masked.is_some() => {
                datum.take(*size)?;
                self.quote(&format!("{size} bytes"));
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
            Field::Number(number) if self.masked.is_none() => {
                if !number.ends_with(|end: char| end.is_ascii_digit()) {
                    return Err(Broken::new("a number that JSON does not have"));
                }
                self.text.push_str(number);
            }
            Field::Integer(_) | Field::Decimal(_) if self.masked.is_none() => {
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
}
