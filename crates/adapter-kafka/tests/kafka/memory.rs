//! How much of a log is in memory.

use serde_json::Value;
use tally_harness::kafka::{Broker, record};
use tally_ports::Source;

use crate::support::{Topic, blocked, next, positions, produce_singly, range, read, visits};

const LIMIT: usize = 100_000;

async fn limited(broker: &Broker) -> Topic {
    Topic::new(broker).await.with(|settings| settings.max_batch_bytes = LIMIT)
}

#[tokio::test]
async fn a_batch_over_the_limit_stops_the_partition_and_names_the_setting() {
    let broker = Broker::shared().await;
    let topic = limited(broker).await;
    let large = vec![b' '; 60_000];
    broker.produce(&topic.name, 0, visits(0..2)).await;
    broker.produce(&topic.name, 0, vec![record(None, Some(&large)); 2]).await;
    broker.produce(&topic.name, 0, vec![record(None, Some(&large))]).await;

    let (mut source, progress) = topic.source(0, &Value::Null, None);
    assert_eq!(next(&mut source, 1000).await.items.len(), 2);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!(range(&gap), (2, 3, 4));
    let found = "over the limit of 100000: raise kafka.max_batch_bytes to read it";
    assert!(message.contains(found), "{message}");
    let (mut source, _) = topic.source(gap.resume, &Value::Null, Some(5));
    assert_eq!(positions(&read(&mut source, 4, 5).await), [4]);
}

#[tokio::test]
async fn a_batch_over_the_limit_as_it_was_sent_stops_the_partition_likewise() {
    let broker = Broker::shared().await;
    let name = broker.topic_with(1, "max.message.bytes=4194304").await;
    let topic = Topic::named(broker, name).with(|settings| settings.max_batch_bytes = LIMIT);
    let large = vec![b' '; 700_000];
    broker.produce(&topic.name, 0, visits(0..2)).await;
    broker.produce(&topic.name, 0, vec![record(None, Some(&large)); 2]).await;
    broker.produce(&topic.name, 0, visits(4..5)).await;

    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let read_before = next(&mut source, 1000).await;
    assert_eq!(read_before.items.len(), 2);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!((range(&gap), gap.is_recreated), ((2, 3, 4), false));
    let found = "bytes as it was sent, and an answer may take 1310720: raise kafka.max_batch_bytes to read it";
    assert!(message.contains(found), "{message}");
    let (mut source, _) = topic.source(gap.resume, &read_before.cursor, Some(5));
    assert_eq!(positions(&read(&mut source, 4, 5).await), [4]);
}

#[tokio::test]
async fn sources_share_the_memory_of_unpacked_batches() {
    let broker = Broker::shared().await;
    let topic = limited(broker).await;
    let large = vec![b' '; 90_000];
    produce_singly(broker, &topic.name, vec![record(None, Some(&large)); 3]).await;

    let (mut one, _) = topic.source(0, &Value::Null, None);
    let (mut other, _) = topic.source(2, &Value::Null, None);
    let first = next(&mut one, 1).await;
    let second = next(&mut one, 1).await;
    // A third would take more than twice the limit, in either.
    for source in [&mut one, &mut other] {
        assert!(source.next_batch(1).await.unwrap().unwrap().is_idle());
    }
    drop((first, second));
    for source in [&mut one, &mut other] {
        assert_eq!(next(source, 1).await.first, 2);
    }
}
