//! What cannot be read becomes a bad record.

use super::support::{Lab, record};
use crate::wire::{decode, decoder, refused};

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
