//! The formats of records on a topic.
//!
//! [`Decoder`] tells JSON from Avro by the first byte and reads each into a flow's `Wire`, every column as its exact
//! text. [`Encoder`] writes what the producer sends, [`DeadLetterTopic`] what became of a dead letter. Faults of a
//! record never quote it.
//!
//! | the value | becomes |
//! | --- | --- |
//! | none (a tombstone) | `tombstone` |
//! | zero bytes, or anything that begins with another byte than 0 | a JSON object, else `json` |
//! | begins with 0 | Avro in Confluent's frame, else `avro` |
//! | in the frame, of a schema that the registry does not know, or with no registry set | `schema_unknown` |
//! | in the frame, of a schema that is not Avro's or that cannot be used | `avro` |

mod avro;
mod column;
mod dead_letters;
mod decimal;
mod encoder;
mod event;
mod json;
mod mask;
mod registry;

use std::sync::atomic::{AtomicBool, Ordering};

use tally_domain::{Flow, Reason, Stage};
use tally_ports::Fault;

pub use self::dead_letters::DeadLetterTopic;
pub use self::encoder::Encoder;
pub use self::mask::WireMask;
pub use self::registry::Registry;

/// Reads the values of records, whatever their format.
#[derive(Debug)]
pub struct Decoder {
    registry: Option<Registry>,
    /// Whether it was said that a registry is missing.
    has_warned: AtomicBool,
}

impl Decoder {
    /// Without a `registry` every Avro record is a bad one.
    pub fn new(registry: Option<Registry>) -> Self {
        Self { registry, has_warned: AtomicBool::new(false) }
    }

    /// The record, or why its bytes are none. The outer fault is the registry's; nothing is known of the record then,
    /// and the call can be made again.
    pub async fn decode<F: Flow>(
        &self,
        payload: Option<&[u8]>,
    ) -> Result<Result<F::Wire, Reason>, Fault> {
        let refused = |code, message: String| Ok(Err(Reason::new(Stage::Decode, code, message)));
        let Some(payload) = payload else {
            return refused("tombstone", "the record has no value".into());
        };
        if payload.first() != Some(&avro::MAGIC) {
            return match json::decode(payload) {
                Ok(wire) => Ok(Ok(wire)),
                Err(broken) => refused("json", broken.to_string()),
            };
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
            registry::Found::Schema(schema) => schema,
            registry::Found::Unknown => {
                return refused("schema_unknown", format!("the registry knows no schema {id}"));
            }
            registry::Found::Unusable(avro::Unusable(why)) => {
                return refused("avro", format!("schema {id}: {why}"));
            }
        };
        match avro::decode(datum, &schema) {
            Ok(wire) => Ok(Ok(wire)),
            Err(broken) => refused("avro", broken.to_string()),
        }
    }

    /// Says once what is wrong with all Avro records.
    fn warn(&self) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "there are Avro records but no schema registry is configured (SCHEMA_REGISTRY_URL): each becomes a \
                 dead letter"
            );
        }
    }
}
