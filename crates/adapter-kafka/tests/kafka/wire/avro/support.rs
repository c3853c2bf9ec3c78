//! A decoder, and data of any schema.

use std::sync::{Arc, Mutex};

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use serde_json::json;
use tally_adapter_kafka::wire::Decoder;
use tally_domain::{Column, Envelope, Fields, Kind, Reason, TimeUnit, TimeUnits};
use tally_harness::http::{Reply, ScriptedServer};

use crate::wire::{decode, decoder, refused, registry, shown_field};

/// The place of the amount among the columns.
pub const AMOUNT: usize = 2;

/// A decoder and the schemas that its registry knows.
pub struct Lab {
    pub decoder: Decoder,
    schemas: Arc<Mutex<Vec<String>>>,
    server: ScriptedServer,
}

impl Lab {
    pub async fn new() -> Self {
        let schemas = Arc::<Mutex<Vec<String>>>::default();
        let known = Arc::clone(&schemas);
        let server = ScriptedServer::start(move |request| {
            let id = request.path.trim_start_matches("/schemas/ids/").split('?').next();
            let id: usize = id.unwrap().parse().unwrap();
            Reply::json(json!({ "schema": known.lock().unwrap()[id] }).to_string())
        })
        .await;
        let decoder = decoder(Some(registry(&server.url())));
        Self { decoder, schemas, server }
    }

    /// What becomes of a datum of the schema.
    pub async fn decode(&self, schema: &str, datum: &[u8]) -> Result<Fields, Reason> {
        decode(&self.decoder, &self.frame(schema, datum)).await
    }

    /// A datum in the frame of a schema of its own.
    pub fn frame(&self, schema: &str, datum: &[u8]) -> Vec<u8> {
        let id = {
            let mut schemas = self.schemas.lock().unwrap();
            schemas.push(schema.to_owned());
            u32::try_from(schemas.len() - 1).unwrap()
        };
        [&[0], &id.to_be_bytes()[..], datum].concat()
    }

    pub async fn read(&self, schema: &str, datum: &[u8]) -> Fields {
        let outcome = self.decode(schema, datum).await;
        outcome.unwrap_or_else(|reason| panic!("{}: {} of {schema}", reason.code, reason.message))
    }

    /// Expects this text of a column that the writer has with this type.
    pub async fn check(&self, kind: &str, value: Value, expected: &str) {
        let schema = record(&[("amount", kind)]);
        let datum = write(&schema, vec![("amount", value)]);
        assert_eq!(shown_field(&self.read(&schema, &datum).await[AMOUNT]), expected);
    }

    /// Expects this text of a column of times in this unit that the writer has with this type.
    pub async fn check_time(&self, unit: TimeUnit, kind: &str, value: Value, expected: &str) {
        let schema = record(&[("at", kind)]);
        let datum = write(&schema, vec![("at", value)]);
        let units = TimeUnits::from([("at".to_owned(), unit)]);
        let columns = [Column::new("at", Kind::Timestamp)];
        let registry = Some(registry(&self.server.url()));
        let decoder = Decoder::new(&columns, &units, Envelope::Plain, registry);
        let fields = decode(&decoder, &self.frame(&schema, &datum)).await.unwrap();
        assert_eq!(shown_field(&fields[0]), expected, "{unit:?} {kind}");
    }

    /// What these columns hold in a datum of the schema.
    pub async fn fields(
        &self,
        columns: &[(&'static str, Kind)],
        schema: &str,
        datum: &[u8],
    ) -> Result<Fields, Reason> {
        let columns: Vec<Column> =
            columns.iter().map(|&(name, kind)| Column::new(name, kind)).collect();
        let decoder = Decoder::new(
            &columns,
            &TimeUnits::new(),
            Envelope::Plain,
            Some(registry(&self.server.url())),
        );
        decode(&decoder, &self.frame(schema, datum)).await
    }

    pub async fn check_broken(&self, fields: &[(&str, &str)], datum: &[u8], words: &str) {
        refused(self.decode(&record(fields), datum).await, "avro", words);
    }
}

/// A record of fields with their types as JSON.
pub fn record(fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, kind)| format!(r#"{{"name":"{name}","type":{kind}}}"#)).collect();
    format!(r#"{{"type":"record","name":"Theirs","fields":[{}]}}"#, fields.join(","))
}

pub fn write(schema: &str, fields: Vec<(&str, Value)>) -> Vec<u8> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let schema = Schema::parse_str(schema).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(Value::Record(fields)).unwrap()
}

pub fn union(branch: u32, value: Value) -> Value {
    Value::Union(branch, Box::new(value))
}

/// As our schema wants it.
pub fn amount(cents: i64) -> Value {
    Value::Decimal(Decimal::from(cents.to_be_bytes().to_vec()))
}

pub const DECIMAL: &str = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}"#;
