//! Clients, what they read, and requests that only tests send.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use tally_harness::eventually;
use tally_harness::kafka::{JavaProducer, JavaRecord};
use tally_kafka_client::{Client, Error, Fetch, Fetched, Isolation, Partition, Piece, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is awaited comes sooner.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn settings(bootstrap: &str) -> Settings {
    Settings::new(vec![bootstrap.to_owned()])
}

pub fn client(bootstrap: &str) -> Client {
    Client::new(settings(bootstrap)).unwrap()
}

pub async fn partition(bootstrap: &str, topic: &str) -> Partition {
    client(bootstrap).partition(topic, 0).await.unwrap()
}

/// The pieces from an offset on, up to `until`. They leave no gap and no overlap.
pub async fn read(partition: &Partition, fetch: Fetch, until: i64) -> Vec<Piece> {
    let deadline = Instant::now() + DEADLINE;
    let (mut pieces, mut next) = (Vec::new(), fetch.from);
    while next < until {
        assert!(Instant::now() < deadline, "only up to {next}");
        let fetched = partition.fetch(Fetch { from: next, ..fetch }).await.unwrap();
        let Fetched::Answer(answer) = fetched else { continue };
        for piece in answer.batches {
            assert_eq!(piece.first(), next);
            next = piece.last() + 1;
            pieces.push(piece);
        }
    }
    assert_eq!(next, until);
    pieces
}

/// Returns when the log ends there and all before is decided: markers are written after a commit or an abort has
/// returned.
pub async fn until_decided(partition: &Partition, end: i64) {
    until_end(partition, end, Isolation::ReadCommitted).await;
}

/// Returns when the end is there.
pub async fn until_end(partition: &Partition, end: i64, isolation: Isolation) {
    eventually(DEADLINE, async || partition.latest(isolation).await.unwrap() == end).await;
}

/// What pieces hold: values, or why there are none.
pub fn told(pieces: &[Piece]) -> Vec<String> {
    let tell = |piece: &Piece| match piece {
        Piece::Records(batch) => {
            let values = batch.records().map(|record| record.value.unwrap_or_default());
            values
                .map(|value| String::from_utf8(value.to_vec()).unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        }
        Piece::Passed(passed) => passed.to_string(),
    };
    pieces.iter().map(tell).collect()
}

/// The next answer that is one.
pub async fn answer(partition: &Partition, fetch: Fetch) -> Result<Vec<Piece>, Error> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "throttled for ever");
        if let Fetched::Answer(answer) = partition.fetch(fetch).await? {
            return Ok(answer.batches.collect());
        }
    }
}

pub async fn send(java: &mut JavaProducer, topic: &str, values: &[&str]) {
    for value in values {
        let value = Some(value.as_bytes());
        java.send(JavaRecord { topic, value, ..Default::default() }).await;
    }
    java.flush().await;
}

/// One request on a connection of its own.
pub async fn ask<Q, A>(bootstrap: &str, key: ApiKey, version: i16, request: &Q) -> A
where
    Q: Encodable + HeaderVersion,
    A: Decodable + HeaderVersion,
{
    let mut message = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(1);
    header.encode(&mut message, Q::header_version(version)).unwrap();
    request.encode(&mut message, version).unwrap();
    let mut stream = TcpStream::connect(bootstrap).await.unwrap();
    stream.write_i32(i32::try_from(message.len()).unwrap()).await.unwrap();
    stream.write_all(&message).await.unwrap();
    let mut answer = vec![0; usize::try_from(stream.read_i32().await.unwrap()).unwrap()];
    stream.read_exact(&mut answer).await.unwrap();
    let mut answer = &answer[..];
    ResponseHeader::decode(&mut answer, A::header_version(version)).unwrap();
    let decoded = A::decode(&mut answer, version).unwrap();
    assert!(!answer.has_remaining());
    decoded
}
