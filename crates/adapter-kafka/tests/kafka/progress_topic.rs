//! The topic that says how far what was published in transactions goes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tally_adapter_kafka::{Cluster, Mechanism, ProgressTopic, Sasl, Security, Settings};
use tally_harness::kafka::{Broker, JavaProducer, OwnKafka, PASSWORD, Resource, USER};
use tally_kafka_client::{
    Client, ProducerRecord, ProducerSettings, TopicRecords, TransactionalProducer,
};
use tally_ports::{Fault, StopKind};
use uuid::Uuid;

use crate::warnings::Warnings;

const MINUTE: Duration = Duration::from_mins(1);

fn cluster(broker: &Broker) -> Cluster {
    Cluster::new(&Settings::new(vec![broker.bootstrap().to_owned()])).unwrap()
}

fn hurried(broker: &Broker) -> Cluster {
    let settings = Settings::new(vec![broker.bootstrap().to_owned()]);
    Cluster::new(&Settings { timeout: Duration::from_secs(1), ..settings }).unwrap()
}

fn client(broker: &Broker) -> Client {
    Client::new(tally_kafka_client::Settings::new(vec![broker.bootstrap().to_owned()])).unwrap()
}

/// The name of a topic that does not exist.
fn missing() -> String {
    format!("progress-{}", Uuid::now_v7().simple())
}

async fn open(broker: &Broker) -> (ProgressTopic, String) {
    let name = missing();
    (ProgressTopic::open(&cluster(broker), &name, 1).await.unwrap(), name)
}

async fn producer(broker: &Broker) -> TransactionalProducer {
    let (settings, id) = (ProducerSettings::default(), Uuid::now_v7().to_string());
    client(broker).transactional_producer(settings, &id, MINUTE).await.unwrap()
}

/// Writes to partition 3 and returns once the broker has it.
async fn send(
    producer: &mut TransactionalProducer,
    topic: &str,
    records: &[(&'static str, Option<&'static str>)],
) {
    let record = |&(key, value): &(&'static str, Option<&'static str>)| ProducerRecord {
        key: Some(key.into()),
        value: value.map(Bytes::from),
        headers: Vec::new(),
    };
    let records = records.iter().map(record).collect();
    let mut delivery = producer
        .send_all(vec![TopicRecords { topic, partition: Some(3), records }])
        .await
        .unwrap()
        .remove(0);
    assert!(delivery.wait().await.unwrap().is_empty());
}

fn newest(pairs: &[(&'static str, &'static str)]) -> BTreeMap<Bytes, Bytes> {
    pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect()
}

#[track_caller]
fn check_setting<T: std::fmt::Debug>(outcome: Result<T, Fault>, expected: &[&str]) {
    let Err(Fault::Stop(stop)) = outcome else { panic!("no stop but {outcome:?}") };
    assert_eq!((stop.kind, stop.kind.exit_code()), (StopKind::Setting, 78), "{stop}");
    for expected in expected {
        assert!(stop.message.contains(expected), "{expected}: {stop}");
    }
}

#[tokio::test]
async fn it_is_created_compacted_with_room_to_grow_and_found_again() {
    let broker = Broker::shared().await;
    let (topic, name) = open(broker).await;
    let client = client(broker);
    assert_eq!(client.topic(&name).await.unwrap().partitions.len(), 16);
    for (setting, expected) in [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "16777216"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ] {
        let found = client.topic_setting(&name, setting).await.unwrap();
        assert_eq!(found.as_deref(), Some(expected), "{setting}");
    }
    assert_eq!(topic.read(15).await, Ok(BTreeMap::new()));
    let expected = ["has too few partitions, 16, and 17 are needed", &name];
    check_setting(topic.read(16).await, &expected);
    ProgressTopic::open(&cluster(broker), &name, 16).await.unwrap();

    let larger = missing();
    ProgressTopic::open(&cluster(broker), &larger, 20).await.unwrap();
    assert_eq!(client.topic(&larger).await.unwrap().partitions.len(), 20);
}

#[tokio::test]
async fn too_few_partitions_are_refused() {
    let broker = Broker::shared().await;
    let name = broker.topic_with(2, "cleanup.policy=compact").await;
    ProgressTopic::open(&cluster(broker), &name, 2).await.unwrap();
    let expected = [
        &format!("the progress topic {name} has too few partitions, 2, and 3 are needed"),
        &format!("kafka-topics --alter --topic {name} --partitions 3"),
        "kafka.progress_topic",
    ];
    check_setting(ProgressTopic::open(&cluster(broker), &name, 3).await, &expected);
}

#[tokio::test]
async fn a_topic_that_deletes_is_refused() {
    let broker = Broker::shared().await;
    let (both, settings) = (missing(), [("cleanup.policy", "compact,delete")]);
    client(broker).create_topic(&both, 1, &settings).await.unwrap();
    for (name, policy) in [(broker.topic(1).await, "delete"), (both, "compact,delete")] {
        let expected = [
            &format!("the progress topic {name} has cleanup.policy={policy}"),
            &format!("--entity-name {name} --add-config cleanup.policy=compact"),
            "kafka.progress_topic",
        ];
        check_setting(ProgressTopic::open(&cluster(broker), &name, 1).await, &expected);
    }
}

#[tokio::test]
async fn a_name_that_no_topic_can_have_is_a_setting() {
    let opened = ProgressTopic::open(&cluster(Broker::shared().await), "no name", 1).await;
    check_setting(opened, &["the progress topic no name", "InvalidTopic"]);
}

#[tokio::test]
async fn many_create_it_at_once() {
    let broker = Broker::shared().await;
    let name = missing();
    let opening = (0..8).map(|_| {
        let (cluster, name) = (cluster(broker), name.clone());
        tokio::spawn(async move {
            let topic = ProgressTopic::open(&cluster, &name, 1).await?;
            topic.read(3).await
        })
    });
    for opened in opening.collect::<Vec<_>>() {
        assert_eq!(opened.await.unwrap(), Ok(BTreeMap::new()));
    }
}

#[tokio::test]
async fn the_newest_committed_value_under_each_key_is_read() {
    let broker = Broker::shared().await;
    let (topic, name) = open(broker).await;
    let mut producer = producer(broker).await;
    send(&mut producer, &name, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]).await;
    producer.commit().await.unwrap();
    send(&mut producer, &name, &[("a", Some("2"))]).await;
    send(&mut producer, &name, &[("b", None), ("d", Some("1"))]).await;
    producer.commit().await.unwrap();
    let committed = newest(&[("a", "2"), ("c", "1"), ("d", "1")]);
    assert_eq!(topic.read(3).await, Ok(committed.clone()));

    send(&mut producer, &name, &[("a", Some("3")), ("c", None), ("e", Some("1"))]).await;
    producer.abort().await.unwrap();
    assert_eq!(topic.read(3).await, Ok(committed.clone()));
    assert_eq!(topic.read(2).await, Ok(BTreeMap::new()));

    send(&mut producer, &name, &[("b", Some("2")), ("d", None)]).await;
    producer.commit().await.unwrap();
    // In pieces of one batch, too.
    let settings = Settings::new(vec![broker.bootstrap().to_owned()]);
    let small = Cluster::new(&Settings { fetch_bytes: 1, ..settings }).unwrap();
    for cluster in [small, cluster(broker)] {
        let topic = ProgressTopic::open(&cluster, &name, 4).await.unwrap();
        assert_eq!(topic.read(3).await, Ok(newest(&[("a", "2"), ("b", "2"), ("c", "1")])));
    }
}

#[tokio::test]
async fn reading_waits_for_the_transactions_of_others_and_only_up_to_the_end() {
    let broker = Broker::shared().await;
    let (topic, name) = open(broker).await;
    let mut ours = producer(broker).await;
    let (mut committing, mut aborting) = (producer(broker).await, producer(broker).await);
    send(&mut ours, &name, &[("ours", Some("1"))]).await;
    ours.commit().await.unwrap();
    send(&mut committing, &name, &[("committed", Some("1"))]).await;
    send(&mut aborting, &name, &[("aborted", Some("1")), ("ours", None)]).await;
    send(&mut ours, &name, &[("ours", Some("2"))]).await;
    ours.commit().await.unwrap();

    let reading = tokio::spawn(async move { topic.read(3).await });
    let hurried = ProgressTopic::open(&hurried(broker), &name, 4).await.unwrap();
    let waiting = hurried.read(3).await;
    let Err(Fault::Outage { message, .. }) = waiting else { panic!("{waiting:?}") };
    let expected = format!("another transaction is open in {name}/3 since");
    assert!(message.contains(&expected), "{message}");
    assert!(!reading.is_finished());

    committing.commit().await.unwrap();
    // What begins behind the end is not waited for.
    send(&mut committing, &name, &[("late", Some("1"))]).await;
    aborting.abort().await.unwrap();
    let expected = newest(&[("committed", "1"), ("ours", "2")]);
    assert_eq!(reading.await.unwrap(), Ok(expected));
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let acls = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                allow.everyone.if.no.acl.found=true\nsuper.users=User:ANONYMOUS";
    let own = OwnKafka::secured_with(&[("KAFKA_SETTINGS", acls)]).await;
    let (mechanism, username, password) = (Mechanism::Plain, USER.to_owned(), PASSWORD.to_owned());
    let sasl = Some(Sasl { mechanism, username, password });
    let security = Security { sasl, ..Security::default() };
    let cluster = Cluster::new(&Settings { security, ..Settings::new(vec![own.sasl()]) }).unwrap();
    let mut java = JavaProducer::start(own.bootstrap());

    let unknown = own.topic_with(1, "cleanup.policy=compact").await;
    java.restrict(USER, Resource::Topic(&unknown), &["CREATE"]).await;
    let expected = [
        &format!("cannot find the progress topic {unknown}"),
        "give this user the right Describe on it",
        "kafka.progress_topic",
    ];
    check_setting(ProgressTopic::open(&cluster, &unknown, 1).await, &expected);

    // It is not known whether it is compacted, and it can be opened, but not read.
    let described = own.topic(4).await;
    java.restrict(USER, Resource::Topic(&described), &["DESCRIBE"]).await;
    let warnings = Warnings::default();
    let topic = {
        let _guard = tracing::subscriber::set_default(warnings.clone());
        ProgressTopic::open(&cluster, &described, 4).await.unwrap()
    };
    assert_eq!(warnings.count(), 1);
    let expected = [
        &format!("cannot read partition 3 of the progress topic {described}"),
        "give this user the right Read on it",
    ];
    check_setting(topic.read(3).await, &expected);

    let missing = missing();
    java.restrict(USER, Resource::Topic(&missing), &["READ", "WRITE"]).await;
    java.restrict(USER, Resource::Cluster, &["DESCRIBE"]).await;
    let expected = [
        &format!("cannot create the progress topic {missing}"),
        "give this user the right Create on it",
        &format!("kafka-topics --create --topic {missing} --partitions 16"),
        "--config cleanup.policy=compact",
    ];
    check_setting(ProgressTopic::open(&cluster, &missing, 1).await, &expected);
    java.restrict(USER, Resource::Topic(&missing), &["CREATE", "DESCRIBE_CONFIGS"]).await;
    let topic = ProgressTopic::open(&cluster, &missing, 1).await.unwrap();
    assert_eq!(topic.read(3).await, Ok(BTreeMap::new()));
}
