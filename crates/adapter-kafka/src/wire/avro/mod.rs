//! Records as Avro data behind Confluent's frame: a zero, four bytes of the schema's id, the datum.
//!
//! A record is read by its writer's schema and its fields are mapped to columns by name; what a column then is, see
//! [`value`]. A column that the schema does not have is absent, a field that is no column is passed over. That is what
//! Avro's rules give for a reader whose every column is an optional text without aliases.
//!
//! Schemas are parsed by apache-avro; the data are read here. Its reader takes a string or a union that ends too early
//! for null, so that a cut record would pass for a whole one, and goes as deep as the data say, so that a record could
//! overflow the stack (both were tried with 0.22).

mod bytes;
mod mask;
mod schema;
mod value;

use std::slice;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess};
use serde::forward_to_deserialize_any;

use self::bytes::Bytes;
pub(super) use self::mask::masked;
use self::schema::{Field, Node};
pub(super) use self::schema::{Unusable, WriterSchema};
use super::column::{Broken, Column};

/// What every framed record begins with.
pub(super) const MAGIC: u8 = 0;

/// The frame's schema id and what comes after it.
pub(super) fn unframe(payload: &[u8]) -> Result<(u32, &[u8]), Broken> {
    match payload.split_first_chunk::<5>() {
        Some((&[MAGIC, a, b, c, d], datum)) => Ok((u32::from_be_bytes([a, b, c, d]), datum)),
        _ => Err(Broken::new("the frame of five bytes ends too early")),
    }
}

/// The record that `datum` is.
pub(super) fn decode<W: DeserializeOwned>(
    datum: &[u8],
    schema: &WriterSchema,
) -> Result<W, Broken> {
    let mut bytes = Bytes::new(datum);
    let mut node = schema.root();
    if let Node::Union(branches) = node {
        node = schema.branch(branches, &mut bytes)?;
    }
    let Node::Record(fields) = node else { return Err(Broken::new("not a record")) };

    let record = Record { bytes: &mut bytes, schema, fields: fields.iter(), next: None };
    let wire = W::deserialize(record)?;
    match bytes.left() {
        0 => Ok(wire),
        left => Err(Broken::new(format!("{left} bytes come after the record"))),
    }
}

/// The fields of the record, one after the other.
struct Record<'a, 'de> {
    bytes: &'a mut Bytes<'de>,
    schema: &'a WriterSchema,
    fields: slice::Iter<'a, Field>,
    /// Whose value comes next.
    next: Option<&'a Field>,
}

impl<'de> Deserializer<'de> for Record<'_, 'de> {
    type Error = Broken;

    fn deserialize_any<R: de::Visitor<'de>>(self, visitor: R) -> Result<R::Value, Broken> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Record<'_, 'de> {
    type Error = Broken;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Broken> {
        self.next = self.fields.next();
        self.next.map(|field| seed.deserialize(StrDeserializer::new(&field.name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Broken> {
        let Some(field) = self.next.take() else {
            return Err(Broken::new("a value without its field"));
        };
        let value = value::Unread { bytes: self.bytes, schema: self.schema, node: field.node };
        seed.deserialize(Column(value)).map_err(|broken| broken.of(&field.name))
    }
}
