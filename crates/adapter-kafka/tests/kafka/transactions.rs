//! Logs that a transactional producer wrote.

use std::time::Duration;

use serde_json::{Value, json};
use tally_adapter_kafka::{Settings, Start};
use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord};
use tally_ports::Source;

use crate::support::{Topic, blocked, next, passed, payload, positions, range, visits};

async fn send(java: &mut JavaProducer, topic: &Topic, count: usize) {
    for number in 0..count {
        let value = payload(number);
        let record =
            JavaRecord { topic: &topic.name, value: Some(value.as_bytes()), ..Default::default() };
        java.send(record).await;
    }
}

async fn transaction(java: &mut JavaProducer, topic: &Topic, count: usize) {
    java.begin().await;
    send(java, topic, count).await;
    java.commit().await;
}

#[tokio::test]
async fn their_ends_are_passed_and_counted() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    broker.produce(&topic.name, 0, visits(0..2)).await; // 0, 1
    transaction(&mut java, &topic, 3).await; // 2, 3, 4 and the end at 5
    broker.produce(&topic.name, 0, visits(0..1)).await; // 6
    transaction(&mut java, &topic, 2).await; // 7, 8 and the end at 9

    let batches = topic.read(10).await;
    assert_eq!(positions(&batches), [0, 1, 2, 3, 4, 6, 7, 8]);
    assert_eq!(passed(&batches), json!({ "marker": 2 }));
    assert!(batches.iter().flat_map(|batch| &batch.items).all(|item| item.content.is_ok()));

    // Also where a position lies at one, and where there is nothing else any more.
    let (mut source, progress) = topic.source(9, &batches[batches.len() - 1].cursor, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!((batch.first, batch.last, batch.items.len()), (9, 9, 0));
    assert_eq!(batch.passed.to_json(), json!({ "marker": 1 }));
    progress.committed(10);
    assert!(source.next_batch(1000).await.unwrap().unwrap().is_idle());
    assert_eq!(progress.lag().records, 0);
}

#[tokio::test]
async fn the_end_of_one_belongs_to_the_batch_before() {
    let broker = Broker::shared().await;
    let patient = |settings: &mut Settings| settings.linger = Duration::from_secs(3);
    let topic = Topic::new(broker).await.with(patient);
    let mut java = JavaProducer::start(broker.bootstrap());
    transaction(&mut java, &topic, 2).await;
    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!((batch.first, batch.last, batch.items.len()), (0, 2, 2));
    progress.committed(3);
    assert_eq!(progress.lag().records, 0);
}

#[tokio::test]
async fn aborted_records_are_passed_and_counted() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    java.begin().await;
    send(&mut java, &topic, 2).await;
    java.abort().await; // 0, 1 and the end at 2
    transaction(&mut java, &topic, 1).await; // 3 and the end at 4
    java.begin().await;
    send(&mut java, &topic, 1).await;
    java.abort().await; // 5 and the end at 6

    let batches = topic.read(7).await;
    assert_eq!(positions(&batches), [3]);
    assert_eq!(passed(&batches), json!({ "aborted": 3, "marker": 3 }));
}

#[tokio::test]
async fn what_is_not_decided_is_not_read() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    broker.produce(&topic.name, 0, visits(0..1)).await;
    java.begin().await;
    send(&mut java, &topic, 2).await;
    java.flush().await;
    broker.produce(&topic.name, 0, visits(0..1)).await; // 3, behind it

    let latest = async || topic.cluster.offset(&topic.name, 0, Start::Latest).await.unwrap();
    assert_eq!(latest().await, 1);
    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!((batch.first, batch.last), (0, 0));
    progress.committed(1);
    assert!(source.next_batch(1000).await.unwrap().unwrap().is_idle());
    // Nothing that could be read is behind.
    eventually(Duration::from_secs(20), async || progress.lag().records == 0).await;

    java.commit().await;
    let mut read = 1;
    while read < 5 {
        let batch = next(&mut source, 1000).await;
        assert_eq!(batch.first, read);
        read = batch.last + 1;
    }
    assert_eq!(latest().await, 5);
}

#[tokio::test]
async fn many_small_ones_are_read_whole() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    for number in 0..100 {
        transaction(&mut java, &topic, 1 + number % 3).await;
    }
    let (_, end) = broker.offsets(&topic.name, 0).await;
    let batches = topic.read(end).await;
    assert_eq!(positions(&batches).len(), 199);
    assert_eq!(end, 299);
    assert_eq!(passed(&batches), json!({ "marker": 100 }));
}

#[tokio::test]
async fn the_end_of_one_where_a_record_was_tells_of_another_topic() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    broker.produce(&topic.name, 0, visits(0..2)).await;
    let (mut source, _) = topic.source(0, &Value::Null, None);
    let cursor = next(&mut source, 2).await.cursor;
    drop(source);

    broker.delete_topic(&topic.name).await;
    broker.create_topic(&topic.name, 1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    transaction(&mut java, &topic, 1).await; // 0 and the end at 1
    broker.produce(&topic.name, 0, visits(0..2)).await;
    let (mut source, progress) = topic.source(2, &cursor, None);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!(range(&gap), (0, 1, 0), "{message}");
}
