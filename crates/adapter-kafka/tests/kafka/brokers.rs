//! Topics, partitions and offsets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;
use tally_adapter_kafka::{Cluster, KafkaSource, Publisher, Settings, Start};
use tally_harness::kafka::{Broker, record};
use tally_ports::{Fault, Source, StopKind};
use tokio::net::TcpListener;

fn cluster_of(broker: &Broker) -> Cluster {
    Cluster::new(&Settings::new(vec![broker.bootstrap().to_owned()])).unwrap()
}

#[track_caller]
fn check_setting<T>(outcome: Result<T, Fault>, expected: &str) {
    match outcome {
        Err(Fault::Stop(stop)) => {
            assert_eq!(stop.kind, StopKind::Setting, "{stop}");
            assert!(stop.message.contains(expected), "{stop}");
        }
        Err(fault) => panic!("not for good: {fault}"),
        Ok(_) => panic!("no fault"),
    }
}

#[track_caller]
fn check_outage<T>(outcome: Result<T, Fault>, expected: &str) {
    match outcome {
        Err(Fault::Outage { message, .. }) => assert!(message.contains(expected), "{message}"),
        Err(fault) => panic!("not an outage: {fault}"),
        Ok(_) => panic!("no fault"),
    }
}

#[tokio::test]
async fn a_misspelt_topic_is_a_setting_and_names_what_may_be_meant() {
    let broker = Broker::shared().await;
    let topic = broker.topic(3).await;
    let cluster = cluster_of(broker);
    assert_eq!(cluster.partitions(&topic).await, Ok(vec![0, 1, 2]));

    let misspelt = format!("{topic}s");
    let expected = format!("has no topic {misspelt}");
    let meant = format!("{expected}: did you mean {topic}?");
    check_setting(cluster.partitions(&misspelt).await, &meant);
    check_setting(Publisher::open(&cluster, &misspelt).await, &meant);
    check_outage(cluster.offset(&misspelt, 0, Start::Latest).await, &expected);
    let decoder = Arc::new(crate::support::decoder(None));
    let (mut source, _) =
        KafkaSource::new(cluster.clone(), decoder, &misspelt, 0, 0, &Value::Null, None);
    check_setting(source.next_batch(1).await, &expected);
}

#[tokio::test]
async fn a_partition_that_is_not_there_yet_is_an_outage() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let cluster = cluster_of(broker);
    let expected = format!("topic {topic} has no partition 1, only 1 from 0 on");
    check_outage(cluster.offset(&topic, 1, Start::Latest).await, &expected);
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let time = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
    let mut records = vec![record(None, Some(b"1")); 5];
    for (seconds, record) in (0..).zip(&mut records) {
        record.timestamp = time(seconds * 10);
    }
    broker.produce(&topic, 0, records).await;
    broker.delete_records(&topic, 0, 1).await;

    let cluster = cluster_of(broker);
    let offset = async |at| cluster.offset(&topic, 0, at).await.unwrap();
    assert_eq!(offset(Start::Earliest).await, 1);
    assert_eq!(offset(Start::Latest).await, 5);
    assert_eq!(offset(Start::At(time(-100))).await, 1);
    assert_eq!(offset(Start::At(time(20))).await, 2);
    assert_eq!(offset(Start::At(time(21))).await, 3);
    assert_eq!(offset(Start::At(time(41))).await, 5, "behind the last record");
}

#[tokio::test]
async fn nobody_there_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent =
        Settings { timeout: Duration::from_millis(300), ..Settings::new(vec![address.clone()]) };
    let began = Instant::now();
    let cluster = Cluster::new(&silent).unwrap();
    check_outage(cluster.partitions("t").await, &format!("kafka at {address} "));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    drop(listener);
    let expected = format!("cannot look up t: cannot connect to kafka at {address}: ");
    check_outage(cluster.partitions("t").await, &expected);
}

#[tokio::test]
async fn what_is_no_address_is_a_setting() {
    for brokers in [vec![], vec!["localhost"], vec!["localhost:x"], vec![":9092"], vec!["a:1", ""]]
    {
        let brokers: Vec<String> = brokers.into_iter().map(str::to_owned).collect();
        check_setting(Cluster::new(&Settings::new(brokers)), "broker");
    }
}
