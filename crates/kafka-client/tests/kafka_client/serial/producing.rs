//! Brokers that freeze, die and come back while they are written to.

use std::time::Duration;

use tally_harness::kafka::OwnKafka;
use tally_kafka_client::{
    Client, Codec, Delivery, Producer, ProducerSettings, TransactionalProducer,
};

use super::hurried;
use crate::support::{value, values};

const MINUTE: Duration = Duration::from_mins(1);

fn settings() -> ProducerSettings {
    ProducerSettings {
        codec: Codec::None,
        batch_bytes: 500,
        patience: Duration::from_secs(1),
        ..ProducerSettings::default()
    }
}

fn client(broker: &OwnKafka) -> Client {
    Client::new(hurried(vec![broker.bootstrap().to_owned()])).unwrap()
}

/// Sends the numbers, a hundred at a time.
async fn send(producer: &Producer, topic: &str, numbers: std::ops::Range<u32>) -> Vec<Delivery> {
    let numbers: Vec<_> = numbers.collect();
    let mut deliveries = Vec::new();
    for numbers in numbers.chunks(100) {
        let records = numbers.iter().map(|number| value(number.to_string())).collect();
        deliveries.push(producer.send(topic, records).await.unwrap());
    }
    deliveries
}

/// Waits for all, through every outage.
async fn wait(deliveries: Vec<Delivery>) {
    for mut delivery in deliveries {
        loop {
            match delivery.wait().await {
                Ok(too_large) => break assert!(too_large.is_empty()),
                Err(undelivered) => assert!(undelivered.is_on_its_way, "{undelivered}"),
            }
        }
    }
}

fn numbers(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn what_a_frozen_broker_was_sent_is_written_once() {
    let broker = OwnKafka::start().await;
    let topic = broker.topic(1).await;
    let producer = client(&broker).producer(settings());
    wait(send(&producer, &topic, 0..500).await).await;
    broker.freeze();
    let mut frozen = send(&producer, &topic, 500..1_500).await;
    // By then an answer was too late, and all goes again on another connection.
    let undelivered = frozen[0].wait().await.unwrap_err();
    assert!(undelivered.is_on_its_way, "{undelivered}");
    broker.thaw();
    wait(frozen).await;
    wait(send(&producer, &topic, 1_500..2_000).await).await;
    assert!(values(broker.bootstrap(), &topic, 0).await == numbers(0..2_000));
}

#[tokio::test]
async fn what_a_killed_broker_was_sent_is_written_once() {
    let broker = OwnKafka::start().await;
    let topic = broker.topic(1).await;
    let producer = client(&broker).producer(settings());
    for round in 0..3 {
        let start = round * 20_000;
        let sent = send(&producer, &topic, start..start + 20_000).await;
        broker.kill9().await;
        let waiting = tokio::spawn(wait(sent));
        broker.start_again().await;
        waiting.await.unwrap();
    }
    assert!(values(broker.bootstrap(), &topic, 0).await == numbers(0..60_000));
}

#[tokio::test]
async fn a_transaction_outlives_its_broker_or_is_aborted() {
    let broker = OwnKafka::start().await;
    let topic = broker.topic(1).await;
    let begun = client(&broker).transactional_producer(settings(), "id", MINUTE).await;
    let mut producer = begun.unwrap();
    let send = async |producer: &mut TransactionalProducer, text: &str| {
        producer.send(&topic, vec![value(text.to_owned())]).await
    };
    send(&mut producer, "1").await.unwrap().wait().await.unwrap();
    broker.kill9().await;
    broker.start_again().await;
    producer.commit().await.unwrap();
    send(&mut producer, "2").await.unwrap().wait().await.unwrap();
    broker.freeze();
    let error = producer.commit().await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    broker.thaw();
    // It was committed before the abort, or never.
    producer.abort().await.unwrap();
    send(&mut producer, "3").await.unwrap().wait().await.unwrap();
    producer.commit().await.unwrap();
    let found = values(broker.bootstrap(), &topic, 0).await;
    assert!(found == ["1", "3"] || found == ["1", "2", "3"], "{found:?}");
}
