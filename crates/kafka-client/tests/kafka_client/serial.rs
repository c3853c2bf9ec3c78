//! Brokers that stop, freeze and come back.

mod damaged;
mod producing;

use std::time::{Duration, Instant};

use tally_harness::eventually;
use tally_harness::kafka::{Broker, OwnKafka, record};
use tally_kafka_client::{Api, Client, Error, Fetch, Partition, Settings};
use tokio::net::TcpListener;

use crate::support::{DEADLINE, read, settings, told};

pub(super) fn hurried(brokers: Vec<String>) -> Settings {
    Settings {
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(2),
        ..Settings::new(brokers)
    }
}

#[tokio::test]
async fn the_first_broker_that_answers_is_enough() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    // One that refuses, one that never says anything, one that hangs up.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [&silent, &rude].map(|listener| listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((stream, _)) = rude.accept().await {
            drop(stream);
        }
    });
    let mut brokers = vec!["127.0.0.1:1".to_owned()];
    brokers.extend(addresses);
    let error = Client::new(hurried(brokers.clone())).unwrap().topics().await.unwrap_err();
    let Error::NoBroker { tried } = &error else { panic!("{error}") };
    let kinds = (&tried[0], &tried[1], &tried[2]);
    let as_expected = matches!(
        kinds,
        (
            Error::Connect { .. },
            Error::ConnectTimeout { .. },
            Error::Lost { api: Api::ApiVersions, .. }
        )
    );
    assert!(as_expected && error.is_retriable(), "{error}");

    brokers.push(broker.bootstrap().to_owned());
    let client = Client::new(hurried(brokers)).unwrap();
    assert_eq!(client.partition(&topic, 0).await.unwrap().earliest().await.unwrap(), 0);
}

/// Returns when the broker answers within the short timeouts again; until then errors say that a retry may help.
async fn until_answered(partition: &Partition) {
    eventually(DEADLINE, async || {
        let answer = partition.earliest().await;
        assert!(answer.as_ref().err().is_none_or(Error::is_retriable), "{answer:?}");
        answer.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_freezes_or_stops_is_named_and_read_on_from_later() {
    let broker = OwnKafka::start().await;
    let topic = broker.topic(1).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"0"))]).await;
    let client = Client::new(hurried(vec![broker.bootstrap().to_owned()])).unwrap();
    let partition = client.partition(&topic, 0).await.unwrap();
    assert_eq!(told(&read(&partition, Fetch::from(0), 1).await), ["0"]);

    broker.freeze();
    let begun = Instant::now();
    let error = partition.fetch(Fetch::from(0)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(error.is_retriable(), "{error}");
    broker.thaw();
    until_answered(&partition).await;
    assert_eq!(told(&read(&partition, Fetch::from(0), 1).await), ["0"]);

    broker.stop().await;
    let error = partition.fetch(Fetch::from(0)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.is_retriable(), "{error}");
    broker.start_again().await;
    until_answered(&partition).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"1"))]).await;
    assert_eq!(told(&read(&partition, Fetch::from(0), 2).await), ["0", "1"]);
}

#[tokio::test]
async fn connections_that_a_restart_closed_are_made_again_without_a_word() {
    let broker = OwnKafka::start().await;
    let topic = broker.topic(1).await;
    let client = Client::new(settings(broker.bootstrap())).unwrap();
    let partition = client.partition(&topic, 0).await.unwrap();
    partition.earliest().await.unwrap();
    broker.stop().await;
    broker.start_again().await;
    client.topics().await.unwrap();
    assert_eq!(partition.earliest().await.unwrap(), 0);
}
