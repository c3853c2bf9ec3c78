//! The formats of records on a topic.
//!
//! [`Decoder`] tells JSON from Avro by the first byte and reads what a flow's columns hold, every text and number
//! exactly, and as a part of the record's bytes where it stands there as it is. [`View`] shows records to people, whatever
//! flow they are of. [`Encoder`] writes what the producer sends, [`DeadLetterTopic`] what became of a dead letter. Faults of a
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
mod view;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tally_domain::{Column, Envelope, Fields, Reason, Stage, TimeUnits};
use tally_ports::Fault;

use self::avro::{Datum, WriterSchema};
use self::columns::Columns;
pub use self::dead_letters::DeadLetterTopic;
pub use self::encoder::Encoder;
pub use self::mask::WireMask;
use self::registry::Lookup;
pub use self::registry::Registry;
pub use self::view::{Value, View, Viewed};

/// The code of a record whose schema cannot be found.
const SCHEMA_UNKNOWN: &str = "schema_unknown";

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
        let Some(payload) = payload.filter(|_| !self.is_of_bytes) else {
            return Ok(Ok(Fields::new()));
        };
        let content = match Content::of(payload, self.registry.as_ref()).await? {
            Ok(content) => content,
            Err(reason) => {
                if self.registry.is_none() && reason.code == SCHEMA_UNKNOWN {
                    self.warn();
                }
                return Ok(Err(reason));
            }
        };
        Ok(match content {
            Content::Json(0) => self.json(payload),
            Content::Json(begin) => self.json(&payload.slice(begin..)),
            Content::Avro(datum, schema) => avro::decode(datum, &schema, &self.columns)
                .map_err(|broken| refusal("avro", &broken)),
        })
    }

    /// The payload with each JSON at its path, whose points lead into inner objects, and all else as it is; or why it cannot be
    /// changed so. The outer fault is the registry's.
    pub async fn edited(
        &self,
        payload: &Bytes,
        values: &[(String, String)],
    ) -> Result<Result<Bytes, Reason>, Fault> {
        let mut payload = payload.clone();
        for (path, value) in values {
            let edited = match Content::of(&payload, self.registry.as_ref()).await? {
                Ok(Content::Json(_)) => {
                    json::edited(&payload, path, value).map_err(|broken| refusal("json", &broken))
                }
                Ok(Content::Avro(datum, schema)) => avro::edited(datum, &schema, path, value)
                    .map(|datum| [&payload[..avro::FRAME], &datum].concat().into())
                    .map_err(|broken| refusal("avro", &broken)),
                Err(reason) => Err(reason),
            };
            match edited {
                Ok(edited) => payload = edited,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(payload))
    }

    fn json(&self, payload: &Bytes) -> Result<Fields, Reason> {
        let decoded = json::decode(payload, self.envelope, &self.columns);
        decoded.map_err(|broken| refusal("json", &broken))
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

/// How the bytes of a value are to be read.
enum Content<'a> {
    /// As JSON, which begins at this byte.
    Json(usize),
    /// As Avro by this schema.
    Avro(Datum<'a>, Arc<WriterSchema>),
}

impl<'a> Content<'a> {
    /// By the first byte and, in the registry's frame, the schema; or why they cannot be read. The outer fault is the registry's.
    async fn of(
        payload: &'a Bytes,
        registry: Option<&Registry>,
    ) -> Result<Result<Self, Reason>, Fault> {
        if payload.first() != Some(&avro::MAGIC) {
            return Ok(Ok(Self::Json(0)));
        }
        let refused = |code, message: String| Ok(Err(Reason::new(Stage::Decode, code, message)));
        let (id, datum) = match avro::unframe(payload) {
            Ok(unframed) => unframed,
            Err(broken) => return Ok(Err(refusal("avro", &broken))),
        };
        let Some(registry) = registry else {
            return refused(SCHEMA_UNKNOWN, "no schema registry is configured".into());
        };
        match registry.schema(id).await? {
            Lookup::Avro(schema) => Ok(Ok(Self::Avro(datum, schema))),
            Lookup::Json => Ok(Ok(Self::Json(avro::FRAME))),
            Lookup::Unknown => {
                refused(SCHEMA_UNKNOWN, format!("the registry knows no schema {id}"))
            }
            Lookup::Unusable(avro::Unusable(why)) => refused("avro", format!("schema {id}: {why}")),
        }
    }
}

fn refusal(code: &'static str, why: &impl fmt::Display) -> Reason {
    Reason::new(Stage::Decode, code, why.to_string())
}
