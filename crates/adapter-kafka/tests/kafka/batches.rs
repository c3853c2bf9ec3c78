//! What is in a batch.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tally_adapter_kafka::KafkaSource;
use tally_adapter_kafka::wire::Registry;
use tally_domain::{Field, Fields};
use tally_harness::http::{Reply, ScriptedServer};
use tally_harness::kafka::{Broker, record};
use tally_ports::{Fault, Passed, Source};
use tokio::join;

use crate::support::{
    NEVER, Topic, decoder, next, payload, positions, produce_singly, read, visits,
};

#[tokio::test]
async fn a_batch_closes_at_its_count() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await.with(|settings| settings.linger = NEVER);
    broker.produce(&topic.name, 0, visits(0..2_500)).await;

    let batches = topic.read(2_500).await;
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.items.len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);
    assert_eq!(positions(&batches), (0..2_500).collect::<Vec<_>>());
    for (number, item) in batches.iter().flat_map(|batch| &batch.items).enumerate() {
        assert_eq!(item.raw.key.as_deref(), Some(b"key".as_slice()));
        assert_eq!(item.raw.payload.as_deref(), Some(payload(number).as_bytes()));
        let who = format!("visitor {number}");
        let fields = item.content.as_ref().unwrap();
        assert_eq!(fields[0], Field::Text(who.into()));
    }
    assert!(batches.iter().all(|batch| batch.passed == Passed::default()));
}

#[tokio::test]
async fn a_batch_closes_at_four_mebibytes() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await.with(|settings| settings.linger = NEVER);
    let half = vec![b' '; 500 * 1024];
    produce_singly(broker, &topic.name, vec![record(None, Some(&half)); 20]).await;

    let batches = topic.read(20).await;
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.items.len()).collect();
    assert_eq!(sizes, [8, 8, 4]);
}

#[tokio::test]
async fn a_batch_waits_for_more_as_long_as_it_may_linger() {
    let broker = Broker::shared().await;
    let patient = Topic::new(broker).await.with(|settings| settings.linger = NEVER);
    let (mut source, _) = patient.source(0, &Value::Null, None);
    broker.produce(&patient.name, 0, visits(0..1)).await;
    let (batch, _) = join!(source.next_batch(2), broker.produce(&patient.name, 0, visits(1..2)));
    assert_eq!(batch.unwrap().unwrap().items.len(), 2);

    let hasty = Topic::named(broker, patient.name);
    let (mut source, _) = hasty.source(0, &Value::Null, None);
    assert_eq!(next(&mut source, 3).await.items.len(), 2);
}

#[tokio::test]
async fn it_is_idle_when_nothing_comes_and_goes_on_when_something_does() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    broker.produce(&topic.name, 0, visits(0..3)).await;
    let (mut source, progress) = topic.source(3, &Value::Null, None);
    let batch = source.next_batch(1000).await.unwrap().unwrap();
    assert!(batch.is_idle() && batch.first == 3, "{batch:?}");
    assert_eq!((progress.lag().records, progress.lag().oldest), (0, None));

    broker.produce(&topic.name, 0, visits(3..5)).await;
    let batch = next(&mut source, 1000).await;
    assert_eq!((batch.first, batch.last, batch.items.len()), (3, 4, 2));
    assert_eq!(progress.lag().records, 2);
    assert!(progress.lag().oldest.is_some());
    progress.committed(5);
    assert_eq!((progress.lag().records, progress.lag().oldest), (0, None));
}

#[tokio::test]
async fn reading_resumes_at_a_cursor() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    broker.produce(&topic.name, 0, visits(0..10)).await;

    let (mut source, _) = topic.source(0, &Value::Null, None);
    let batch = next(&mut source, 4).await;
    assert_eq!((batch.last, &batch.cursor["offset"]), (3, &3.into()));
    drop(source);

    let (mut source, _) = topic.source(4, &batch.cursor, Some(10));
    assert_eq!(positions(&read(&mut source, 4, 10).await), (4..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_ends_before_what_came_after_its_end_was_set() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    broker.produce(&topic.name, 0, visits(0..10)).await;
    assert_eq!(positions(&topic.read(7).await), (0..7).collect::<Vec<_>>());

    let (mut source, _) = topic.source(5, &Value::Null, Some(5));
    assert!(source.next_batch(1000).await.unwrap().is_none());
    let (mut source, _) = topic.source(5, &Value::Null, Some(i64::MIN));
    assert!(source.next_batch(1000).await.unwrap().is_none());
}

#[tokio::test]
async fn bytes_are_as_they_were_sent() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut with_headers = record(Some(b"\xff\0"), Some(b"\0\xff no json"));
    with_headers.headers.insert("name".to_owned(), b"\xfe".to_vec());
    with_headers.headers.insert("other".to_owned(), Vec::new());
    let largest = vec![b' '; 1_048_400]; // the broker's limit is 1,048,588 for the whole batch
    broker.produce(&topic.name, 0, vec![record(None, None), record(None, Some(b""))]).await;
    broker.produce(&topic.name, 0, vec![with_headers]).await;
    broker.produce(&topic.name, 0, vec![record(Some(b""), Some(&largest))]).await;

    let batches = topic.read(4).await;
    let items: Vec<_> = batches.into_iter().flat_map(|batch| batch.items).collect();
    // A tombstone is no bad record but one without fields.
    assert_eq!(items[0].content, Ok(Fields::new()));
    assert!(items[1..].iter().all(|item| item.content.is_err()));
    let raw: Vec<_> = items.into_iter().map(|item| item.raw).collect();
    assert_eq!((&raw[0].key, &raw[0].payload), (&None, &None));
    assert_eq!((&raw[1].key, &raw[1].payload), (&None, &Some(Bytes::new())));
    assert_eq!(raw[2].key.as_deref(), Some(b"\xff\0".as_slice()));
    assert_eq!(raw[2].payload.as_deref(), Some(b"\0\xff no json".as_slice()));
    let headers = [("name", Bytes::from_static(b"\xfe")), ("other", Bytes::new())]
        .map(|(name, value)| (name.to_owned(), Some(value)));
    assert_eq!(*raw[2].headers, headers);
    assert_eq!(raw[3].key.as_deref(), Some(b"".as_slice()));
    assert!(raw[3].payload.as_deref() == Some(&*largest), "the largest record is whole");
}

#[tokio::test]
async fn nothing_is_lost_while_the_registry_is_away() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let registry = ScriptedServer::start(|request| match request.number {
        0 | 1 => Reply::status(503),
        _ => Reply::status(404).body(r#"{"error_code":40403,"message":"Schema not found"}"#),
    })
    .await;
    broker.produce(&topic.name, 0, visits(0..2)).await;
    broker.produce(&topic.name, 0, vec![record(None, Some(b"\0\0\0\0\x07datum"))]).await;
    broker.produce(&topic.name, 0, visits(2..3)).await;

    let registry = Registry::new(&registry.url(), NEVER).unwrap();
    let (cluster, decoder) = (topic.cluster.clone(), Arc::new(decoder(Some(registry))));
    let (name, cursor, until) = (&topic.name, &Value::Null, Some(4));
    let (mut source, _) = KafkaSource::new(cluster, decoder, name, 0, 0, cursor, until);
    let before = next(&mut source, 1000).await;
    assert_eq!((before.first, before.last, before.items.len()), (0, 1, 2));
    let fault = source.next_batch(1000).await.unwrap_err();
    assert!(matches!(fault, Fault::Outage { .. }), "{fault}");
    assert_eq!(positions(&read(&mut source, 2, 4).await), [2, 3]);
}

#[tokio::test]
async fn a_timestamp_before_1970_is_none() {
    let topic = Topic::new(Broker::shared().await).await;
    let mut records = visits(0..2);
    records[0].timestamp = chrono::DateTime::from_timestamp_millis(-1).unwrap();
    let written_at = records[1].timestamp;
    Broker::shared().await.produce(&topic.name, 0, records).await;
    let (mut source, _) = topic.source(0, &Value::Null, None);
    let batch = next(&mut source, 2).await;
    let found: Vec<_> = batch.items.iter().map(|item| item.raw.timestamp).collect();
    let to_the_millisecond = chrono::DateTime::from_timestamp_millis(written_at.timestamp_millis());
    assert_eq!(found, [None, to_the_millisecond]);
}
