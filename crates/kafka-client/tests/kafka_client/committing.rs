//! Transactions of a producer.

use std::time::Duration;

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use kafka_protocol::protocol::StrBytes;
use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, OwnKafka};
use tally_kafka_client::{ProducerSettings, ResponseError, TopicRecords, TransactionalProducer};

use crate::support::{DEADLINE, ask, client, value, values};

const MINUTE: Duration = Duration::from_mins(1);

async fn begin(broker: &Broker, id: &str, timeout: Duration) -> TransactionalProducer {
    let client = client(broker.bootstrap());
    client.transactional_producer(ProducerSettings::default(), id, timeout).await.unwrap()
}

async fn send(producer: &mut TransactionalProducer, topic: &str, texts: &[&str]) {
    let records = texts.iter().map(|&text| value(text.to_owned())).collect();
    producer.send(topic, records).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn all_is_committed_or_nothing() {
    all_or_nothing(Broker::shared().await).await;
}

async fn all_or_nothing(broker: &Broker) {
    let (one, other) = (broker.topic(1).await, broker.topic(1).await);
    let mut producer = begin(broker, &one, MINUTE).await;
    send(&mut producer, &one, &["1", "2"]).await;
    send(&mut producer, &other, &["3"]).await;
    producer.commit().await.unwrap();
    send(&mut producer, &one, &["4"]).await;
    send(&mut producer, &other, &["5"]).await;
    producer.abort().await.unwrap();
    send(&mut producer, &other, &["6"]).await;
    producer.commit().await.unwrap();
    producer.commit().await.unwrap();
    // What was left open is aborted by the next one.
    send(&mut producer, &one, &["7"]).await;
    let mut next = begin(broker, &one, MINUTE).await;
    for number in 8..11 {
        send(&mut next, &one, &[&number.to_string()]).await;
        next.commit().await.unwrap();
    }
    assert_eq!(values(broker.bootstrap(), &one, 0).await, ["1", "2", "8", "9", "10"]);
    assert_eq!(values(broker.bootstrap(), &other, 0).await, ["3", "6"]);
    let mut java = JavaProducer::start(broker.bootstrap());
    let committed = java.read_all(&one, 0, true).await.into_iter();
    let committed: Vec<_> = committed.map(|read| read.value.unwrap()).collect();
    assert_eq!(committed, [&b"1"[..], b"2", b"8", b"9", b"10"]);
}

#[tokio::test]
async fn without_keys_every_partition_gets_a_transaction_in_turn() {
    let broker = Broker::shared().await;
    let (first, other) = (broker.topic(2).await, broker.topic(2).await);
    let part = |topic, partition, number: i32| {
        let records = vec![value(number.to_string())];
        TopicRecords { topic, partition, records }
    };
    let mut producer = begin(broker, &first, MINUTE).await;
    for number in 0..8 {
        // Beside one with a partition of its own, then beside another without.
        let of_other = (number < 4).then_some(0);
        let parts = vec![part(&first, None, number), part(&other, of_other, number)];
        for mut delivery in producer.send_all(parts).await.unwrap() {
            assert!(delivery.wait().await.unwrap().is_empty());
        }
        producer.commit().await.unwrap();
    }
    assert_eq!(values(broker.bootstrap(), &first, 0).await, ["0", "2", "4", "6"]);
    assert_eq!(values(broker.bootstrap(), &first, 1).await, ["1", "3", "5", "7"]);
    assert_eq!(values(broker.bootstrap(), &other, 0).await, ["0", "1", "2", "3", "4", "6"]);
    assert_eq!(values(broker.bootstrap(), &other, 1).await, ["5", "7"]);
}

#[tokio::test]
async fn a_successor_fences() {
    a_successor_fences_on(Broker::shared().await).await;
}

async fn a_successor_fences_on(broker: &Broker) {
    let topic = broker.topic(1).await;
    let mut former = begin(broker, &topic, MINUTE).await;
    send(&mut former, &topic, &["1"]).await;
    let mut successor = begin(broker, &topic, MINUTE).await;
    let error = former.commit().await.unwrap_err();
    let is_fenced = |code| {
        matches!(code, Some(ResponseError::ProducerFenced | ResponseError::InvalidProducerEpoch))
    };
    assert!(is_fenced(error.code()) && !error.is_retriable(), "{error}");
    let error = former.abort().await.unwrap_err();
    assert!(is_fenced(error.code()) && !error.is_retriable(), "{error}");
    send(&mut successor, &topic, &["2"]).await;
    successor.commit().await.unwrap();
    // What it still sends does not get in, by whichever request.
    let records = vec![value("3".to_owned())];
    let refused = match former.send(&topic, records).await {
        Ok(mut delivery) => delivery.wait().await.unwrap_err().error,
        Err(error) => error,
    };
    assert!(!refused.is_retriable(), "{refused}");
    assert_eq!(values(broker.bootstrap(), &topic, 0).await, ["2"]);
}

#[tokio::test]
async fn one_that_the_broker_has_timed_out_is_not_committed() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut producer = begin(broker, &topic, Duration::from_secs(2)).await;
    send(&mut producer, &topic, &["1"]).await;
    let partition = crate::support::partition(broker.bootstrap(), &topic).await;
    eventually(DEADLINE, async || {
        partition.latest(tally_kafka_client::Isolation::ReadCommitted).await.unwrap() == 2
    })
    .await;
    let error = producer.commit().await.unwrap_err();
    assert!(!error.is_retriable(), "{error}");
    producer.abort().await.unwrap();
    send(&mut producer, &topic, &["2"]).await;
    producer.commit().await.unwrap();
    assert_eq!(values(broker.bootstrap(), &topic, 0).await, ["2"]);
}

#[tokio::test]
async fn a_commit_waits_for_what_was_sent() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut producer = begin(broker, &topic, MINUTE).await;
    let sent: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
    for numbers in sent.chunks(100) {
        let records = numbers.iter().map(|number| value(number.clone())).collect();
        drop(producer.send(&topic, records).await.unwrap());
    }
    producer.commit().await.unwrap();
    assert!(values(broker.bootstrap(), &topic, 0).await == sent);
}

#[tokio::test]
async fn a_timeout_that_the_broker_does_not_allow_is_a_setting() {
    let broker = Broker::shared().await;
    let client = client(broker.bootstrap());
    let settings = ProducerSettings::default();
    let days = Duration::from_hours(24 * 20);
    let error = client.transactional_producer(settings, "t-long", days).await.unwrap_err();
    assert_eq!(error.code(), Some(ResponseError::InvalidTransactionTimeout));
    assert!(!error.is_retriable());
}

/// As brokers before Kafka 4.0 have them.
#[tokio::test]
async fn transactions_before_kip_890_do_the_same() {
    let broker = OwnKafka::start().await;
    let feature = FeatureUpdateKey::default()
        .with_feature(StrBytes::from_static_str("transaction.version"))
        .with_max_version_level(1)
        .with_upgrade_type(2);
    let request = UpdateFeaturesRequest::default()
        .with_timeout_ms(10_000)
        .with_feature_updates(vec![feature]);
    let answer: UpdateFeaturesResponse =
        ask(broker.bootstrap(), ApiKey::UpdateFeatures, 1, &request).await;
    assert_eq!(answer.error_code, 0, "{answer:?}");
    eventually(DEADLINE, async || transaction_version(&broker).await == 1).await;
    all_or_nothing(&broker).await;
    a_successor_fences_on(&broker).await;
}

async fn transaction_version(broker: &OwnKafka) -> i16 {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let answer: ApiVersionsResponse =
        ask(broker.bootstrap(), ApiKey::ApiVersions, 3, &request).await;
    let mut features = answer.finalized_features.iter();
    let found = features.find(|feature| feature.name.as_str() == "transaction.version");
    found.unwrap().max_version_level
}
