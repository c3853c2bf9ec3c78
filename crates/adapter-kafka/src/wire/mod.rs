//! The formats of records on a topic.
//!
//! [`Decoder`] tells JSON from Avro by the first byte and reads what a flow's columns hold, every text and number
//! exactly, and as a part of the record's bytes where it stands there as it is. [`Encoder`] writes what the producer sends, [`DeadLetterTopic`] what became of a dead letter. Faults of a
//! record never quote it.
//!
//! | the value | becomes |
//! | --- | --- |
//! | none (a tombstone) | no fields at all; the flow says what that is |
//! | zero bytes, or anything that begins with another byte than 0 | a JSON object, else `json` |
//! | begins with 0 | the registry's frame (Confluent's: 0 and the schema's id), else `avro` |
//! | in the frame, of an Avro schema | Avro, else `avro` |
//! | in the frame, of a JSON Schema | a JSON object, else `json`; it is not checked against the schema |
//! | in the frame, of a schema that the registry does not know, or with no registry set | `schema_unknown` |
//! | in the frame, of another kind of schema or one that cannot be used | `avro` |
//!
//! In an envelope of [`Envelope::Debezium`] a JSON object of exactly `schema` and `payload` is read as its payload, one of
//! null as a tombstone.
//!
//! A column's name with points leads into inner JSON objects and Avro records. Where one of these is missing, the columns
//! in it are absent; where one is null, they are null; where one is anything else, the record is a bad one.
//!
//! | the kind of a column | its value |
//! | --- | --- |
//! | id, decimal, text | a text, a number or null |
//! | timestamp | these; a number, or a date of Avro, is a time where the column's unit says which |
//! | boolean | these, true or false |
//! | JSON | anything, as its own JSON text; null is null |

mod avro;
mod broken;
mod columns;
mod dead_letters;
mod decimal;
mod encoder;
mod event;
mod json;
mod mask;
mod members;
mod registry;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tally_domain::{Column, Envelope, Fields, Reason, Stage, TimeUnits};
use tally_ports::Fault;

use self::columns::Columns;
pub use self::dead_letters::DeadLetterTopic;
pub use self::encoder::Encoder;
pub use self::mask::WireMask;
use self::registry::Lookup;
pub use self::registry::Registry;

/// Reads the values of a flow's records, whatever their format.
#[derive(Debug)]
pub struct Decoder {
    columns: Columns,
    envelope: Envelope,
    registry: Option<Registry>,
    /// Whether nothing is read of the values.
    is_of_bytes: bool,
    /// Whether it was said that a registry is missing.
    has_warned: AtomicBool,
}

impl Decoder {
    /// Reads these columns of what is in the `envelope`. Without a `registry` every record in its frame is a bad one. A time
    /// that is a number is read in its unit, where the column's is among the `units`.
    pub fn new(
        columns: &[Column],
        units: &TimeUnits,
        envelope: Envelope,
        registry: Option<Registry>,
    ) -> Self {
        let columns = Columns::new(columns, units);
        let (is_of_bytes, has_warned) = (false, AtomicBool::new(false));
        Self { columns, envelope, registry, is_of_bytes, has_warned }
    }

    /// Reads nothing of the values, for whoever needs the bytes alone: there are no fields.
    pub fn of_bytes() -> Self {
        let decoder = Self::new(&[], &TimeUnits::default(), Envelope::Plain, None);
        Self { is_of_bytes: true, ..decoder }
    }

    /// What the columns hold, or why the bytes are no record; no fields where there are no bytes. The outer fault is the
    /// registry's; nothing is known of the record then, and the call can be made again.
    pub async fn decode(&self, payload: Option<&Bytes>) -> Result<Result<Fields, Reason>, Fault> {
        let refused = |code, message: String| Ok(Err(Reason::new(Stage::Decode, code, message)));
        let Some(payload) = payload.filter(|_| !self.is_of_bytes) else {
            return Ok(Ok(Fields::new()));
        };
        if payload.first() != Some(&avro::MAGIC) {
            return Ok(self.json(payload));
        }

        let (id, datum) = match avro::unframe(payload) {
            Ok(unframed) => unframed,
            Err(broken) => return refused("avro", broken.to_string()),
        };
        let Some(registry) = &self.registry else {
            self.warn();
            return refused("schema_unknown", "no schema registry is configured".into());
        };
        let schema = match registry.schema(id).await? {
            Lookup::Avro(schema) => schema,
            Lookup::Json => return Ok(self.json(&payload.slice(avro::FRAME..))),
            Lookup::Unknown => {
                return refused("schema_unknown", format!("the registry knows no schema {id}"));
            }
            Lookup::Unusable(avro::Unusable(why)) => {
                return refused("avro", format!("schema {id}: {why}"));
            }
        };
        match avro::decode(datum, &schema, &self.columns) {
            Ok(fields) => Ok(Ok(fields)),
            Err(broken) => refused("avro", broken.to_string()),
        }
    }

    fn json(&self, payload: &Bytes) -> Result<Fields, Reason> {
        let decoded = json::decode(payload, self.envelope, &self.columns);
        decoded.map_err(|broken| Reason::new(Stage::Decode, "json", broken.to_string()))
    }

    /// Says once what is wrong with all records in the registry's frame.
    fn warn(&self) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "there are records with a schema's id but no schema registry is configured (SCHEMA_REGISTRY_URL): each \
                 becomes a dead letter"
            );
        }
    }
}
