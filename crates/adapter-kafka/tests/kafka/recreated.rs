//! A log that is no longer the one that was read.

use serde_json::{Value, json};
use tally_adapter_kafka::is_recreated;
use tally_harness::kafka::Broker;
use tally_ports::{Fault, Source, StopKind};

use crate::support::{Topic, blocked, next, produce_singly, range, visits};

/// A topic of ten records, and the cursor of the last one.
async fn of_ten(broker: &Broker) -> (Topic, Value) {
    let topic = Topic::new(broker).await;
    broker.produce(&topic.name, 0, visits(0..10)).await;
    let (mut source, _) = topic.source(0, &Value::Null, None);
    let cursor = next(&mut source, 10).await.cursor;
    assert_eq!(is_recreated(&topic.cluster, &topic.name, 0, 10, &cursor).await, Ok(false));
    (topic, cursor)
}

/// As it was before topics' ids were looked at.
fn without_id(cursor: &Value) -> Value {
    let mut cursor = cursor.clone();
    cursor.as_object_mut().unwrap().remove("topic_id").unwrap();
    cursor
}

async fn recreate(broker: &Broker, topic: &Topic, records: std::ops::Range<usize>) {
    broker.delete_topic(&topic.name).await;
    broker.create_topic(&topic.name, 1).await;
    if !records.is_empty() {
        broker.produce(&topic.name, 0, visits(records)).await;
    }
}

/// Reads on after ten records once the topic is recreated with those.
async fn check(records: std::ops::Range<usize>, why: &str) {
    let broker = Broker::shared().await;
    let (topic, cursor) = of_ten(broker).await;
    recreate(broker, &topic, records).await;
    let now = topic.cluster.cursor(&topic.name).await.unwrap();
    // A cursor from before the topic's id was looked at tells by what is in the log.
    for (cursor, why) in [(&cursor, "its id was"), (&without_id(&cursor), why)] {
        assert_eq!(is_recreated(&topic.cluster, &topic.name, 0, 10, cursor).await, Ok(true));
        // Before the end is looked at, too.
        for until in [None, Some(5)] {
            let (mut source, progress) = topic.source(10, cursor, until);
            let (gap, message) = blocked(&mut source, &progress).await;
            assert_eq!((gap.topic.as_str(), range(&gap)), (topic.name.as_str(), (0, 9, 0)));
            assert!(gap.is_recreated && gap.cursor == now, "{gap:?}");
            assert!(message.contains("recreated") && message.contains(why), "{message}");
        }
    }
}

#[tokio::test]
async fn with_other_records() {
    check(100..130, "offset 9 is not what was read there").await;
}

#[tokio::test]
async fn with_the_same_records_sent_again() {
    check(0..10, "offset 9 is not what was read there").await;
}

#[tokio::test]
async fn with_fewer_records() {
    check(0..5, "its log ends at 5").await;
}

#[tokio::test]
async fn without_records() {
    check(0..0, "its log ends at 0").await;
}

#[tokio::test]
async fn a_position_beyond_the_end_without_a_cursor() {
    let broker = Broker::shared().await;
    let (topic, _) = of_ten(broker).await;
    let (mut source, progress) = topic.source(100, &Value::Null, None);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!(range(&gap), (0, 99, 0));
    assert!(message.contains("its log ends at 10"), "{message}");
}

#[tokio::test]
async fn a_log_that_has_lost_records_goes_on_where_it_ends() {
    let broker = Broker::shared().await;
    let (topic, cursor) = of_ten(broker).await;
    let (mut source, progress) = topic.source(15, &cursor, None);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!((range(&gap), gap.is_recreated), ((10, 14, 10), true));
    assert!(message.contains("the log lost these records and ends at 10 now"), "{message}");
}

#[tokio::test]
async fn the_time_of_the_broker_is_compared_only_with_what_was_read_as_such() {
    let broker = Broker::shared().await;
    let appended = "message.timestamp.type=LogAppendTime";
    let topic = Topic::named(broker, broker.topic_with(1, appended).await);
    broker.produce(&topic.name, 0, visits(0..2)).await;
    let (mut source, _) = topic.source(0, &Value::Null, None);
    let cursor = next(&mut source, 2).await.cursor;
    // As it was read before: by the producer's clock.
    let mut by_producer = without_id(&cursor);
    by_producer["timestamp"] = json!(1);
    broker.produce(&topic.name, 0, visits(2..3)).await;
    for cursor in [&cursor, &by_producer] {
        let (mut source, _) = topic.source(2, cursor, None);
        assert_eq!(next(&mut source, 1).await.first, 2);
    }
}

#[tokio::test]
async fn while_it_is_read() {
    let broker = Broker::shared().await;
    for records in [0..3, 0..30] {
        let (topic, cursor) = of_ten(broker).await;
        let (mut source, progress) = topic.source(10, &cursor, None);
        assert!(source.next_batch(1000).await.unwrap().unwrap().is_idle());
        recreate(broker, &topic, records).await;
        let (gap, _) = blocked(&mut source, &progress).await;
        assert_eq!(range(&gap), (0, 9, 0));
    }
}

#[tokio::test]
async fn while_nothing_is_read() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await.with(|settings| settings.fetch_bytes = 1);
    produce_singly(broker, &topic.name, visits(0..20)).await;
    let (mut source, progress) = topic.source(0, &Value::Null, None);
    // What is ahead fills the buffer, and nothing is asked of the broker any more.
    let mut last = next(&mut source, 1).await.last;
    recreate(broker, &topic, 100..150).await;
    let gap = loop {
        assert!(last < 10, "{last} was read");
        match source.next_batch(1).await {
            Ok(batch) => last = batch.unwrap().last.max(last),
            Err(_) => break blocked(&mut source, &progress).await.0,
        }
    };
    assert_eq!(range(&gap), (0, last, 0));
}

#[tokio::test]
async fn a_topic_that_is_gone_is_awaited() {
    let broker = Broker::shared().await;
    let (topic, cursor) = of_ten(broker).await;
    let (mut source, progress) = topic.source(10, &cursor, None);
    assert!(source.next_batch(1000).await.unwrap().unwrap().is_idle());
    broker.delete_topic(&topic.name).await;
    let gone = |fault: Fault| {
        let message = fault.to_string();
        assert!(matches!(fault, Fault::Outage { .. }), "{message}");
        message.contains("has no topic")
    };
    while !source.next_batch(1000).await.is_err_and(gone) {}
    broker.create_topic(&topic.name, 1).await;
    assert_eq!(range(&blocked(&mut source, &progress).await.0), (0, 9, 0));
}

#[tokio::test]
async fn what_was_deleted_is_named() {
    let broker = Broker::shared().await;
    let (topic, cursor) = of_ten(broker).await;
    broker.produce(&topic.name, 0, visits(10..20)).await;
    broker.delete_records(&topic.name, 0, 13).await;
    let (mut source, progress) = topic.source(10, &cursor, None);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!(range(&gap), (10, 12, 13));
    assert!(message.contains("no longer in the log, which begins at 13"), "{message}");

    // What the cursor names is gone, so it cannot be compared; reading can go on.
    let (mut source, _) = topic.source(gap.resume, &cursor, None);
    assert_eq!(next(&mut source, 1000).await.first, 13);
}

#[tokio::test]
async fn what_is_deleted_while_it_is_read_is_named_after_all_before_it() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await.with(|settings| settings.fetch_bytes = 1);
    produce_singly(broker, &topic.name, visits(0..20)).await;
    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let mut last = next(&mut source, 1).await.last;
    broker.delete_records(&topic.name, 0, 18).await;
    let gap = loop {
        assert!(last < 10, "{last} was read");
        match source.next_batch(1000).await {
            Ok(batch) => {
                let batch = batch.unwrap();
                assert_eq!(batch.first, last + 1);
                last = batch.last;
            }
            Err(_) => break blocked(&mut source, &progress).await.0,
        }
    };
    assert_eq!(range(&gap), (last + 1, 17, 18));
}

#[tokio::test]
async fn a_cursor_of_something_else_is_refused() {
    let broker = Broker::shared().await;
    let (topic, _) = of_ten(broker).await;
    let (mut source, _) = topic.source(10, &json!({ "byte": 100, "line": 3 }), None);
    for _ in 0..2 {
        let Err(Fault::Stop(stop)) = source.next_batch(1000).await else { panic!("no stop") };
        assert_eq!(stop.kind, StopKind::Data);
    }
}
