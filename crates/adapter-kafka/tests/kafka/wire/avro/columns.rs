//! Columns of every kind, and what a schema makes of their fields.

use apache_avro::types::Value;
use bytes::Bytes;
use chrono::DateTime;
use tally_domain::{Decimal, Field, Kind};
use uuid::Uuid;

use super::support::{AMOUNT, DECIMAL, Lab, amount, record, union, write};
use crate::wire::{is_shared, refused, shown};

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
        (DECIMAL, amount(150), Field::Decimal(Decimal { unscaled: 150, scale: 2 })),
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
