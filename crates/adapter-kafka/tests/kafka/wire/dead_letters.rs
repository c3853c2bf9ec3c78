//! Dead letters on a topic of the real Kafka.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use bytes::Bytes;
use serde_json::json;
use tally_adapter_kafka::wire::{DeadLetterTopic, Registry};
use tally_adapter_kafka::{Cluster, Publisher, Settings};
use tally_harness::http::{Reply, ScriptedServer};
use tally_harness::kafka::Broker;
use tally_ports::{Fault, PublishDeadLetters, Raw, RelayedDeadLetter, StopKind};
use uuid::Uuid;

use crate::wire::registry;

const SCHEMA: &str = include_str!("../../../../../infra/schemas/dlqs_v1.avsc");

async fn open(topic: &str, registry: Option<Registry>) -> DeadLetterTopic {
    let bootstrap = Broker::shared().await.bootstrap().to_owned();
    let cluster = Cluster::new(&Settings::new(vec![bootstrap])).unwrap();
    let publisher = Publisher::open(&cluster, topic).await.unwrap();
    DeadLetterTopic::new(publisher, topic, "kafka-consumer", registry)
}

fn letter(position: i64, payload: Option<Bytes>) -> RelayedDeadLetter {
    RelayedDeadLetter {
        id: Uuid::from_u128(u128::try_from(position).unwrap()),
        flow: "transactions".into(),
        stream: "tally/transactions".into(),
        partition: 3,
        pass: 1,
        position,
        attempt: 1,
        raw: Raw {
            payload,
            headers: Arc::from([("h".to_owned(), Some("v".into()))]),
            ..Raw::default()
        },
        stage: "decode".into(),
        code: "json".into(),
        message: "empty".into(),
        failed_at: "2026-11-21T10:00:00".parse().unwrap(),
    }
}

/// The events of a topic of one partition.
async fn events(topic: &str) -> Vec<serde_json::Value> {
    let records = Broker::shared().await.read_all(topic, 0).await;
    let value = |value: Option<Vec<u8>>| serde_json::from_slice(&value.unwrap()).unwrap();
    records.into_iter().map(|record| value(record.record.value)).collect()
}

#[tokio::test]
async fn each_is_an_event_with_its_key_and_headers() {
    let topic = Broker::shared().await.topic(1).await;
    let mut keyed = letter(7, Some("{}".into()));
    keyed.raw.key = Some("key".into());
    let published = open(&topic, None).await.publish(&[keyed, letter(8, None)]).await;
    assert_eq!(published, Ok(()));

    let records = Broker::shared().await.read_all(&topic, 0).await;
    let [first, second] = &records[..] else { panic!("{} records", records.len()) };
    assert_eq!(first.record.key.as_deref(), Some(&b"key"[..]));
    let id = b"00000000-0000-0000-0000-000000000008";
    assert_eq!(second.record.key.as_deref(), Some(&id[..]));
    let header = |name| second.record.headers.get(name).map(Vec::as_slice);
    assert_eq!(header("__connect.errors.offset"), Some(&b"8"[..]));
    assert_eq!(header("__connect.errors.topic"), Some(&b"transactions"[..]));
    assert_eq!(header("tally.dead_letter.id"), Some(&id[..]));
    let events = events(&topic).await;
    assert_eq!(events[0]["payload"], "{}");
    assert_eq!(events[1]["payload_encoding"], "none");
    assert_eq!(events[1]["headers"], json!([["h", "dg=="]]));
}

#[tokio::test]
async fn what_is_over_the_topics_limit_is_cut_alone() {
    let topic = Broker::shared().await.topic_with(1, "max.message.bytes=4000").await;
    let large =
        |byte: u8| Some(Bytes::from((0..20_000).map(|at| byte ^ noise(at)).collect::<Vec<_>>()));
    let letters = [
        letter(0, Some("before".into())),
        letter(1, large(b'x')),
        letter(2, Some("between".into())),
        letter(3, large(b'y')),
        letter(4, Some("after".into())),
    ];
    assert_eq!(open(&topic, None).await.publish(&letters).await, Ok(()));

    // Each once: what is too large is sent again after the others, and only that.
    let events = events(&topic).await;
    let shown: Vec<_> = events
        .iter()
        .map(|event| {
            let payload = event["payload"].as_str().unwrap();
            (event["truncated"].as_bool().unwrap(), payload.len().min(20))
        })
        .collect();
    assert_eq!(shown, [(false, 6), (false, 7), (false, 5), (true, 20), (true, 20)]);
}

/// Bytes that neither compress nor are text.
fn noise(at: u32) -> u8 {
    let mixed = at.wrapping_mul(0x9e37_79b9);
    (mixed ^ mixed >> 15).to_le_bytes()[1] | 0x80
}

#[tokio::test]
async fn a_topic_that_is_too_small_for_any_is_a_wrong_setting() {
    let topic = Broker::shared().await.topic_with(1, "max.message.bytes=150").await;
    match open(&topic, None).await.publish(&[letter(0, Some("payload".into()))]).await {
        Err(Fault::Stop(stop)) => {
            assert_eq!(stop.kind, StopKind::Setting);
            assert!(stop.message.contains("max.message.bytes"), "{stop}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn with_a_registry_they_are_avro() {
    let topic = Broker::shared().await.topic(1).await;
    let server = ScriptedServer::start(|request| match (request.number, request.method.as_str()) {
        (0, _) => Reply::status(503),
        (1, _) => Reply::json(r#"{"is_compatible": true}"#),
        _ => Reply::json(r#"{"id": 5}"#),
    })
    .await;
    let dead_letters = open(&topic, Some(registry(&server.url()))).await;
    let letters = [letter(7, Some(b"\xff".as_slice().into())), letter(8, None)];
    // The registry is unavailable at first.
    let fault = dead_letters.publish(&letters).await.unwrap_err();
    assert!(matches!(fault, Fault::Outage { .. }), "{fault:?}");
    assert_eq!(dead_letters.publish(&letters).await, Ok(()));
    let path = format!("/subjects/{topic}-value/versions");
    assert_eq!(server.requests().last().unwrap().path, path);

    let schema = Schema::parse_str(SCHEMA).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let mut read = Vec::new();
    for record in Broker::shared().await.read_all(&topic, 0).await {
        let value = record.record.value.unwrap();
        let (frame, mut datum) = value.split_at(5);
        assert_eq!(frame, [0, 0, 0, 0, 5]);
        let Value::Record(fields) = reader.read_value(&mut datum).unwrap() else {
            panic!("no record")
        };
        assert!(datum.is_empty());
        read.push(fields);
    }
    let field = |event: usize, name: &str| {
        let found = read[event].iter().find(|(field, _)| field == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    let text = |text: &str| Value::String(text.to_owned());
    let some = |value: Value| Value::Union(1, Box::new(value));
    assert_eq!(field(0, "topic"), some(text("transactions")));
    assert_eq!(field(0, "offset"), Value::Long(7));
    assert_eq!(field(0, "failed_at"), Value::TimestampMicros(1_795_255_200_000_000));
    assert_eq!(field(0, "payload_json"), some(text("/w==")));
    assert_eq!(field(0, "payload_encoding"), text("base64"));
    assert_eq!(field(0, "headers_json"), text(r#"[["h","dg=="]]"#));
    assert_eq!(field(0, "truncated"), Value::Boolean(false));
    assert_eq!(field(1, "payload_json"), Value::Union(0, Box::new(Value::Null)));
}
