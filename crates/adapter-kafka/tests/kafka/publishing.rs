//! What the publisher writes.

use std::fmt::Write;

use bytes::Bytes;
use tally_adapter_kafka::{Cluster, Outgoing, Publisher, Settings};
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord};

async fn publisher(broker: &Broker, topic: &str) -> Publisher {
    let settings = Settings::new(vec![broker.bootstrap().to_owned()]);
    let cluster = Cluster::new(&settings).unwrap();
    Publisher::open(&cluster, topic).await.unwrap()
}

fn outgoing(key: Option<String>, value: String) -> Outgoing {
    let (key, value) = (key.map(Bytes::from), Some(Bytes::from(value)));
    Outgoing { key, value, headers: Vec::new() }
}

/// The values in a partition.
async fn values(broker: &Broker, topic: &str, partition: i32) -> Vec<String> {
    let records = broker.read_all(topic, partition).await;
    records.into_iter().map(|read| String::from_utf8(read.record.value.unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn keys_go_where_javas_producer_sends_them_in_order() {
    let broker = Broker::shared().await;
    let (ours, javas) = (broker.topic(6).await, broker.topic(6).await);
    let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let mut java = JavaProducer::start(broker.bootstrap());
    for key in &keys {
        let (key, value) = (Some(key.as_bytes()), Some(key.as_bytes()));
        java.send(JavaRecord { topic: &javas, key, value, ..Default::default() }).await;
    }
    java.flush().await;
    let records: Vec<Outgoing> =
        keys.iter().map(|key| outgoing(Some(key.clone()), key.clone())).collect();
    publisher(broker, &ours).await.publish(&records).await.unwrap();

    for partition in 0..6 {
        let expected = values(broker, &javas, partition).await;
        assert!(!expected.is_empty());
        assert_eq!(values(broker, &ours, partition).await, expected, "{partition}");
    }
}

#[tokio::test]
async fn a_call_without_keys_goes_to_one_partition_and_the_next_to_the_next() {
    let broker = Broker::shared().await;
    let topic = broker.topic(2).await;
    let publisher = publisher(broker, &topic).await;
    for call in ["a", "b", "c"] {
        let records: Vec<Outgoing> =
            (0..3).map(|number| outgoing(None, format!("{call}{number}"))).collect();
        publisher.publish(&records).await.unwrap();
    }
    assert_eq!(values(broker, &topic, 0).await, ["a0", "a1", "a2", "c0", "c1", "c2"]);
    assert_eq!(values(broker, &topic, 1).await, ["b0", "b1", "b2"]);
}

#[tokio::test]
async fn many_records_keep_their_order_over_several_requests() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let sent: Vec<String> = (0..2_000).map(|number| format!("{number:01000}")).collect();
    let records: Vec<Outgoing> = sent.iter().map(|value| outgoing(None, value.clone())).collect();
    publisher(broker, &topic).await.publish(&records).await.unwrap();
    assert!(values(broker, &topic, 0).await == sent, "other records than were sent");
}

#[tokio::test]
async fn batches_are_compressed_by_lz4() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let records: Vec<Outgoing> = (0..100).map(|_| outgoing(None, "x".repeat(100))).collect();
    publisher(broker, &topic).await.publish(&records).await.unwrap();
    let segment = broker.segment(&topic, 0);
    // A batch's attributes, after its offset, length, epoch, format and checksum: the last three bits are the codec.
    let attributes = i16::from_be_bytes(segment[21..23].try_into().unwrap());
    assert_eq!(attributes & 7, 3);
    assert!(segment.len() < 1_000, "{} bytes of one batch", segment.len());
}

#[tokio::test]
async fn what_is_too_large_together_is_split() {
    let broker = Broker::shared().await;
    let topic = broker.topic_with(1, "max.message.bytes=20000").await;
    let publisher = publisher(broker, &topic).await;
    let sent: Vec<String> = (0..30).map(|seed| noise(1_000, seed)).collect();
    let records: Vec<_> = sent.iter().map(|value| outgoing(None, value.clone())).collect();
    publisher.publish(&records).await.unwrap();
    assert_eq!(values(broker, &topic, 0).await, sent);

    let mut with_large = records;
    for place in [7, 20] {
        with_large[place] = outgoing(None, noise(50_000, 7));
    }
    assert_eq!(publisher.publish(&with_large).await, Ok(vec![7, 20]));
    let others = (0..30).filter(|place| ![7, 20].contains(place)).map(|place| sent[place].clone());
    let all: Vec<String> = sent.iter().cloned().chain(others).collect();
    assert_eq!(values(broker, &topic, 0).await, all, "each of the others once, and in order");
}

/// Text that compresses badly.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    text.truncate(length);
    text
}

#[tokio::test]
async fn tombstones_and_headers_are_written_as_they_are() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let headers = vec![("name".to_owned(), Bytes::from_static(b"\xff"))];
    let tombstone = Outgoing { key: Some(Bytes::from_static(b"k")), value: None, headers };
    publisher(broker, &topic).await.publish(&[tombstone]).await.unwrap();
    let read = &broker.read_all(&topic, 0).await[0].record;
    assert_eq!((read.key.as_deref(), &read.value), (Some(b"k".as_slice()), &None));
    assert_eq!(read.headers["name"], b"\xff");
}

#[tokio::test]
async fn nothing_is_soon_published() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    publisher(broker, &topic).await.publish(&[]).await.unwrap();
    assert!(values(broker, &topic, 0).await.is_empty());
}
