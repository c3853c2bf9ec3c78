//! What is in the records: good, bad and masked ones, in both formats.

use crate::support::{Stream, VERY_LONG, assert_code, good};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tally_harness::kafka::{Broker, Record, record};
use tally_harness::process::{Launch, binary};
use tally_harness::registry::Registry;
use tally_harness::sample::Sample;
use uuid::Uuid;

fn with(id: u32, field: &str, value: Value) -> Vec<u8> {
    let mut record = good(id);
    record[field] = value;
    record.to_string().into_bytes()
}

/// A record that is bad in the `n`th of ten ways, and the code that says so.
fn bad(id: u32) -> (Option<Vec<u8>>, &'static str) {
    match id % 10 {
        0 => (Some(b"{\"id\": 7".to_vec()), "json"),
        1 => (None, "tombstone"),
        2 => (Some(Vec::new()), "json"),
        3 => (Some(vec![0, 0, 0, 0, 9, 2, 200, 255]), "schema_unknown"),
        4 => (Some(with(id, "amount", Value::Null)), "amount_missing"),
        5 => (Some(with(id, "amount", json!("1,5"))), "amount_invalid"),
        6 => (Some(with(id, "side", json!("sideways"))), "side_unknown"),
        7 => (Some(with(id, "amount", json!(2))), "debit_sign"),
        8 => (Some(with(id, "timestamp", json!("yesterday"))), "timestamp_invalid"),
        _ => (Some(vec![b'{', 0xff, 0xfe]), "json"),
    }
}

/// Of every record its partition, offset, key and value, in hexadecimal, and its code.
type Sent = Vec<[String; 5]>;

fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "none".to_owned() };
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[tokio::test]
async fn a_time_that_is_a_number_is_read_where_its_unit_is_set() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let value = with(7, "timestamp", json!(1_705_307_400_250_i64));
    broker.produce(&stream.topic, 0, vec![record(None, Some(&value))]).await;
    assert_code(&stream.consumer().flag("--until-end").spawn().wait(VERY_LONG), 0);
    let found = stream.target.query("select code, message from dead_letters").await;
    let message = "timestamp is a number: columns.timestamp.unit must say its unit, in which it is a time of the years 1 to 9999";
    assert_eq!(found, [["timestamp_invalid", message].map(|text| Some(text.to_owned()))]);

    // In a replay, too.
    let unit = ("TALLY_COLUMNS__TIMESTAMP__UNIT", "milliseconds");
    let replay = Launch::new(binary("dead-letters")).args(["replay", "--all", "--output", "json"]);
    let replay =
        replay.env("DATABASE_URL", stream.target.url()).env("ML_API_URL", stream.model.url());
    let output = replay.env(unit.0, unit.1).spawn().wait(VERY_LONG);
    assert_code(&output, 0);
    assert!(output.stdout.contains("\"replayed\":1"), "{output}");

    let value = with(8, "timestamp", json!(1_705_307_400_250_i64));
    broker.produce(&stream.topic, 0, vec![record(None, Some(&value))]).await;
    let consumer = stream.consumer().flag("--until-end").env(unit.0, unit.1).spawn();
    assert_code(&consumer.wait(VERY_LONG), 0);
    let found = stream.target.query("select timestamp from transactions").await;
    assert_eq!(found, vec![[Some("2024-01-15 08:30:00.25".to_owned())]; 2]);
}

#[tokio::test]
async fn a_topic_half_of_which_is_broken_in_ten_ways() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let dead_letters = broker.topic(1).await;
    let mut sent: Sent = Vec::new();
    let (mut expected_ids, mut id) = (Vec::new(), 0);
    for partition in 0..6 {
        let mut records: Vec<Record> = Vec::new();
        for _ in 0..400 {
            id += 1;
            let key = Uuid::from_u128(id.into()).to_string();
            if id % 2 == 0 {
                expected_ids.push(key.clone());
                records.push(record(Some(key.as_bytes()), Some(good(id).to_string().as_bytes())));
                continue;
            }
            let (value, code) = bad(id / 2);
            let offset = records.len().to_string();
            let key = (id % 4 == 1).then_some(key);
            let bytes = key.as_deref().map(str::as_bytes);
            records.push(record(bytes, value.as_deref()));
            sent.push([
                partition.to_string(),
                offset,
                hex(bytes),
                hex(value.as_deref()),
                code.to_owned(),
            ]);
        }
        broker.produce(&stream.topic, partition, records).await;
    }
    sent.sort();

    let consumer = stream.consumer().flags(["--until-end", "--dlq-topic", &dead_letters]).spawn();
    assert_code(&consumer.wait(VERY_LONG), 0);
    let ids = stream.target.query("select id from transactions order by id").await;
    let ids: Vec<String> = ids.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
    expected_ids.sort();
    assert_eq!(ids, expected_ids);

    let sql = "select partition, position, coalesce(encode(key, 'hex'), 'none'), \
               coalesce(encode(payload, 'hex'), 'none'), code from dead_letters";
    let mut in_table: Sent = Vec::new();
    for row in stream.target.query(sql).await {
        let row: Vec<String> = row.into_iter().map(Option::unwrap).collect();
        in_table.push(row.try_into().unwrap());
    }
    in_table.sort();
    assert_eq!(in_table, sent);
    stream.check_ledger().await;

    let mut in_topic: Sent = Vec::new();
    for found in broker.read_all(&dead_letters, 0).await {
        let event: Value = serde_json::from_slice(found.record.value.as_deref().unwrap()).unwrap();
        assert_eq!(
            (&event["topic"], &event["service"]),
            (&json!(stream.topic), &json!("kafka-consumer"))
        );
        let payload = match event["payload_encoding"].as_str().unwrap() {
            "none" => None,
            "utf8" => Some(event["payload"].as_str().unwrap().as_bytes().to_vec()),
            _ => Some(BASE64_STANDARD.decode(event["payload"].as_str().unwrap()).unwrap()),
        };
        let key = found.record.key.filter(|key| *key != event["id"].as_str().unwrap().as_bytes());
        in_topic.push([
            event["partition"].to_string(),
            event["offset"].to_string(),
            hex(key.as_deref()),
            hex(payload.as_deref()),
            event["error_type"].as_str().unwrap().to_owned(),
        ]);
    }
    in_topic.sort();
    assert_eq!(in_topic, sent);
}

#[tokio::test]
async fn masked_fields_reach_neither_the_table_nor_the_topic() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let dead_letters = broker.topic(1).await;
    let mut secret = good(1);
    secret["merchant"] = json!("Jane");
    secret["side"] = json!("sideways");
    let values = [secret.to_string(), "{\"merchant\": \"Jane\"".to_owned()];
    let records = values.iter().map(|value| record(Some(b"1"), Some(value.as_bytes()))).collect();
    broker.produce(&stream.topic, 0, records).await;
    let consumer = stream
        .consumer()
        .flags(["--until-end", "--dlq-topic", &dead_letters])
        .env("TALLY_PRIVACY__MASKED", "[\"merchant\"]")
        .spawn();
    assert_code(&consumer.wait(VERY_LONG), 0);
    let payloads = stream
        .target
        .query("select convert_from(payload, 'UTF8'), headers from dead_letters order by position")
        .await;
    let [masked, unreadable] = &payloads[..] else { panic!("{payloads:?}") };
    let payload: Value = serde_json::from_str(masked[0].as_deref().unwrap()).unwrap();
    assert_eq!((&payload["merchant"], &payload["side"]), (&json!("***"), &json!("sideways")));
    assert!(unreadable[0].as_deref().unwrap().starts_with("19 bytes, BLAKE3 "), "{unreadable:?}");
    assert!(masked[1].as_deref().unwrap().contains("masked"), "{masked:?}");
    let events = broker.read_all(&dead_letters, 0).await;
    assert_eq!(events.len(), 2);
    for event in events {
        let value = String::from_utf8(event.record.value.unwrap()).unwrap();
        assert!(!value.contains("Jane"), "{value}");
    }
}

#[tokio::test]
async fn avro_through_the_registry() {
    let (stream, registry, sample) =
        (Stream::new().await, Registry::shared().await, Sample::new(2_000));
    feed_avro(&stream, &sample, registry);
    let consumer =
        stream.consumer().flag("--until-end").env("SCHEMA_REGISTRY_URL", registry.url()).spawn();
    assert_code(&consumer.wait(VERY_LONG), 0);
    stream.check_taken(&sample).await;
}

fn feed_avro(stream: &Stream, sample: &Sample, registry: &Registry) {
    let producer = Launch::new(binary("producer"))
        .args([sample.path().to_str().unwrap(), "--brokers", &stream.brokers])
        .args(["--topic", &stream.topic, "--format", "avro"])
        .env("SCHEMA_REGISTRY_URL", registry.url())
        .spawn();
    assert_code(&producer.wait(VERY_LONG), 0);
}

/// Records without a merchant are put aside, as JSON without their descriptions.
#[tokio::test]
async fn masked_fields_of_avro_records() {
    let (stream, registry, sample) =
        (Stream::new().await, Registry::shared().await, Sample::new(500));
    feed_avro(&stream, &sample, registry);
    let broker = Broker::shared().await;
    let dead_letters = broker.topic(1).await;
    let consumer = stream
        .consumer()
        .flags(["--until-end", "--dlq-topic", &dead_letters])
        .env("SCHEMA_REGISTRY_URL", registry.url())
        .env("TALLY_QUALITY__WINDOW", "10")
        .env("TALLY_QUALITY__MISSING_MERCHANT__POLICY", "quarantine")
        .env("TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD", "0")
        .env("TALLY_PRIVACY__MASKED", "[\"description\"]")
        .spawn();
    assert_code(&consumer.wait(VERY_LONG), 0);
    let payloads = "select convert_from(payload, 'UTF8') from dead_letters";
    let payloads = stream.target.query(payloads).await;
    assert!(!payloads.is_empty());
    for payload in &payloads {
        let payload: Value = serde_json::from_str(payload[0].as_deref().unwrap()).unwrap();
        assert_eq!((&payload["description"], &payload["merchant"]), (&json!("***"), &Value::Null));
        assert!(payload["id"].is_string(), "{payload}");
    }
    let events = broker.read_all(&dead_letters, 0).await;
    assert_eq!(events.len(), payloads.len());
    for event in events {
        let value = event.record.value.unwrap();
        assert_eq!(value[0], 0, "Avro as well");
        let text = String::from_utf8_lossy(&value);
        assert!(text.contains(r#""description":"***""#), "{text}");
    }
}

/// A tombstone, an empty value, and a record just below the broker's limit of a mebibyte.
#[tokio::test]
async fn records_at_the_limits() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let mut large = good(1);
    large["more"] = json!("x".repeat(1024 * 1024 - 1_000));
    let records = vec![
        record(Some(b"1"), Some(large.to_string().as_bytes())),
        record(Some(b"2"), None),
        record(None, Some(b"")),
    ];
    for record in records {
        broker.produce(&stream.topic, 0, vec![record]).await;
    }
    stream.consume_to_end();
    assert_eq!(stream.target.number("select count(*) from transactions").await, 1);
    let codes = "select code, payload is null, key is null from dead_letters order by position";
    let codes: Vec<Vec<String>> = stream
        .target
        .query(codes)
        .await
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap).collect())
        .collect();
    assert_eq!(codes, [["tombstone", "t", "f"], ["json", "f", "t"]]);
}

#[tokio::test]
async fn a_topic_of_nothing_but_bad_records_is_not_buried() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let records = (0..2_000).map(|_| record(None, Some(b"nonsense"))).collect();
    broker.produce(&stream.topic, 0, records).await;
    let output = stream.consumer().flag("--until-end").spawn().wait(VERY_LONG);
    assert_code(&output, 65);
    assert!(
        output.stderr.contains("1000 records in a row") && output.stderr.contains("json (1000)"),
        "{output}"
    );
    assert_eq!(stream.target.number("select count(*) from dead_letters").await, 800);
    assert_eq!(stream.target.number("select next from positions where partition = 0").await, 800);
}
