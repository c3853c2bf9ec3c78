//! Topics, partitions and offsets.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;
use tally_adapter_kafka::{Cluster, KafkaSource, Publisher, Settings, Start};
use tally_harness::kafka::{Broker, record};
use tally_ports::{Fault, Source, StopKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

async fn connect(broker: &Broker) -> Cluster {
    Cluster::connect(&Settings::new(vec![broker.bootstrap().to_owned()])).await.unwrap()
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

/// Forwards connections to `target` and keeps what clients send.
async fn recorder(target: String) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let server = TcpStream::connect(&target).await.unwrap();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    kept.lock().unwrap().extend_from_slice(&buffer[..read]);
                    to_server.write_all(&buffer[..read]).await.unwrap();
                }
            });
        }
    });
    (address, sent)
}

#[tokio::test]
async fn a_misspelt_topic_is_never_asked_for() {
    let broker = Broker::shared().await;
    let topic = broker.topic(3).await;
    // The broker would create what it is asked for, if it were set so.
    let (address, sent) = recorder(broker.bootstrap().to_owned()).await;
    let cluster = Cluster::connect(&Settings::new(vec![address])).await.unwrap();
    let asked_for = |name: &str| {
        let sent = sent.lock().unwrap();
        sent.windows(name.len()).any(|window| window == name.as_bytes())
    };
    assert_eq!(cluster.partitions(&topic).await, Ok(vec![0, 1, 2]));

    let misspelt = format!("{topic}s");
    let expected = format!("there is no topic {misspelt}: did you mean {topic}?");
    check_setting(cluster.partitions(&misspelt).await, &expected);
    check_setting(cluster.offset(&misspelt, 0, Start::Latest).await, &expected);
    check_setting(Publisher::open(&cluster, &misspelt).await, &expected);
    let decoder = Arc::new(crate::support::decoder(None));
    let (mut source, _) =
        KafkaSource::new(cluster.clone(), decoder, &misspelt, 0, 0, &Value::Null, None);
    check_setting(source.next_batch(1).await, &expected);
    assert!(!asked_for(&misspelt));
    // That it would be seen:
    cluster.offset(&topic, 0, Start::Latest).await.unwrap();
}

#[tokio::test]
async fn a_missing_partition_is_a_setting() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let cluster = connect(broker).await;
    let expected = format!("topic {topic} has no partition 1");
    check_setting(cluster.offset(&topic, 1, Start::Latest).await, &expected);
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

    let cluster = connect(broker).await;
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
    let fault = Cluster::connect(&silent).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let expected = format!("kafka at {address}: cannot connect: no answer within 300ms");
    assert_eq!(fault, Fault::outage(expected));

    drop(listener);
    let fault = Cluster::connect(&Settings::new(vec![address.clone()])).await.unwrap_err();
    let Fault::Outage { message, .. } = fault else { panic!("{fault}") };
    assert!(message.starts_with(&format!("kafka at {address}: cannot connect: ")), "{message}");
}

#[tokio::test]
async fn what_is_no_address_is_a_setting() {
    for brokers in [vec![], vec!["localhost"], vec!["localhost:x"], vec![":9092"], vec!["a:1", ""]]
    {
        let brokers: Vec<String> = brokers.into_iter().map(str::to_owned).collect();
        check_setting(Cluster::connect(&Settings::new(brokers)).await, "broker");
    }
}
