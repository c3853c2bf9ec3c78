//! Topics, their ids, and where they begin and end.

use std::time::Duration;

use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord, record};
use tally_kafka_client::{Client, Error, Fetch, Fetched, Isolation, ResponseError};

use uuid::Uuid;

use crate::support::{DEADLINE, answer, client, partition, quota, read, settings, told};

#[tokio::test]
async fn topics_have_ids_and_leaders_and_are_not_made_by_asking() {
    let broker = Broker::shared().await;
    let (topic, other) = (broker.topic(3).await, broker.topic(1).await);
    let client = client(broker.bootstrap());
    let found = client.topic(&topic).await.unwrap();
    assert_eq!((&*found.name, found.is_internal), (&*topic, false));
    assert!(found.id.is_some() && found.id != client.topic(&other).await.unwrap().id);
    let led: Vec<_> = found.partitions.iter().map(|led| (led.partition, led.leader)).collect();
    assert_eq!(led, [(0, Some(1)), (1, Some(1)), (2, Some(1))]);
    let names: Vec<_> =
        client.topics().await.unwrap().into_iter().map(|found| found.name).collect();
    assert!(names.contains(&topic.as_str().into()) && names.contains(&other.as_str().into()));

    let error = client.topic("no-such-topic").await.unwrap_err();
    assert!(matches!(&error, Error::MissingTopic { topic, .. } if &**topic == "no-such-topic"));
    let text = format!("kafka at {} has no topic no-such-topic", broker.bootstrap());
    assert_eq!(error.to_string(), text);
    let names = client.topics().await.unwrap();
    assert!(names.iter().all(|found| &*found.name != "no-such-topic"));

    let error = client.partition(&topic, 3).await.unwrap_err();
    assert_eq!(error.to_string(), format!("topic {topic} has no partition 3, only 3 from 0 on"));
}

#[tokio::test]
async fn a_topic_is_created_once_with_its_settings() {
    let client = client(Broker::shared().await.bootstrap());
    let name = format!("created-{}", Uuid::now_v7().simple());
    let settings = [("cleanup.policy", "compact"), ("retention.ms", "1234567")];
    client.create_topic(&name, 3, &settings).await.unwrap();
    eventually(DEADLINE, async || {
        client.topic(&name).await.is_ok_and(|topic| topic.partitions.len() == 3)
    })
    .await;
    for (setting, value) in settings {
        let found = client.topic_setting(&name, setting).await.unwrap();
        assert_eq!(found.as_deref(), Some(value));
    }
    assert_eq!(client.topic_setting(&name, "no.such.setting").await.unwrap(), None);
    let error = client.topic_setting("no-such-topic", "retention.ms").await.unwrap_err();
    assert_eq!(error.code(), Some(ResponseError::UnknownTopicOrPartition), "{error}");

    let error = client.create_topic(&name, 3, &settings).await.unwrap_err();
    assert_eq!(
        (error.code(), error.topic()),
        (Some(ResponseError::TopicAlreadyExists), Some(&*name))
    );
    let other = format!("{name}-other");
    for (partitions, settings, code) in [
        (0, &[][..], ResponseError::InvalidPartitions),
        (1, &[("cleanup.policy", "no such policy")][..], ResponseError::InvalidConfig),
    ] {
        let error = client.create_topic(&other, partitions, settings).await.unwrap_err();
        assert_eq!((error.code(), error.is_retriable()), (Some(code), false), "{error}");
        let text =
            format!("does not create topic {other} and answers {code} (code {}): ", code.code());
        assert!(error.to_string().contains(&text), "{error}");
    }
}

#[tokio::test]
async fn offsets_are_found_by_time_and_by_what_is_left() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    for timestamp in [1000, 2000, 3000, 4000] {
        let (value, timestamp) = (Some(&b"v"[..]), Some(timestamp));
        java.send(JavaRecord { topic: &topic, value, timestamp, ..Default::default() }).await;
        java.flush().await;
    }
    broker.delete_records(&topic, 0, 1).await;
    let partition = partition(broker.bootstrap(), &topic).await;
    assert_eq!(partition.earliest().await.unwrap(), 1);
    assert_eq!(partition.latest(Isolation::ReadCommitted).await.unwrap(), 4);
    let at = async |time| partition.at(time, Isolation::ReadCommitted).await.unwrap();
    assert_eq!(
        (at(0).await, at(2500).await, at(4000).await, at(4001).await),
        (Some(1), Some(2), Some(3), None)
    );

    let Fetched::Answer(answer) = partition.fetch(Fetch::from(1)).await.unwrap() else { panic!() };
    assert_eq!((answer.log_start, answer.last_stable_offset, answer.high_watermark), (1, 4, 4));
    let error = partition.fetch(Fetch::from(0)).await.unwrap_err();
    assert!(matches!(error, Error::OutOfRange { offset: 0, .. }), "{error}");
}

#[tokio::test]
async fn a_recreated_topic_is_not_read_on() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"old"))]).await;
    let partition = partition(broker.bootstrap(), &topic).await;
    assert_eq!(told(&answer(&partition, Fetch::from(0)).await.unwrap()), ["old"]);

    broker.delete_topic(&topic).await;
    broker.create_topic(&topic, 1).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"new")), record(None, Some(b"new"))]).await;
    let error = partition.fetch(Fetch::from(1)).await.unwrap_err();
    let Error::Recreated { was, is, .. } = error else { panic!("{error}") };
    assert_eq!(partition.topic_id(), Some(was));
    let again = client(broker.bootstrap()).partition(&topic, 0).await.unwrap();
    assert_eq!(again.topic_id(), Some(is));
    assert_eq!(told(&answer(&again, Fetch::from(0)).await.unwrap()), ["new new"]);
}

#[tokio::test]
async fn a_deleted_topic_is_missing() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let partition = partition(broker.bootstrap(), &topic).await;
    partition.earliest().await.unwrap();
    broker.delete_topic(&topic).await;
    let error = partition.fetch(Fetch::from(0)).await.unwrap_err();
    assert!(matches!(error, Error::MissingTopic { .. }), "{error}");
    assert_eq!(error.code(), Some(ResponseError::UnknownTopicOrPartition));
}

#[tokio::test]
async fn under_a_quota_it_is_slow_and_reads_all() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    quota(broker.bootstrap(), &topic, "consumer_byte_rate", 100_000.0).await;
    for _ in 0..30 {
        broker.produce(&topic, 0, vec![record(None, Some(&[b'v'; 10_000]))]).await;
    }
    let mut settings = settings(broker.bootstrap());
    settings.client_id.clone_from(&topic);
    // Shorter than what the broker makes us wait.
    settings.request_timeout = Duration::from_millis(800);
    let partition = Client::new(settings).unwrap().partition(&topic, 0).await.unwrap();
    let (mut throttled, mut next) = (Duration::ZERO, 0);
    let fetch = Fetch { max_bytes: 120_000, max_wait: Duration::ZERO, ..Fetch::from(0) };
    while next < 30 {
        match partition.fetch(Fetch { from: next, ..fetch }).await.unwrap() {
            Fetched::Throttled(time) => throttled = throttled.max(time),
            Fetched::Answer(answer) => {
                for piece in answer.batches {
                    assert_eq!(piece.first(), next);
                    next = piece.last() + 1;
                }
            }
        }
        if throttled.is_zero() && next == 30 {
            next = 0; // The quota counts over ten seconds.
        }
    }
    assert!(throttled > Duration::ZERO);
    assert_eq!(read(&partition, Fetch::from(29), 30).await.len(), 1);
}
