//! Batches that the client cannot decode.

use serde_json::Value;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord};
use tally_ports::Source;

use crate::support::{Topic, blocked, next, positions, produce_singly, range, read, visits};

/// One batch of records without a fault but in the last one's header.
async fn produce_unreadable(java: &mut JavaProducer, topic: &Topic, count: usize) {
    let good = JavaRecord { topic: &topic.name, value: Some(b"{}"), ..Default::default() };
    for _ in 1..count {
        java.send(good).await;
    }
    java.send(JavaRecord { headers: &[("name", None)], ..good }).await;
    java.flush().await;
}

#[tokio::test]
async fn they_stop_the_partition_after_all_before_them_and_name_their_range() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    broker.produce(&topic.name, 0, visits(0..3)).await; // 0 to 2
    produce_unreadable(&mut java, &topic, 4).await; // 3 to 6
    produce_unreadable(&mut java, &topic, 2).await; // 7, 8
    broker.produce(&topic.name, 0, visits(3..5)).await; // 9, 10
    produce_unreadable(&mut java, &topic, 1).await; // 11

    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!(positions(std::slice::from_ref(&batch)), [0, 1, 2]);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!(range(&gap), (3, 8, 9));
    assert!(message.contains("cannot be decoded"), "{message}");

    let (mut source, progress) = topic.source(gap.resume, &batch.cursor, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!(positions(std::slice::from_ref(&batch)), [9, 10]);
    assert_eq!(range(&blocked(&mut source, &progress).await.0), (11, 11, 12));

    // Behind it there is nothing, and then something.
    let (mut source, _) = topic.source(12, &batch.cursor, None);
    assert!(source.next_batch(1000).await.unwrap().unwrap().is_idle());
    broker.produce(&topic.name, 0, visits(5..6)).await;
    assert_eq!(next(&mut source, 1000).await.first, 12);
}

#[tokio::test]
async fn those_behind_the_end_do_not_matter() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    produce_singly(broker, &topic.name, visits(0..3)).await;
    produce_unreadable(&mut java, &topic, 1).await;
    let (mut source, _) = topic.source(0, &Value::Null, Some(3));
    assert_eq!(positions(&read(&mut source, 0, 3).await), [0, 1, 2]);
}

#[tokio::test]
async fn the_end_of_a_transaction_ends_their_range() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    java.begin().await;
    produce_unreadable(&mut java, &topic, 2).await;
    java.commit().await; // at 2
    broker.produce(&topic.name, 0, visits(0..1)).await;
    let (mut source, progress) = topic.source(0, &Value::Null, None);
    assert_eq!(range(&blocked(&mut source, &progress).await.0), (0, 1, 2));
    let (mut source, _) = topic.source(2, &Value::Null, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!((batch.first, batch.last, batch.items.len()), (2, 3, 1));
}
