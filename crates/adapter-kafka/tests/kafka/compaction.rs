//! Logs of which the broker removed parts.

use std::time::Duration;

use serde_json::{Value, json};
use tally_adapter_kafka::Settings;
use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord, Record, record};
use tokio::sync::Mutex;

use crate::support::{Topic, passed, payload, positions, read};

const COMPACTED: &str = "cleanup.policy=compact,segment.ms=100,min.cleanable.dirty.ratio=0.001";

fn keyed(key: &str) -> Record {
    record(Some(key.as_bytes()), Some(payload(0).as_bytes()))
}

/// A topic whose first batch, of ten records, holds only the first five any more.
async fn compacted(broker: &Broker) -> Topic {
    let topic = Topic::named(broker, broker.topic_with(1, COMPACTED).await);
    let keys: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    broker.produce(&topic.name, 0, keys.iter().map(|key| keyed(key)).collect()).await;
    broker.produce(&topic.name, 0, keys[5..].iter().map(|key| keyed(key)).collect()).await;
    // What is written after the segment's time closes it.
    eventually(Duration::from_mins(4), async || {
        broker.produce(&topic.name, 0, vec![keyed("last")]).await;
        offsets(broker, &topic).await.starts_with(&[0, 1, 2, 3, 4, 10])
    })
    .await;
    topic
}

async fn offsets(broker: &Broker, topic: &Topic) -> Vec<i64> {
    broker.read_all(&topic.name, 0).await.iter().map(|record| record.offset).collect()
}

#[tokio::test]
async fn a_compacted_topic_is_read_whole() {
    let broker = Broker::shared().await;
    let topic = compacted(broker).await;
    let (_, end) = broker.offsets(&topic.name, 0).await;
    let batches = topic.read(end).await;
    // The cleaner goes on meanwhile: what is left in the end was there before.
    let left = offsets(broker, &topic).await;
    assert!(left.iter().all(|offset| positions(&batches).contains(offset)), "{left:?}");
}

#[tokio::test]
async fn a_range_without_records_is_passed_and_counted() {
    let broker = Broker::shared().await;
    let topic = compacted(broker).await;
    for fetch_bytes in [1, 1 << 20] {
        let by = |settings: &mut Settings| settings.fetch_bytes = fetch_bytes;
        let topic = Topic::named(broker, topic.name.clone()).with(by);
        let batches = topic.read(11).await;
        assert_eq!(positions(&batches), [0, 1, 2, 3, 4, 10]);
        assert_eq!(passed(&batches), json!({ "hole": 5 }));

        let (mut source, _) = topic.source(5, &Value::Null, Some(11));
        let batches = read(&mut source, 5, 11).await;
        assert_eq!((positions(&batches), passed(&batches)), (vec![10], json!({ "hole": 5 })));
        // Nothing but that before the end: the cursor stays that of the last record.
        let (mut source, _) = topic.source(0, &Value::Null, Some(5));
        let cursor = read(&mut source, 0, 5).await.remove(0).cursor;
        let (mut source, _) = topic.source(8, &cursor, Some(10));
        let batches = read(&mut source, 8, 10).await;
        assert_eq!((batches.len(), batches[0].items.len()), (1, 0));
        assert_eq!(batches[0].cursor["offset"], 4);
    }
}

#[tokio::test]
async fn a_range_without_records_before_the_end_of_a_transaction_is_passed_and_counted() {
    let broker = Broker::shared().await;
    let topic = Topic::named(broker, broker.topic_with(1, COMPACTED).await);
    let mut java = JavaProducer::start(broker.bootstrap());
    let keys: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    let value = payload(0);
    java.begin().await;
    for key in &keys {
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        java.send(JavaRecord { topic: &topic.name, key, value, ..Default::default() }).await;
    }
    java.commit().await; // 0 to 9 and the end at 10
    broker.produce(&topic.name, 0, keys[5..].iter().map(|key| keyed(key)).collect()).await;
    let java = Mutex::new(java);
    eventually(Duration::from_mins(4), async || {
        broker.produce(&topic.name, 0, vec![keyed("last")]).await;
        let left = java.lock().await.read_all(&topic.name, 0, true).await;
        left.iter().map(|record| record.offset).take(6).eq([0, 1, 2, 3, 4, 11])
    })
    .await;

    let batches = topic.read(12).await;
    assert_eq!(positions(&batches), [0, 1, 2, 3, 4, 11]);
    assert_eq!(passed(&batches), json!({ "hole": 5, "marker": 1 }));
}
