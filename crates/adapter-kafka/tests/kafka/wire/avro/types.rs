//! What a column holds, whatever type its writer gave it.

use apache_avro::Decimal;
use apache_avro::types::Value;
use tally_domain::TimeUnit;

use super::support::{AMOUNT, DECIMAL, Lab, amount, record, union, write};
use crate::wire::{SCHEMA, shown};

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
async fn a_number_or_a_date_is_a_time_in_the_unit_of_its_column() {
    let lab = Lab::new().await;
    let micros = 1_705_307_400_000_001;
    lab.check_time(
        TimeUnit::Microseconds,
        r#""long""#,
        Value::Long(micros),
        "2024-01-15T08:30:00.000001Z",
    )
    .await;
    lab.check_time(
        TimeUnit::Seconds,
        r#""int""#,
        Value::Int(1_705_307_400),
        "2024-01-15T08:30:00Z",
    )
    .await;
    let date = r#"{"type":"int","logicalType":"date"}"#;
    lab.check_time(TimeUnit::Days, date, Value::Date(19_737), "2024-01-15T00:00:00Z").await;
    // What the schema says counts.
    let typed = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    for (micros, expected) in
        [(micros, "2024-01-15T08:30:00.000001Z"), (i64::MIN, "-9223372036854775808")]
    {
        lab.check_time(TimeUnit::Nanoseconds, typed, Value::TimestampMicros(micros), expected)
            .await;
    }
}
