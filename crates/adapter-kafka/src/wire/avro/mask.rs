//! A datum as JSON, without the values of some fields.

use serde_json::{Map, Value as Json};
use tally_ports::privacy::MASK;

use super::bytes::Bytes;
use super::schema::{Node, WriterSchema};
use super::value::{DEEPEST, Unread, in_blocks};
use crate::wire::column::{Broken, Value};

/// The record that `datum` is, every value as its text, those of `fields` masked at whatever depth.
pub(in crate::wire) fn masked(
    datum: &[u8],
    schema: &WriterSchema,
    fields: &[String],
) -> Result<Json, Broken> {
    let mut bytes = Bytes::new(datum);
    let json = Masking { schema, fields }.json(&mut bytes, schema.root_index(), DEEPEST)?;
    match bytes.left() {
        0 => Ok(json),
        left => Err(Broken::new(format!("{left} bytes come after the record"))),
    }
}

struct Masking<'a> {
    schema: &'a WriterSchema,
    fields: &'a [String],
}

impl Masking<'_> {
    fn json(&self, bytes: &mut Bytes<'_>, index: usize, deeper: usize) -> Result<Json, Broken> {
        let deeper = deeper.checked_sub(1).ok_or_else(|| Broken::new("too deep"))?;
        match self.schema.node(index) {
            Node::Union(branches) => {
                let branch = branches.get(bytes.index()?).copied();
                let branch =
                    branch.ok_or_else(|| Broken::new("a branch that its union does not have"))?;
                self.json(bytes, branch, deeper)
            }
            Node::Record(fields) => {
                let mut object = Map::new();
                for field in fields {
                    let value = self.named(&field.name, bytes, field.node, deeper)?;
                    object.insert(field.name.clone(), value);
                }
                Ok(Json::Object(object))
            }
            Node::Array(item) => {
                let mut list = Vec::new();
                in_blocks(bytes, |bytes| {
                    list.push(self.json(bytes, *item, deeper)?);
                    Ok(())
                })?;
                Ok(Json::Array(list))
            }
            Node::Map(item) => {
                let mut object = Map::new();
                in_blocks(bytes, |bytes| {
                    let name = bytes.string()?;
                    object.insert(name.to_owned(), self.named(name, bytes, *item, deeper)?);
                    Ok(())
                })?;
                Ok(Json::Object(object))
            }
            Node::Boolean => Ok(Json::Bool(bytes.take(1)? == [1])),
            Node::Fixed(size) => {
                bytes.take(*size)?;
                Ok(Json::String(format!("{size} bytes")))
            }
            _ => {
                let text = Unread { bytes, schema: self.schema, node: index }.text()?;
                Ok(text.map_or(Json::Null, |text| Json::String(text.into_owned())))
            }
        }
    }

    fn named(
        &self,
        name: &str,
        bytes: &mut Bytes<'_>,
        index: usize,
        deeper: usize,
    ) -> Result<Json, Broken> {
        if self.fields.iter().any(|field| field == name) {
            Unread { bytes, schema: self.schema, node: index }.skip()?;
            return Ok(Json::String(MASK.to_owned()));
        }
        self.json(bytes, index, deeper)
    }
}

#[cfg(test)]
mod tests {
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
        let fields = ["merchant".to_owned()];
        assert_eq!(
            masked(DATUM, &schema, &fields).unwrap(),
            json!({
                "id": "7", "merchant": "***", "n": {"merchant": "***", "amount": "-1.06"},
                "list": [{"merchant": "***", "amount": "0.05"}],
            })
        );
        for cut in 0..DATUM.len() {
            assert!(masked(&DATUM[..cut], &schema, &fields).is_err(), "{cut}");
        }
        assert!(masked(&[DATUM, b"x"].concat(), &schema, &fields).is_err());
    }
}
