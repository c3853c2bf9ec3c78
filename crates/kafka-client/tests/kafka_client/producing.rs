//! What a producer writes.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ProduceRequest,
    ProduceResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord};
use tally_kafka_client::{
    Codec, Error, Piece, Producer, ProducerRecord, ProducerSettings, ResponseError,
};

use crate::support::{DEADLINE, ask, client, noise, partition, quota, read_to_end, value, values};

/// Small batches, so that many are in flight.
fn producer(broker: &Broker) -> Producer {
    let settings = ProducerSettings { batch_bytes: 2_000, ..ProducerSettings::default() };
    client(broker.bootstrap()).producer(settings)
}

#[tokio::test]
async fn each_record_is_written_once_and_in_order() {
    const RECORDS: usize = 20_000;
    let broker = Broker::shared().await;
    let topic = broker.topic(3).await;
    let producer = producer(broker);
    let record = |number: usize| ProducerRecord {
        key: Some(Bytes::from((number % 100).to_string())),
        ..value(number.to_string())
    };
    let mut deliveries = Vec::new();
    for start in (0..RECORDS).step_by(1_000) {
        let records = (start..start + 1_000).map(record).collect();
        deliveries.push(producer.send(&topic, records).await.unwrap());
    }
    for mut delivery in deliveries {
        assert!(delivery.wait().await.unwrap().is_empty());
    }
    let mut count = 0;
    for partition in 0..3 {
        let numbers = values(broker.bootstrap(), &topic, partition).await;
        let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{partition}");
        count += numbers.len();
    }
    assert_eq!(count, RECORDS);
}

#[tokio::test]
async fn keys_go_where_javas_producer_sends_them() {
    let broker = Broker::shared().await;
    let (ours, javas) = (broker.topic(6).await, broker.topic(6).await);
    let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let mut java = JavaProducer::start(broker.bootstrap());
    for key in &keys {
        let (key, value) = (Some(key.as_bytes()), Some(key.as_bytes()));
        java.send(JavaRecord { topic: &javas, key, value, ..Default::default() }).await;
    }
    java.flush().await;
    let record =
        |key: &String| ProducerRecord { key: Some(key.clone().into()), ..value(key.clone()) };
    let records = keys.iter().map(record).collect();
    producer(broker).send(&ours, records).await.unwrap().wait().await.unwrap();
    for partition in 0..6 {
        let expected = values(broker.bootstrap(), &javas, partition).await;
        assert!(!expected.is_empty());
        assert_eq!(values(broker.bootstrap(), &ours, partition).await, expected, "{partition}");
    }
}

#[tokio::test]
async fn a_call_without_keys_goes_to_one_partition_and_the_next_to_the_next() {
    let broker = Broker::shared().await;
    let topic = broker.topic(2).await;
    let producer = producer(broker);
    for call in ["a", "b", "c"] {
        let records = (0..3).map(|number| value(format!("{call}{number}"))).collect();
        producer.send(&topic, records).await.unwrap().wait().await.unwrap();
    }
    let first = ["a0", "a1", "a2", "c0", "c1", "c2"];
    assert_eq!(values(broker.bootstrap(), &topic, 0).await, first);
    assert_eq!(values(broker.bootstrap(), &topic, 1).await, ["b0", "b1", "b2"]);
}

#[tokio::test]
async fn nothing_is_soon_written() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let written = producer(broker).send(&topic, Vec::new()).await.unwrap().wait().await;
    assert!(written.unwrap().is_empty());
}

#[tokio::test]
async fn records_are_written_as_they_are_in_each_codec() {
    let broker = Broker::shared().await;
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let topic = broker.topic(1).await;
        let settings = ProducerSettings { codec, ..ProducerSettings::default() };
        let producer = client(broker.bootstrap()).producer(settings);
        let headers = vec![
            (Bytes::from_static(b"\xff"), None),
            (Bytes::from_static(b"a"), Some(Bytes::from_static(b"1"))),
            (Bytes::from_static(b"a"), Some(Bytes::from_static(b"2"))),
        ];
        let tombstone =
            ProducerRecord { key: Some(Bytes::from_static(b"k")), value: None, headers };
        let sent = vec![tombstone, value("text ".repeat(100))];
        let mut delivery = producer.send(&topic, sent.clone()).await.unwrap();
        delivery.wait().await.unwrap();
        let pieces = read_to_end(&partition(broker.bootstrap(), &topic).await).await;
        let [Piece::Records(batch)] = &pieces[..] else { panic!("{codec}: {pieces:?}") };
        assert_eq!(batch.codec(), codec);
        let read = batch.records().map(|record| ProducerRecord {
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.iter().collect(),
        });
        assert_eq!(read.collect::<Vec<_>>(), sent, "{codec}");
    }
}

#[tokio::test]
async fn a_record_over_the_topics_limit_is_told_and_its_neighbours_are_written() {
    let broker = Broker::shared().await;
    let topic = broker.topic_with(1, "max.message.bytes=20000").await;
    let mut records: Vec<_> = (0..30).map(|number| value(noise(1_000, number))).collect();
    records[7] = value(noise(50_000, 7));
    records[20] = value(noise(50_000, 20));
    let producer = client(broker.bootstrap()).producer(ProducerSettings::default());
    let mut delivery = producer.send(&topic, records.clone()).await.unwrap();
    assert_eq!(delivery.wait().await.unwrap(), [7, 20]);
    let expected: Vec<_> = (0..30).filter(|number| ![7, 20].contains(number)).collect();
    assert_eq!(numbers(broker, &topic).await, expected);
}

#[tokio::test]
async fn a_limit_that_was_lowered_since_is_found_out() {
    let broker = Broker::shared().await;
    let topic = broker.topic(2).await;
    let producer = client(broker.bootstrap()).producer(ProducerSettings::default());
    producer.send(&topic, vec![value(noise(6_000, 0))]).await.unwrap().wait().await.unwrap();
    let batch = Bytes::from(broker.segment(&topic, 0));
    producer.send(&topic, Vec::new()).await.unwrap().wait().await.unwrap();
    limit(broker, &topic, "5000").await;
    let too_large = ResponseError::MessageTooLarge.code();
    let refused = async || produce_raw(broker, &topic, 1, batch.clone()).await == too_large;
    eventually(DEADLINE, refused).await;
    let mut records: Vec<_> = (1..20).map(|number| value(noise(1_000, number))).collect();
    records[4] = value(noise(6_000, 5));
    let mut delivery = producer.send(&topic, records).await.unwrap();
    assert_eq!(delivery.wait().await.unwrap(), [4]);
    let expected: Vec<_> = (0..20).filter(|number| *number != 5).collect();
    assert_eq!(numbers(broker, &topic).await, expected);
}

/// Those that the values begin with.
async fn numbers(broker: &Broker, topic: &str) -> Vec<u64> {
    let values = values(broker.bootstrap(), topic, 0).await;
    values.iter().map(|value| value.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// In force soon.
async fn limit(broker: &Broker, topic: &str, bytes: &'static str) {
    let setting = AlterableConfig::default()
        .with_name(StrBytes::from_static_str("max.message.bytes"))
        .with_value(Some(StrBytes::from_static_str(bytes)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configs(vec![setting]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer: IncrementalAlterConfigsResponse =
        ask(broker.bootstrap(), ApiKey::IncrementalAlterConfigs, 1, &request).await;
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

#[tokio::test]
async fn no_topic_is_created() {
    let broker = Broker::shared().await;
    let producer = producer(broker);
    let error = producer.send("tally-misspelt", vec![value("1".to_owned())]).await.unwrap_err();
    assert!(matches!(error, Error::MissingTopic { .. }), "{error}");
    let topics = client(broker.bootstrap()).topics().await.unwrap();
    assert!(!topics.iter().any(|topic| &*topic.name == "tally-misspelt"));
}

#[tokio::test]
async fn under_a_quota_nothing_is_written_twice() {
    const RECORDS: usize = 20_000;
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut settings = crate::support::settings(broker.bootstrap());
    settings.client_id = format!("producer-{topic}");
    // Less than the broker makes us wait.
    settings.request_timeout = std::time::Duration::from_millis(500);
    quota(broker.bootstrap(), &settings.client_id, "producer_byte_rate", 100_000.).await;
    let settings_of_producer = ProducerSettings { codec: Codec::None, ..Default::default() };
    let client = tally_kafka_client::Client::new(settings).unwrap();
    let producer = client.producer(settings_of_producer);
    let records: Vec<_> = (0..RECORDS).map(|number| value(format!("{number:060}"))).collect();
    let started = std::time::Instant::now();
    producer.send(&topic, records).await.unwrap().wait().await.unwrap();
    assert!(started.elapsed().as_millis() > 500, "no throttling was seen");
    let expected: Vec<_> = (0..RECORDS).map(|number| format!("{number:060}")).collect();
    assert!(values(broker.bootstrap(), &topic, 0).await == expected);
}

/// Somebody else writes under the producer's id, so that the broker waits for another number than the producer sends.
#[tokio::test]
async fn a_broker_that_waits_for_another_number_gets_a_new_epoch() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let producer = producer(broker);
    let send = async |text: &str| {
        producer.send(&topic, vec![value(text.to_owned())]).await.unwrap().wait().await.unwrap()
    };
    send("ours").await;
    let batch = broker.segment(&topic, 0);
    // The broker knows the last five batches again.
    for sequence in 1..=6 {
        let mut other = BytesMut::from(&batch[..]);
        other[53..57].copy_from_slice(&i32::to_be_bytes(sequence));
        let checksum = crc32c::crc32c(&other[21..]);
        (&mut other[17..21]).put_u32(checksum);
        assert_eq!(produce_raw(broker, &topic, 0, other.freeze()).await, 0);
    }
    assert!(send("again").await.is_empty());
    assert!(send("more").await.is_empty());
    let expected = [&["ours"; 7][..], &["again", "more"]].concat();
    assert_eq!(values(broker.bootstrap(), &topic, 0).await, expected);
    let segment = broker.segment(&topic, 0);
    let of_batch = &segment[batch.len() * 7..];
    assert_eq!((of_batch[43..51] == batch[43..51], &of_batch[51..53]), (true, &[0, 1][..]));
}

/// The broker's error code.
async fn produce_raw(broker: &Broker, topic: &str, partition: i32, batch: Bytes) -> i16 {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    let answer: ProduceResponse = ask(broker.bootstrap(), ApiKey::Produce, 9, &request).await;
    answer.responses[0].partition_responses[0].error_code
}

#[tokio::test]
async fn a_partition_that_was_added_is_written_to() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let first = producer(broker);
    first.send(&topic, vec![value("0".to_owned())]).await.unwrap().wait().await.unwrap();
    broker.grow_topic(&topic, 2).await;
    // One that looks the topic up again, as each does after a minute.
    let second = Arc::new(producer(broker));
    for _ in 0..2 {
        second.send(&topic, vec![value("1".to_owned())]).await.unwrap().wait().await.unwrap();
    }
    assert_eq!(values(broker.bootstrap(), &topic, 1).await, ["1"]);
}
