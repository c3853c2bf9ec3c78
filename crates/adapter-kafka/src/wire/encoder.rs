//! Records on their way to a topic.

use apache_avro::Schema;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use serde::Serialize;
use tally_ports::{Fault, StopKind};

use super::Registry;
use super::avro::MAGIC;

/// Writes values of records in one format.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
}

#[derive(Debug)]
enum Format {
    Json,
    Avro { id: u32, schema: Box<Schema> },
}

impl Encoder {
    /// JSON objects.
    pub const fn json() -> Self {
        Self { format: Format::Json }
    }

    /// Avro in Confluent's frame, by a schema that is registered for the values of `topic`: what cannot follow the
    /// version there is refused.
    pub async fn avro(registry: &Registry, topic: &str, schema: &str) -> Result<Self, Fault> {
        let parsed = Schema::parse_str(schema).map_err(|error| {
            let message = format!("the Avro schema for topic {topic} cannot be used: {error}");
            Fault::stop(StopKind::Setting, message)
        })?;
        let id = registry.register(topic, schema).await?;
        Ok(Self { format: Format::Avro { id, schema: Box::new(parsed) } })
    }

    /// The value of a record. Fails where the schema has no place for it, and then for every other one as well.
    pub fn encode<M: Serialize>(&self, message: &M) -> Result<Bytes, Fault> {
        let mut value = Vec::with_capacity(256);
        self.append(message, &mut value)?;
        Ok(value.into())
    }

    /// Appends the same to `values`.
    pub fn append<M: Serialize>(&self, message: &M, values: &mut Vec<u8>) -> Result<(), Fault> {
        // The causes can quote values.
        let unfit =
            |what: &str| Fault::stop(StopKind::Setting, format!("a record does not fit {what}"));
        match &self.format {
            Format::Json => serde_json::to_writer(values, message).map_err(|_| unfit("JSON")),
            Format::Avro { id, schema } => {
                values.push(MAGIC);
                values.extend(id.to_be_bytes());
                GenericDatumWriter::builder(schema)
                    .human_readable(false)
                    .build()
                    .and_then(|writer| writer.write_ser(values, message))
                    .map(drop)
                    .map_err(|_| unfit("its Avro schema"))
            }
        }
    }
}
