//! Brokers that speak less or have lost a leadership, played by the real one behind a proxy that changes its answers.

use std::sync::{Arc, Mutex};

use kafka_protocol::messages::ApiKey;
use tally_harness::kafka::{Broker, JavaProducer, record};
use tally_kafka_client::{Api, Error, Fetch, ResponseError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::{client, partition, read, send, told, until_decided};

type Highest = &'static [(ApiKey, i16)];

/// Error codes for the next answers to `ListOffsets` or `CreateTopics`, the last one first.
type Codes = Arc<Mutex<Vec<i16>>>;

/// A broker that speaks these up to these versions.
async fn older(bootstrap: &str, highest: Highest) -> String {
    proxy(bootstrap, highest, Codes::default()).await
}

async fn proxy(bootstrap: &str, highest: Highest, codes: Codes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bootstrap = bootstrap.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let broker = TcpStream::connect(&bootstrap).await.unwrap();
            tokio::spawn(pass(client, broker, address.port(), highest, codes.clone()));
        }
    });
    address.to_string()
}

/// One request after the other, until one side hangs up.
async fn pass(
    mut client: TcpStream,
    mut broker: TcpStream,
    port: u16,
    highest: Highest,
    codes: Codes,
) {
    let broker_port = broker.peer_addr().unwrap().port();
    while let Some(request) = message(&mut client).await {
        broker.write_all(&request).await.unwrap();
        let Some(mut answer) = message(&mut broker).await else { return };
        match i16::from_be_bytes([request[4], request[5]]) {
            key if key == ApiKey::ApiVersions as i16 => limit(&mut answer, highest),
            key if key == ApiKey::Metadata as i16 => redirect(&mut answer, broker_port, port),
            // Version 2: a count and the partition's number lie between.
            key if key == ApiKey::ListOffsets as i16 => refuse(&mut answer, 8, &codes),
            // Version 4.
            key if key == ApiKey::CreateTopics as i16 => refuse(&mut answer, 0, &codes),
            _ => {}
        }
        if client.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// With its length.
async fn message(from: &mut TcpStream) -> Option<Vec<u8>> {
    let length = from.read_i32().await.ok()?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(4 + usize::try_from(length).unwrap(), 0);
    from.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

/// Version 3: behind length, correlation id, error code and count, each takes seven bytes.
fn limit(answer: &mut [u8], highest: Highest) {
    let count = usize::from(answer[10]) - 1;
    for entry in answer[11..].chunks_exact_mut(7).take(count) {
        let key = i16::from_be_bytes([entry[0], entry[1]]);
        if let Some((_, highest)) = highest.iter().find(|(limited, _)| *limited as i16 == key) {
            entry[4..6].copy_from_slice(&highest.to_be_bytes());
        }
    }
}

/// The broker names itself with its port: in its place the proxy's.
fn redirect(answer: &mut [u8], from: u16, to: u16) {
    let named = [b"127.0.0.1", &i32::from(from).to_be_bytes()[..]].concat();
    let at = answer.windows(named.len()).position(|window| window == named).unwrap();
    answer[at + named.len() - 2..at + named.len()].copy_from_slice(&to.to_be_bytes());
}

/// Of one topic or partition: behind length, correlation id, throttle time and count comes the topic's name, and so many
/// bytes behind that the error code.
fn refuse(answer: &mut [u8], behind_name: usize, codes: &Codes) {
    let Some(code) = codes.lock().unwrap().pop() else { return };
    let name = usize::from(u16::from_be_bytes([answer[16], answer[17]]));
    let at = 18 + name + behind_name;
    answer[at..at + 2].copy_from_slice(&code.to_be_bytes());
}

async fn check(highest: Highest, has_id: bool) {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    java.begin().await;
    send(&mut java, &topic, &["a0"]).await;
    java.abort().await;
    let older = older(broker.bootstrap(), highest).await;
    let partition = partition(&older, &topic).await;
    until_decided(&partition, 2).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"p2"))]).await;
    assert_eq!(partition.topic_id().is_some(), has_id);
    let told = told(&read(&partition, Fetch::from(0), 3).await);
    let aborted = "offset 0 written by an aborted transaction";
    assert_eq!(told, [aborted, "offset 1 marked as the abort of a transaction", "p2"]);

    broker.delete_topic(&topic).await;
    let error = partition.fetch(Fetch::from(0)).await.unwrap_err();
    assert!(matches!(error, Error::MissingTopic { .. }), "{error}");
}

#[tokio::test]
async fn without_topic_ids_it_is_asked_by_name() {
    check(&[(ApiKey::Fetch, 10), (ApiKey::ListOffsets, 2), (ApiKey::Metadata, 4)], false).await;
}

#[tokio::test]
async fn with_topic_ids_in_metadata_only_it_is_asked_by_name() {
    check(&[(ApiKey::Fetch, 12), (ApiKey::ListOffsets, 5), (ApiKey::Metadata, 10)], true).await;
}

#[tokio::test]
async fn one_that_speaks_too_little_is_named() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let older = older(broker.bootstrap(), &[(ApiKey::Fetch, 9)]).await;
    let partition = client(&older).partition(&topic, 0).await.unwrap();
    let error = partition.fetch(Fetch::from(0)).await.unwrap_err();
    assert_eq!((error.api(), error.is_retriable()), (Some(Api::Fetch), false));
    let text = format!(
        "kafka at {older} speaks Fetch in versions 4 to 9, and this client in versions 10 to 13: \
         use a broker from 2.1 on"
    );
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_leader_that_moved_is_found_again() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let moved = [
        ResponseError::NotLeaderOrFollower,
        ResponseError::FencedLeaderEpoch,
        ResponseError::UnknownLeaderEpoch,
        ResponseError::LeaderNotAvailable,
        ResponseError::KafkaStorageError,
    ];
    let codes = Codes::default();
    let proxy = proxy(broker.bootstrap(), &[(ApiKey::ListOffsets, 2)], codes.clone()).await;
    let partition = partition(&proxy, &topic).await;
    *codes.lock().unwrap() = moved.iter().map(ResponseError::code).collect();
    assert_eq!(partition.earliest().await.unwrap(), 0);
    assert!(codes.lock().unwrap().is_empty());

    // What is no matter of leaders is not asked twice.
    let refused = ResponseError::TopicAuthorizationFailed;
    *codes.lock().unwrap() = vec![refused.code()];
    let error = partition.earliest().await.unwrap_err();
    assert_eq!((error.code(), error.is_retriable()), (Some(refused), false));
    let text = format!(
        "kafka at {proxy} answers ListOffsets for partition 0 of {topic} with TopicAuthorizationFailed (code 29)"
    );
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_controller_that_moved_is_found_again() {
    let broker = Broker::shared().await;
    let codes = Codes::default();
    let proxy = proxy(broker.bootstrap(), &[(ApiKey::CreateTopics, 4)], codes.clone()).await;
    let client = client(&proxy);
    let name = format!("created-{}", Uuid::now_v7().simple());
    *codes.lock().unwrap() = vec![ResponseError::NotController.code(); 2];
    // The broker behind the proxy has created it the first time.
    let error = client.create_topic(&name, 1, &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(ResponseError::TopicAlreadyExists), "{error}");
    assert!(codes.lock().unwrap().is_empty());

    let refused = ResponseError::TopicAuthorizationFailed;
    *codes.lock().unwrap() = vec![refused.code()];
    let error = client.create_topic(&name, 1, &[]).await.unwrap_err();
    assert_eq!((error.code(), error.is_retriable()), (Some(refused), false));
}

#[tokio::test]
async fn topics_are_not_created_by_one_without_a_default_for_replicas() {
    let broker = Broker::shared().await;
    let older = older(broker.bootstrap(), &[(ApiKey::CreateTopics, 3)]).await;
    let error = client(&older).create_topic("topic", 1, &[]).await.unwrap_err();
    let text = format!(
        "kafka at {older} speaks CreateTopics in versions 2 to 3, and this client in versions 4 to 7: \
         use a broker from 2.4 on"
    );
    assert_eq!((error.to_string(), error.is_retriable()), (text, false));
}
