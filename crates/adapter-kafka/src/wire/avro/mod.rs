//! Records as Avro data behind Confluent's frame: a zero, four bytes of the schema's id, the datum.
//!
//! A record is read by its writer's schema and its fields are mapped to columns by name; what a column then is, see
//! [`value`]. A column that the schema does not have is absent, a field that is no column is passed over. That is what
//! Avro's rules give for a reader whose every column is optional and without aliases.
//!
//! Schemas are parsed by apache-avro; the data are read here. Its reader takes a string or a union that ends too early
//! for null, so that a cut record would pass for a whole one, and goes as deep as the data say, so that a record could
//! overflow the stack (both were tried with 0.22).

mod datum;
mod edit;
mod json;
mod schema;
mod value;
mod write;

use bytes::Bytes;
use tally_domain::Fields;

pub(super) use self::datum::Datum;
pub(super) use self::edit::edited;
pub(super) use self::json::{masked, shown};
use self::schema::Node;
pub(super) use self::schema::{Unusable, WriterSchema};
use super::broken::Broken;
use super::columns::{Columns, Level, Member};

/// What every framed record begins with.
pub(super) const MAGIC: u8 = 0;
/// How long the frame before a record is.
pub(super) const FRAME: usize = 5;

/// The frame's schema id and what comes after it.
pub(super) fn unframe(payload: &Bytes) -> Result<(u32, Datum<'_>), Broken> {
    match payload.split_first_chunk::<FRAME>() {
        Some((&[MAGIC, a, b, c, d], rest)) => {
            Ok((u32::from_be_bytes([a, b, c, d]), Datum::new(payload, rest)))
        }
        _ => Err(Broken::new("the frame of five bytes ends too early")),
    }
}

/// The fields of the record that `datum` is.
pub(super) fn decode(
    mut datum: Datum<'_>,
    schema: &WriterSchema,
    columns: &Columns,
) -> Result<Fields, Broken> {
    let mut fields = columns.absent();
    let Node::Record(members) = schema.resolve(schema.root(), &mut datum)? else {
        return Err(Broken::new("not a record"));
    };
    Record { schema, members }.read(&mut datum, &columns.root, &mut fields)?;
    datum.end()?;
    Ok(fields)
}

/// A record, its own fields one after the other.
struct Record<'a> {
    schema: &'a WriterSchema,
    members: &'a [schema::Field],
}

impl Record<'_> {
    fn read(
        &self,
        datum: &mut Datum<'_>,
        level: &Level,
        fields: &mut Fields,
    ) -> Result<(), Broken> {
        let mut next = 0;
        for schema::Field { name, node } in self.members {
            let node = self.schema.node(*node);
            let read = match level.find(name, &mut next) {
                None => value::skip(datum, self.schema, node),
                Some((_, member)) => self.read_member(datum, node, member, fields),
            };
            read.map_err(|broken| broken.of(name))?;
        }
        Ok(())
    }

    fn read_member(
        &self,
        datum: &mut Datum<'_>,
        node: &Node,
        member: &Member,
        fields: &mut Fields,
    ) -> Result<(), Broken> {
        let mut inner = datum.clone();
        if let Some(column) = member.column {
            let lacks_unit = column.unit.is_some()
                && self.schema.resolve(node, &mut datum.clone())?.lacks_unit();
            let field = value::field(datum, self.schema, node, column.kind)?;
            fields[column.place] = if lacks_unit { column.in_unit(field) } else { field };
            if member.inner.is_empty() {
                return Ok(());
            }
        }
        match self.schema.resolve(node, &mut inner)? {
            Node::Null => member.inner.set_null(fields),
            Node::Record(members) => {
                Record { schema: self.schema, members }.read(&mut inner, &member.inner, fields)?;
            }
            other => return Err(Broken::new(format!("{} instead of a record", other.name()))),
        }
        *datum = inner;
        Ok(())
    }
}
