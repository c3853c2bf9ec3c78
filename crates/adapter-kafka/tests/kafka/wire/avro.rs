//! Avro.

use std::sync::{Arc, Mutex};

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use bytes::Bytes;
use chrono::DateTime;
use serde_json::json;
use tally_adapter_kafka::wire::Decoder;
use tally_domain::{Column, Envelope, Field, Fields, Kind, Reason};
use tally_harness::http::{Reply, ScriptedServer};
use uuid::Uuid;

use crate::wire::{SCHEMA, decode, decoder, is_shared, refused, registry, shown, shown_field};

/// The place of the amount among the columns.
const AMOUNT: usize = 2;

/// A decoder and the schemas that its registry knows.
struct Lab {
    decoder: Decoder,
    schemas: Arc<Mutex<Vec<String>>>,
    server: ScriptedServer,
}

impl Lab {
    async fn new() -> Self {
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
    async fn decode(&self, schema: &str, datum: &[u8]) -> Result<Fields, Reason> {
        decode(&self.decoder, &self.frame(schema, datum)).await
    }

    /// A datum in the frame of a schema of its own.
    fn frame(&self, schema: &str, datum: &[u8]) -> Vec<u8> {
        let id = {
            let mut schemas = self.schemas.lock().unwrap();
            schemas.push(schema.to_owned());
            u32::try_from(schemas.len() - 1).unwrap()
        };
        [&[0], &id.to_be_bytes()[..], datum].concat()
    }

    async fn read(&self, schema: &str, datum: &[u8]) -> Fields {
        let outcome = self.decode(schema, datum).await;
        outcome.unwrap_or_else(|reason| panic!("{}: {} of {schema}", reason.code, reason.message))
    }

    /// Expects this text of a column that the writer has with this type.
    async fn check(&self, kind: &str, value: Value, expected: &str) {
        let schema = record(&[("amount", kind)]);
        let datum = write(&schema, vec![("amount", value)]);
        assert_eq!(shown_field(&self.read(&schema, &datum).await[AMOUNT]), expected);
    }

    /// What these columns hold in a datum of the schema.
    async fn fields(
        &self,
        columns: &[(&'static str, Kind)],
        schema: &str,
        datum: &[u8],
    ) -> Result<Fields, Reason> {
        let columns: Vec<Column> =
            columns.iter().map(|&(name, kind)| Column::new(name, kind)).collect();
        let decoder = Decoder::new(&columns, Envelope::Plain, Some(registry(&self.server.url())));
        decode(&decoder, &self.frame(schema, datum)).await
    }

    async fn check_broken(&self, fields: &[(&str, &str)], datum: &[u8], words: &str) {
        refused(self.decode(&record(fields), datum).await, "avro", words);
    }
}

/// A record of fields with their types as JSON.
fn record(fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, kind)| format!(r#"{{"name":"{name}","type":{kind}}}"#)).collect();
    format!(r#"{{"type":"record","name":"Theirs","fields":[{}]}}"#, fields.join(","))
}

fn write(schema: &str, fields: Vec<(&str, Value)>) -> Vec<u8> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let schema = Schema::parse_str(schema).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(Value::Record(fields)).unwrap()
}

fn union(branch: u32, value: Value) -> Value {
    Value::Union(branch, Box::new(value))
}

/// As our schema wants it.
fn amount(cents: i64) -> Value {
    Value::Decimal(Decimal::from(cents.to_be_bytes().to_vec()))
}

const DECIMAL: &str = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}"#;

#[tokio::test]
async fn our_own_schema() {
    let lab = Lab::new().await;
    let text = |text: &str| union(1, Value::String(text.into()));
    let datum = write(
        SCHEMA,
        vec![
            ("id", Value::String("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into())),
            ("description", text("Café")),
            ("amount", amount(-1234)),
            ("timestamp", Value::LocalTimestampMicros(1_705_307_400_120_000)),
            ("merchant", union(0, Value::Null)),
            ("operation_type", text("")),
            ("side", text("debit")),
        ],
    );
    let fields = lab.read(SCHEMA, &datum).await;
    let expected = [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "Café",
        "-12.34",
        "2024-01-15T08:30:00.120",
        "-",
        "",
        "debit",
    ];
    assert_eq!(shown(&fields), expected);
}

#[tokio::test]
async fn an_older_writer_lacks_fields_and_a_newer_one_has_more() {
    let lab = Lab::new().await;
    let older = record(&[("id", r#""string""#), ("amount", DECIMAL)]);
    let datum = write(&older, vec![("id", Value::String("7".into())), ("amount", amount(5))]);
    let fields = lab.read(&older, &datum).await;
    assert_eq!(shown(&fields), ["7", "-", "0.05", "-", "-", "-", "-"]);

    // Every type that can be passed over stands between two columns.
    let inner = r#"{"type":"record","name":"Inner","fields":[{"name":"id","type":"string"}]}"#;
    let others: [(&str, &str, Value); 14] = [
        ("a", r#""boolean""#, Value::Boolean(true)),
        (
            "b",
            r#"{"type":"array","items":"string"}"#,
            Value::Array(vec![Value::String("x".into())]),
        ),
        (
            "c",
            r#"{"type":"map","values":"long"}"#,
            Value::Map([("id".to_owned(), Value::Long(-1))].into()),
        ),
        ("d", inner, Value::Record(vec![("id".into(), Value::String("inner".into()))])),
        ("e", r#"{"type":"fixed","name":"F","size":3}"#, Value::Fixed(3, vec![1, 2, 3])),
        ("f", r#"["null","F","Inner"]"#, union(1, Value::Fixed(3, vec![1, 2, 3]))),
        ("g", r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, Value::Enum(1, "B".into())),
        ("h", r#""double""#, Value::Double(1.5)),
        ("i", r#""float""#, Value::Float(1.5)),
        ("j", r#""bytes""#, Value::Bytes(vec![0xff])),
        ("k", DECIMAL, amount(7)),
        ("l", r#""null""#, Value::Null),
        ("m", r#""int""#, Value::Int(-1)),
        ("n", r#"{"type":"array","items":"null"}"#, Value::Array(vec![Value::Null; 3])),
    ];
    let mut fields = vec![("id", r#""string""#)];
    let mut values = vec![("id", Value::String("7".into()))];
    for (name, kind, value) in others {
        fields.push((name, kind));
        values.push((name, value));
    }
    fields.push(("side", r#""string""#));
    values.push(("side", Value::String("debit".into())));
    let newer = record(&fields);
    let fields = lab.read(&newer, &write(&newer, values)).await;
    assert_eq!(shown(&fields), ["7", "-", "-", "-", "-", "-", "debit"]);
}

#[tokio::test]
async fn amounts_of_every_type_are_exact() {
    let lab = Lab::new().await;
    lab.check(DECIMAL, amount(-999_999_999_999), "-9999999999.99").await;
    lab.check(DECIMAL, amount(0), "0.00").await;
    lab.check(
        r#"{"type":"fixed","name":"D","size":9,"logicalType":"decimal","precision":20,"scale":5}"#,
        Value::Decimal(Decimal::from([&[0xff][..], &(-1_234_567_i64).to_be_bytes()].concat())),
        "-12.34567",
    )
    .await;
    lab.check(r#""string""#, Value::String(" 12.30".into()), " 12.30").await;
    lab.check(r#""bytes""#, Value::Bytes(b"12.30".to_vec()), "12.30").await;
    lab.check(r#""double""#, Value::Double(0.1), "0.1").await;
    lab.check(r#""double""#, Value::Double(-9_999_999_999.99), "-9999999999.99").await;
    lab.check(r#""double""#, Value::Double(1e21), "1000000000000000000000").await;
    lab.check(r#""double""#, Value::Double(f64::NAN), "NaN").await;
    lab.check(r#""float""#, Value::Float(12.34), "12.34").await;
    lab.check(r#""int""#, Value::Int(i32::MIN), "-2147483648").await;
    lab.check(r#""long""#, Value::Long(i64::MIN), "-9223372036854775808").await;
    lab.check(r#""long""#, Value::Long(i64::MAX), "9223372036854775807").await;
    lab.check(&format!(r#"["null","string",{DECIMAL}]"#), union(2, amount(150)), "1.50").await;
    lab.check(r#"["double","null"]"#, union(1, Value::Null), "-").await;
    lab.check(r#""null""#, Value::Null, "-").await;
}

#[tokio::test]
async fn a_decimal_may_bring_its_scale() {
    let lab = Lab::new().await;
    let schema = record(&[("amount", r#"{"type":"bytes","logicalType":"big-decimal"}"#)]);
    for (datum, expected) in [
        // Four bytes: two of 1234, a scale of 2; then one of -1 000.
        (&[8, 4, 0x04, 0xd2, 4][..], "12.34"),
        (&[6, 2, 0xff, 5], "-1000"),
        (&[8, 4, 0x04, 0xd2, 0], "1234"),
    ] {
        assert_eq!(lab.read(&schema, datum).await[AMOUNT].text().as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn timestamps_of_every_type_keep_their_instant() {
    let lab = Lab::new().await;
    let kind = |logical: &str| format!(r#"{{"type":"long","logicalType":"{logical}"}}"#);
    lab.check(
        &kind("timestamp-millis"),
        Value::TimestampMillis(1_705_307_400_120),
        "2024-01-15T08:30:00.120Z",
    )
    .await;
    lab.check(&kind("timestamp-micros"), Value::TimestampMicros(-1), "1969-12-31T23:59:59.999999Z")
        .await;
    lab.check(
        &kind("timestamp-nanos"),
        Value::TimestampNanos(1_705_307_400_123_456_789),
        "2024-01-15T08:30:00.123456Z",
    )
    .await;
    lab.check(
        &kind("local-timestamp-millis"),
        Value::LocalTimestampMillis(1_705_307_400_000),
        "2024-01-15T08:30:00",
    )
    .await;
    lab.check(
        &kind("local-timestamp-micros"),
        Value::LocalTimestampMicros(1),
        "1970-01-01T00:00:00.000001",
    )
    .await;
    lab.check(
        &kind("local-timestamp-nanos"),
        Value::LocalTimestampNanos(-1),
        "1969-12-31T23:59:59.999999",
    )
    .await;
    let first_and_last = [
        (-62_135_596_800_000, "0001-01-01T00:00:00Z"),
        (253_402_300_799_000, "9999-12-31T23:59:59Z"),
    ];
    for (millis, expected) in first_and_last {
        lab.check(&kind("timestamp-millis"), Value::TimestampMillis(millis), expected).await;
    }
    // What no text of ours can say stays the number that it is; validation refuses it.
    lab.check(
        &kind("timestamp-millis"),
        Value::TimestampMillis(253_402_300_800_000),
        "253402300800000",
    )
    .await;
    lab.check(&kind("timestamp-micros"), Value::TimestampMicros(i64::MIN), "-9223372036854775808")
        .await;
    lab.check(r#"{"type":"int","logicalType":"date"}"#, Value::Date(19_737), "2024-01-15").await;
    lab.check(r#"{"type":"int","logicalType":"date"}"#, Value::Date(i32::MAX), "2147483647").await;
}

#[tokio::test]
async fn ids_and_texts_of_every_type_are_texts() {
    let lab = Lab::new().await;
    let id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let uuid = Value::Uuid(id.parse().unwrap());
    lab.check(r#"{"type":"string","logicalType":"uuid"}"#, uuid.clone(), id).await;
    lab.check(r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#, uuid, id).await;
    lab.check(r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, Value::Enum(1, "B".into()), "B")
        .await;
    lab.check(r#""string""#, Value::String("é\u{0}".into()), "é\u{0}").await;
    lab.check(r#"{"type":"string","logicalType":"ours"}"#, Value::String("x".into()), "x").await;
}

#[tokio::test]
async fn broken_data_are_bad_records() {
    let lab = Lab::new().await;
    let text = &[("id", r#""string""#)][..];
    let nullable = &[("id", r#""string""#), ("side", r#"["null","string"]"#)][..];
    // What ends too early is no null, other than for apache-avro's reader.
    lab.check_broken(text, &[], "id: the record ends too early").await;
    lab.check_broken(text, &[4, b'7'], "id: the record ends too early").await;
    lab.check_broken(nullable, &[2, b'7'], "side: the record ends too early").await;
    lab.check_broken(nullable, &[2, b'7', 2, 4, b'x'], "side: the record ends too early").await;
    lab.check_broken(nullable, &[2, b'7', 4], "side: a branch that its union does not have").await;
    lab.check_broken(nullable, &[2, b'7', 1], "side: an index below 0").await;
    lab.check_broken(text, &[2, b'7', 0, 0], "2 bytes come after the record").await;
    lab.check_broken(text, &[1], "id: a length below 0").await;
    lab.check_broken(text, &[2, 0xff], "id: not UTF-8").await;
    lab.check_broken(text, &[0xff; 11], "id: a number of more than 64 bits").await;
    lab.check_broken(text, &[0xfe; 9], "id: the record ends too early").await;
    lab.check_broken(
        text,
        &[[0xff; 9].as_slice(), &[2]].concat(),
        "id: a number of more than 64 bits",
    )
    .await;
    lab.check_broken(text, &[0xfe, 0xff, 0xff, 0xff, 0x0f], "id: the record ends too early").await;
    let largest = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    lab.check_broken(text, &largest, "id: the record ends too early").await;
    lab.check_broken(&[("id", r#""int""#)], &largest, "id: a number of more than 32 bits").await;
    lab.check_broken(&[("id", r#""double""#)], &[0; 7], "id: the record ends too early").await;
    let symbols = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;
    lab.check_broken(&[("id", symbols)], &[4], "id: a symbol that its enum does not have").await;
    lab.check_broken(&[("other", symbols)], &[4], "other: a symbol").await;
    lab.check_broken(&[("other", r#""long""#)], &[0x80], "other: the record ends too early").await;
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":4000,"scale":2}"#;
    let long = [&[0x82, 0x04][..], &[0x7f; 257]].concat();
    lab.check_broken(&[("amount", decimal)], &long, "amount: a decimal of more than 128 bytes")
        .await;
}

#[tokio::test]
async fn a_column_of_another_type_is_a_bad_record() {
    let lab = Lab::new().await;
    lab.check_broken(&[("id", r#""boolean""#)], &[1], "id: a boolean").await;
    lab.check_broken(&[("id", r#"["null","boolean"]"#)], &[2, 1], "id: a boolean").await;
    lab.check_broken(&[("id", r#"{"type":"array","items":"string"}"#)], &[0], "id: an array").await;
    lab.check_broken(&[("id", r#"{"type":"map","values":"string"}"#)], &[0], "id: a map").await;
    lab.check_broken(&[("id", r#"{"type":"fixed","name":"F","size":1}"#)], &[0], "id: a fixed")
        .await;
    let inner = r#"{"type":"record","name":"Inner","fields":[]}"#;
    lab.check_broken(&[("id", inner)], &[], "id: a record").await;
}

#[tokio::test]
async fn what_is_no_record_is_a_bad_record() {
    let lab = Lab::new().await;
    refused(lab.decode(r#""string""#, &[0]).await, "avro", "not a record");
    refused(lab.decode(r#"{"type":"array","items":"int"}"#, &[0]).await, "avro", "not a record");
    let nullable = format!(r#"["null",{}]"#, record(&[("id", r#""string""#)]));
    refused(lab.decode(&nullable, &[0]).await, "avro", "not a record");
    assert_eq!(lab.read(&nullable, &[2, 2, b'7']).await[0].text().as_deref(), Some("7"));
}

#[tokio::test]
async fn a_broken_frame_is_a_bad_record() {
    for frame in [&[0][..], &[0, 0, 0, 0]] {
        refused(decode(&decoder(None), frame).await, "avro", "frame");
    }
}

#[tokio::test]
async fn lists_are_passed_over_in_blocks_and_never_for_ever() {
    let lab = Lab::new().await;
    let list = |items: &str| format!(r#"{{"type":"array","items":{items}}}"#);
    let strings = record(&[("other", &list(r#""string""#)), ("id", r#""string""#)]);
    for datum in [
        // Two in a block, one in another; a block that says its length; none.
        &[4, 0, 2, b'x', 2, 0, 0, 2, b'7'][..],
        &[1, 2, 0, 0, 2, b'7'],
        &[0, 2, b'7'],
    ] {
        assert_eq!(lab.read(&strings, datum).await[0].text().as_deref(), Some("7"));
    }
    // As many nulls as there can be.
    let nulls = record(&[("other", &list(r#""null""#)), ("id", r#""string""#)]);
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let datum = [&most[..], &[0, 2, b'7']].concat();
    assert_eq!(lab.read(&nulls, &datum).await[0].text().as_deref(), Some("7"));
    // The smallest number of items there is, whose length is missing.
    let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let fields = [("other", list(r#""null""#))];
    lab.check_broken(&[("other", &fields[0].1)], &least, "other: the record ends too early").await;
}

#[tokio::test]
async fn data_cannot_go_too_deep() {
    let lab = Lab::new().await;
    let chain =
        r#"{"type":"record","name":"Chain","fields":[{"name":"next","type":["null","Chain"]}]}"#;
    let fields = &[("other", chain)][..];
    let deep = |depth| [vec![2; depth], vec![0]].concat();
    lab.read(&record(fields), &deep(100)).await;
    lab.check_broken(fields, &deep(1_000_000), "in each other").await;
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_makes_bad_records() {
    let lab = Lab::new().await;
    refused(lab.decode("s3cret", &[]).await, "avro", "schema 0: it cannot be used");
    refused(lab.decode(r#"{"type":"x"}"#, &[]).await, "avro", "schema 1: it cannot be used");
    let scale =
        r#"{"type":"bytes","logicalType":"decimal","precision":2000000000,"scale":1000000000}"#;
    let schema = record(&[("amount", scale)]);
    refused(lab.decode(&schema, &[0]).await, "avro", "schema 2: it has a scale");
}

fn text(text: &str) -> Field {
    Field::Text(text.into())
}

fn number(text: &str) -> Field {
    Field::Number(text.into())
}

fn json_field(text: &str) -> Field {
    Field::Json(text.into())
}

#[tokio::test]
async fn fields_stay_what_they_are_in_the_schema() {
    let lab = Lab::new().await;
    let (epoch, uuid) = (DateTime::UNIX_EPOCH, Uuid::from_u128(7));
    for (kind, value, expected) in [
        (r#""string""#, Value::String("1.50".into()), text("1.50")),
        (r#""bytes""#, Value::Bytes(b"1.50".to_vec()), text("1.50")),
        (
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
            Value::Enum(0, "A".into()),
            text("A"),
        ),
        (r#"{"type":"int","logicalType":"date"}"#, Value::Date(0), Field::Date(epoch.date_naive())),
        (
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            Value::TimestampMillis(0),
            Field::Instant(epoch),
        ),
        (
            r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
            Value::LocalTimestampMicros(0),
            Field::Timestamp(epoch.naive_utc()),
        ),
        (
            r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
            Value::Uuid(uuid),
            Field::Uuid(uuid),
        ),
        (DECIMAL, amount(150), Field::Decimal(tally_domain::Decimal { unscaled: 150, scale: 2 })),
        (r#""int""#, Value::Int(-7), Field::Integer(-7)),
        (r#""long""#, Value::Long(7), Field::Integer(7)),
        (r#""float""#, Value::Float(1.5), number("1.5")),
        (r#""double""#, Value::Double(1.5), number("1.5")),
        (r#"["null","string"]"#, union(0, Value::Null), Field::Null),
    ] {
        let schema = record(&[("amount", kind)]);
        let fields = lab.read(&schema, &write(&schema, vec![("amount", value)])).await;
        assert_eq!(fields[AMOUNT], expected);
        assert_eq!(fields[0], Field::Absent);
    }
}

#[tokio::test]
async fn booleans_have_a_kind_of_their_own() {
    let lab = Lab::new().await;
    let schema = record(&[("a", r#""boolean""#), ("b", r#"["null","boolean"]"#)]);
    let columns = &[("a", Kind::Boolean), ("b", Kind::Boolean)];
    let read = |datum: &'static [u8]| lab.fields(columns, &schema, datum);
    assert_eq!(read(&[1, 2, 0]).await.unwrap(), [Field::Boolean(true), Field::Boolean(false)]);
    assert_eq!(read(&[0, 0]).await.unwrap(), [Field::Boolean(false), Field::Null]);
    refused(read(&[2, 0]).await, "avro", "a: a boolean that is neither true nor false");
    refused(read(&[1]).await, "avro", "b: the record ends too early");
    let schema = record(&[("a", r#"{"type":"array","items":"boolean"}"#), ("b", r#""string""#)]);
    let list = lab.fields(columns, &schema, &[0, 2, b'x']).await;
    refused(list, "avro", "a: an array instead of a boolean");
    let schema = record(&[("a", r#""int""#), ("b", r#""string""#)]);
    let scalars = lab.fields(columns, &schema, &[2, 2, b'x']).await;
    assert_eq!(scalars.unwrap(), [Field::Integer(1), text("x")]);
}

#[tokio::test]
async fn a_json_column_is_any_value_as_json() {
    let lab = Lab::new().await;
    let inner = format!(
        r#"{{"type":"record","name":"Inner","fields":[
            {{"name":"t","type":"string"}}, {{"name":"n","type":{DECIMAL}}},
            {{"name":"b","type":"boolean"}}, {{"name":"x","type":["null","Inner"]}}]}}"#
    );
    let list = r#"{"type":"array","items":"double"}"#;
    let map = r#"{"type":"map","values":"int"}"#;
    for (kind, datum, expected) in [
        (
            &*inner,
            &[4, b'"', b'x', 2, 5, 1, 0][..],
            json_field(r#"{"t":"\"x","n":0.05,"b":true,"x":null}"#),
        ),
        (list, &[0], json_field("[]")),
        (map, &[4, 2, b'a', 2, 2, b'\n', 4, 0], json_field(r#"{"a":1,"\n":2}"#)),
        (r#""string""#, &[2, b'x'], json_field(r#""x""#)),
        (r#""boolean""#, &[0], json_field("false")),
        (r#""long""#, &[1], json_field("-1")),
        (r#"["null","int"]"#, &[0], Field::Null),
    ] {
        let fields = lab.fields(&[("a", Kind::Json)], &record(&[("a", kind)]), datum).await;
        assert_eq!(fields.unwrap()[0], expected);
        if let Field::Json(text) = expected {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
    let schema = record(&[("a", list)]);
    let numbers = [1.5, -2.0].map(f64::to_le_bytes).concat();
    let datum = [&[4][..], &numbers, &[0]].concat();
    let fields = lab.fields(&[("a", Kind::Json)], &schema, &datum).await;
    assert_eq!(fields.unwrap(), [json_field("[1.5,-2]")]);

    let broken = |kind: &'static str, datum: Vec<u8>| {
        let schema = record(&[("a", kind)]);
        let lab = &lab;
        async move { lab.fields(&[("a", Kind::Json)], &schema, &datum).await }
    };
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let outcome = broken(r#""double""#, float.to_le_bytes().to_vec()).await;
        refused(outcome, "avro", "a: a number that JSON does not have");
    }
    let fixed = broken(r#"{"type":"fixed","name":"F","size":1}"#, vec![7]).await;
    refused(fixed, "avro", "a: a fixed instead of a JSON value");
    refused(broken(map, vec![2, 2, b'a']).await, "avro", "a: the record ends too early");
    let chain =
        r#"{"type":"record","name":"Chain","fields":[{"name":"next","type":["null","Chain"]}]}"#;
    refused(broken(chain, vec![2; 1_000_000]).await, "avro", "a: more than 500 records");
}

#[tokio::test]
async fn points_lead_into_inner_records() {
    let lab = Lab::new().await;
    let day = r#"{"type":"record","name":"Day","fields":[{"name":"day","type":"string"}]}"#;
    let row = format!(
        r#"{{"type":"record","name":"Row","fields":[{{"name":"id","type":"int"}},
            {{"name":"at","type":["null",{day}]}}, {{"name":"more","type":"long"}}]}}"#
    );
    let schema = record(&[("after", &format!(r#"["null",{row}]"#)), ("op", r#""string""#)]);
    let columns = &[
        ("op", Kind::Text),
        ("after.id", Kind::Id),
        ("after.at.day", Kind::Text),
        ("after.amount", Kind::Decimal),
    ];
    let read = |datum: &'static [u8]| lab.fields(columns, &schema, datum);
    assert_eq!(
        read(&[2, 14, 2, 2, b'M', 9, 2, b'u']).await.unwrap(),
        [text("u"), Field::Integer(7), text("M"), Field::Absent]
    );
    assert_eq!(
        read(&[2, 14, 0, 9, 2, b'u']).await.unwrap(),
        [text("u"), Field::Integer(7), Field::Null, Field::Absent]
    );
    assert_eq!(
        read(&[0, 2, b'd']).await.unwrap(),
        [text("d"), Field::Null, Field::Null, Field::Null]
    );
    refused(read(&[2, 14, 2, 4, b'M']).await, "avro", "after.at.day: the record ends too early");
    refused(read(&[2, 14, 0, 0x80]).await, "avro", "after.more: the record ends too early");

    let flat = record(&[("op", r#""string""#)]);
    let fields = lab.fields(columns, &flat, &[2, b'd']).await.unwrap();
    assert_eq!(fields, [text("d"), Field::Absent, Field::Absent, Field::Absent]);
    for (kind, datum, words) in [
        (r#""string""#, &[0][..], "after: a text instead of a record"),
        (r#""long""#, &[0], "after: a number instead of a record"),
        (r#"{"type":"map","values":"long"}"#, &[0], "after: a map instead of a record"),
    ] {
        refused(lab.fields(columns, &record(&[("after", kind)]), datum).await, "avro", words);
    }

    let both = &[("after", Kind::Json), ("after.id", Kind::Id), ("op", Kind::Text)];
    let fields = lab.fields(both, &schema, &[2, 14, 0, 1, 2, b'u']).await.unwrap();
    assert_eq!(
        fields,
        [json_field(r#"{"id":7,"at":null,"more":-1}"#), Field::Integer(7), text("u")]
    );
}

#[tokio::test]
async fn texts_share_the_bytes_of_their_record() {
    let lab = Lab::new().await;
    let schema = record(&[("id", r#""string""#), ("side", r#"["null","string"]"#)]);
    let framed = lab.frame(&schema, &[4, 0xc3, 0xa9, 2, 2, b'x']);
    let payload = Bytes::from(framed);
    let fields = lab.decoder.decode(Some(&payload)).await.unwrap().unwrap();
    assert_eq!(shown(&fields), ["é", "-", "-", "-", "-", "-", "x"]);
    assert!(is_shared(&fields[0], &payload) && is_shared(&fields[6], &payload));
}
