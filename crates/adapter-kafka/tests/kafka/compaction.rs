//! Logs of which the broker removed parts.

use std::time::Duration;

use serde_json::Value;
use tally_adapter_kafka::Settings;
use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord, Record, record};
use tokio::sync::Mutex;

use crate::support::{Topic, payload, positions, read};

const COMPACTED: &str = "cleanup.policy=compact,segment.ms=100,min.cleanable.dirty.ratio=0.001";

fn keyed(key: &str) -> Record {
    record(Some(key.as_bytes()), Some(payload(0).as_bytes()))
}

/// A topic whose first batch, of ten records, holds only the first five any more.
async fn compacted(broker: &Broker) -> Topic {
    let topic = Topic::named(broker, broker.topic_with(1, COMPACTED).await).await;
    let keys: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    broker.produce(&topic.name, 0, keys.iter().map(|key| keyed(key)).collect()).await;
    broker.produce(&topic.name, 0, keys[5..].iter().map(|key| keyed(key)).collect()).await;
    // What is written after the segment's time closes it.
    eventually(Duration::from_mins(2), async || {
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
    assert!(batches.iter().all(|batch| batch.gap.is_none()), "they were passed between records");
}

#[tokio::test]
async fn a_range_without_records_is_passed_with_a_reason() {
    let broker = Broker::shared().await;
    let one_batch_a_fetch = |settings: &mut Settings| settings.fetch_bytes = 1;
    let topic = compacted(broker).await.with(one_batch_a_fetch).await;

    let batches = topic.read(11).await;
    let passed: Vec<_> = batches.iter().filter(|batch| batch.gap.is_some()).collect();
    assert_eq!(passed.len(), 1);
    assert_eq!((passed[0].first, passed[0].last, passed[0].items.len()), (5, 9, 0));
    let gap = passed[0].gap.as_deref();
    assert_eq!(gap, Some("compacted: no records are left at offsets 5 to 9"));
    assert_eq!(passed[0].cursor["offset"], 4, "it stays that of the last record");
    assert_eq!(positions(&batches), [0, 1, 2, 3, 4, 10]);

    // With larger fetches it is passed between two records, or right before the end.
    let topic = topic.with(|settings| settings.fetch_bytes = 1 << 20).await;
    let (mut source, _) = topic.source(5, &passed[0].cursor, Some(11));
    let batches = read(&mut source, 5, 11).await;
    assert_eq!((batches.len(), batches[0].gap.as_deref()), (1, None));
    let (mut source, _) = topic.source(5, &Value::Null, Some(8));
    let batches = read(&mut source, 5, 8).await;
    assert_eq!((batches.len(), batches[0].items.len()), (1, 0));
    let gap = batches[0].gap.as_deref();
    assert_eq!(gap, Some("compacted: no records are left at offsets 5 to 7"));
}

#[tokio::test]
async fn a_range_without_records_before_the_end_of_a_transaction_is_passed() {
    let broker = Broker::shared().await;
    let topic = Topic::named(broker, broker.topic_with(1, COMPACTED).await).await;
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
    eventually(Duration::from_mins(2), async || {
        broker.produce(&topic.name, 0, vec![keyed("last")]).await;
        let left = java.lock().await.read_all(&topic.name, 0, true).await;
        left.iter().map(|record| record.offset).take(6).eq([0, 1, 2, 3, 4, 11])
    })
    .await;

    let batches = topic.read(12).await;
    assert_eq!(positions(&batches), [0, 1, 2, 3, 4, 11]);
    let passed: Vec<_> = batches.iter().filter(|batch| batch.gap.is_some()).collect();
    assert_eq!(passed.len(), 1);
    assert_eq!((passed[0].first, passed[0].last, passed[0].items.len()), (5, 10, 0));
}
