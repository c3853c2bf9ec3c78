//! Records with other values at some places.

use tally_domain::ByteString;

use super::datum::Datum;
use super::schema::{Node, WriterSchema};
use super::value::{in_blocks, skip};
use super::write::{Writer, bytes, count};
use crate::wire::broken::Broken;

/// The datum with this JSON at the path, whose points lead into inner records and maps; all else byte for byte as it was.
pub(in crate::wire) fn edited(
    mut datum: Datum<'_>,
    schema: &WriterSchema,
    path: &str,
    json: &str,
) -> Result<Vec<u8>, Broken> {
    let mut edit = Edit { schema, json, out: Vec::with_capacity(datum.left() + json.len()) };
    edit.within(&mut datum, schema.root(), path)?;
    datum.end()?;
    Ok(edit.out)
}

struct Edit<'a> {
    schema: &'a WriterSchema,
    /// The value that is set.
    json: &'a str,
    /// The datum so far.
    out: Vec<u8>,
}

impl<'a> Edit<'a> {
    /// Sets what is at the path within a record or a map.
    fn within(&mut self, datum: &mut Datum<'_>, node: &'a Node, path: &str) -> Result<(), Broken> {
        let schema = self.schema;
        let node = self.copy(datum, |datum| schema.resolve(node, datum))?;
        let (first, rest) = match path.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (path, None),
        };
        match node {
            Node::Record(fields) => {
                if !fields.iter().any(|field| field.name == first) {
                    return Err(Broken::new("no such field in its schema").of(first));
                }
                for field in fields {
                    let inner = schema.node(field.node);
                    if field.name == first {
                        self.at(datum, inner, rest).map_err(|broken| broken.of(first))?;
                    } else {
                        self.copy(datum, |datum| skip(datum, schema, inner))?;
                    }
                }
                Ok(())
            }
            Node::Map(item) => self.entry(datum, schema.node(*item), (first, rest)),
            node => Err(Broken::new(format!("{} instead of a record", node.name()))),
        }
    }

    /// Sets a value, or what is at the `rest` of the path in it.
    fn at(
        &mut self,
        datum: &mut Datum<'_>,
        node: &'a Node,
        rest: Option<&str>,
    ) -> Result<(), Broken> {
        if let Some(path) = rest {
            return self.within(datum, node, path);
        }
        skip(datum, self.schema, node)?;
        self.set(node)
    }

    fn set(&mut self, node: &Node) -> Result<(), Broken> {
        Writer { schema: self.schema, out: &mut self.out }.value(node, self.json)
    }

    /// A map with what is set in the entry `first`, which is added where it is not there.
    fn entry(
        &mut self,
        datum: &mut Datum<'_>,
        item: &'a Node,
        (first, rest): (&str, Option<&str>),
    ) -> Result<(), Broken> {
        let schema = self.schema;
        let mut entries: Vec<(ByteString, Datum<'_>)> = Vec::new();
        in_blocks(datum, |datum| {
            let name = datum.string()?;
            let begin = datum.clone();
            skip(datum, schema, item)?;
            entries.push((name, begin));
            Ok(())
        })?;
        let is_new = !entries.iter().any(|(name, _)| **name == *first);
        if is_new && rest.is_some() {
            return Err(Broken::new("no such entry").of(first));
        }
        count(&mut self.out, entries.len() + usize::from(is_new));
        for (name, mut value) in entries {
            bytes(&mut self.out, name.as_bytes());
            if *name == *first {
                self.at(&mut value, item, rest).map_err(|broken| broken.of(first))?;
            } else {
                self.copy(&mut value, |value| skip(value, schema, item))?;
            }
        }
        if is_new {
            bytes(&mut self.out, first.as_bytes());
            self.set(item).map_err(|broken| broken.of(first))?;
        }
        count(&mut self.out, 0);
        Ok(())
    }

    /// Copies what is read.
    fn copy<T>(
        &mut self,
        datum: &mut Datum<'_>,
        read: impl FnOnce(&mut Datum<'_>) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        let begin = datum.clone();
        let result = read(datum)?;
        self.out.extend_from_slice(begin.until(datum));
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::avro::shown;
    use crate::wire::mask::MaskedFields;

    const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
        {"name": "id", "type": "string"},
        {"name": "none", "type": ["null", "string"]},
        {"name": "yes", "type": "boolean"},
        {"name": "int", "type": "int"}, {"name": "long", "type": ["long", "null"]},
        {"name": "float", "type": "float"}, {"name": "double", "type": "double"},
        {"name": "bytes", "type": "bytes"},
        {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "decimal", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "wide", "type": {"type": "fixed", "name": "W", "size": 8, "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "big", "type": {"type": "bytes", "logicalType": "big-decimal"}},
        {"name": "uuid", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}},
        {"name": "date", "type": {"type": "int", "logicalType": "date"}},
        {"name": "utc", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"name": "enum", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        {"name": "list", "type": {"type": "array", "items": "long"}},
        {"name": "map", "type": {"type": "map", "values": ["null", {"type": "record", "name": "N", "fields": [
            {"name": "a", "type": "string"}, {"name": "b", "type": "long"}]}]}},
        {"name": "in", "type": ["null", "N"]}]}"#;

    const BEFORE: &str = r#"{"id":"é\"7","none":null,"yes":true,"int":-7,"long":1234567890123,"float":1.5,"double":-0.25,"bytes":"t","fixed":"/v8=","decimal":-1.06,"wide":0.05,"big":-12.345,"uuid":"00000000-0000-0000-0000-0000000000ff","date":"1969-12-31","utc":"2024-01-15T08:30:00.250Z","local":"1969-12-31T23:59:59.999999","enum":"B","list":[1,-64,64],"map":{"x":{"a":"","b":0}},"in":{"a":"n","b":8191}}"#;

    fn schema() -> WriterSchema {
        WriterSchema::parse(SCHEMA, &[]).unwrap()
    }

    fn before() -> Bytes {
        let mut out = Vec::new();
        let schema = schema();
        Writer { schema: &schema, out: &mut out }.value(schema.root(), BEFORE).unwrap();
        out.into()
    }

    fn edit(path: &str, json: &str) -> Result<String, String> {
        let (schema, before) = (schema(), before());
        let after = edited(Datum::new(&before, &before), &schema, path, json);
        let after = Bytes::from(after.map_err(|broken| broken.to_string())?);
        Ok(shown(Datum::new(&after, &after), &schema, &MaskedFields::of(&[])).unwrap())
    }

    #[test]
    fn what_is_shown_can_be_written() {
        let (schema, before) = (schema(), before());
        let datum = Datum::new(&before, &before);
        assert_eq!(shown(datum, &schema, &MaskedFields::of(&[])).unwrap(), BEFORE);
    }

    /// As another implementation writes it.
    #[test]
    fn it_is_written_as_avro_has_it() {
        let parsed = apache_avro::Schema::parse_str(SCHEMA).unwrap();
        let reader = apache_avro::reader::datum::GenericDatumReader::builder(&parsed).build();
        let mut rest = &before()[..];
        let apache_avro::types::Value::Record(fields) =
            reader.unwrap().read_value(&mut rest).unwrap()
        else {
            panic!("no record")
        };
        assert!(rest.is_empty());
        let of =
            |name: &str| format!("{:?}", fields.iter().find(|(found, _)| found == name).unwrap().1);
        assert_eq!(of("date"), "Date(-1)");
        assert_eq!(of("utc"), "TimestampMillis(1705307400250)");
        assert_eq!(of("list"), "Array([Long(1), Long(-64), Long(64)])");
        assert_eq!(of("enum"), r#"Enum(1, "B")"#);
        assert_eq!(of("long"), "Union(0, Long(1234567890123))");
        assert_eq!(of("big"), "BigDecimal(BigDecimal(sign=Minus, scale=3, digits=[12345]))");
    }

    #[test]
    fn one_value_changes_and_all_else_stays() {
        for (path, json, from, to) in [
            ("id", r#""x""#, r#""é\"7""#, r#""x""#),
            ("none", r#""x""#, r#""none":null"#, r#""none":"x""#),
            ("long", "null", "1234567890123", "null"),
            ("long", "-9223372036854775808", "1234567890123", "-9223372036854775808"),
            ("decimal", "\"12.5\"", "-1.06", "12.50"),
            ("decimal", "1e3", "-1.06", "1000.00"),
            ("wide", "-128", "0.05", "-128.00"),
            ("utc", "1705307400250", "", ""),
            ("utc", r#""2024-01-15T09:30:01+01:00""#, "30:00.250Z", "30:01Z"),
            ("date", "1", "1969-12-31\",\"utc", "1970-01-02\",\"utc"),
            ("list", "[]", "[1,-64,64]", "[]"),
            ("map", "{}", r#"{"x":{"a":"","b":0}}"#, "{}"),
            ("map.x", "null", r#"{"a":"","b":0}"#, "null"),
            ("map.x.b", "5", r#"{"a":"","b":0}"#, r#"{"a":"","b":5}"#),
            ("map.y", r#"{"b":1,"a":"y"}"#, r#""b":0}}"#, r#""b":0},"y":{"a":"y","b":1}}"#),
            ("in.b", "-8192", "8191", "-8192"),
            ("in", "null", r#"{"a":"n","b":8191}"#, "null"),
        ] {
            assert_eq!(edit(path, json), Ok(BEFORE.replacen(from, to, 1)), "{path} {json}");
        }
    }

    #[test]
    fn what_the_schema_has_no_place_for_is_refused() {
        for (path, json, why) in [
            ("nothing", "1", "nothing: no such field in its schema"),
            ("in.c", "1", "in.c: no such field in its schema"),
            ("id.a", "1", "id: a text instead of a record"),
            ("none.a", "1", "none: null instead of a record"),
            ("map.y.a", "1", "map.y: no such entry"),
            ("id", "7", "id: expected a text"),
            ("yes", "1", "yes: expected a boolean"),
            ("int", "2147483648", "int: expected an int"),
            ("long", "1.5", "long: expected a long"),
            ("double", "\"1\"", "double: expected a number"),
            ("fixed", "\"/w==\"", "fixed: expected 2 bytes in base64"),
            ("decimal", "0.001", "decimal: more than 2 decimals"),
            ("decimal", "\"x\"", "decimal: expected a number"),
            ("wide", "1e30", "wide: does not fit 8 bytes"),
            ("uuid", "\"x\"", "uuid: expected a UUID"),
            ("date", "\"x\"", "date: expected a date, like 2024-01-15"),
            (
                "utc",
                "\"2024-01-15T08:30:00\"",
                "utc: expected a time with its zone, like 2024-01-15T08:30:00Z",
            ),
            ("local", "\"x\"", "local: expected a time without a zone, like 2024-01-15T08:30:00"),
            ("enum", "\"C\"", "enum: no symbol of its enum"),
            ("list", "[1,\"x\"]", "list: expected a long"),
            ("map.x", "{\"a\":\"\"}", "map.x.b: is missing"),
            ("in", "{\"a\":\"\",\"b\":1,\"c\":2}", "in.c: no such field in its schema"),
        ] {
            assert_eq!(edit(path, json), Err(why.to_owned()), "{path} {json}");
        }
        let (schema, before) = (schema(), before());
        for cut in 0..before.len() {
            let datum = Datum::new(&before, &before[..cut]);
            assert!(edited(datum, &schema, "id", "\"\"").is_err(), "{cut}");
        }
    }
}
