//! Clients, what they read, and requests that only tests send.

use std::fmt::Write;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, ApiKey, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tally_harness::eventually;
use tally_harness::kafka::{JavaProducer, JavaRecord};
use tally_kafka_client::{
    Client, Error, Fetch, Fetched, Isolation, Partition, Piece, ProducerRecord, Settings,
};
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

/// All pieces, once no transaction is open: markers are written after a commit or an abort has returned.
pub async fn read_to_end(partition: &Partition) -> Vec<Piece> {
    let deadline = Instant::now() + DEADLINE;
    let end = loop {
        assert!(Instant::now() < deadline, "a transaction is open");
        let end = partition.latest(Isolation::ReadUncommitted).await.unwrap();
        if partition.latest(Isolation::ReadCommitted).await.unwrap() == end {
            break end;
        }
    };
    read(partition, Fetch::from(0), end).await
}

/// The committed values of a partition.
pub async fn values(bootstrap: &str, topic: &str, partition: i32) -> Vec<String> {
    let partition = client(bootstrap).partition(topic, partition).await.unwrap();
    let pieces = read_to_end(&partition).await;
    let batches = pieces.iter().filter_map(|piece| match piece {
        Piece::Records(batch) => Some(batch),
        Piece::Passed(_) => None,
    });
    let values = batches.flat_map(|batch| batch.records().map(|record| record.value.unwrap()));
    values.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
}

pub fn value(text: String) -> ProducerRecord {
    ProducerRecord { value: Some(text.into()), ..ProducerRecord::default() }
}

/// Text that compresses badly, behind the number.
pub fn noise(length: usize, number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!("{number} ");
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    text.truncate(length);
    text
}

/// So many bytes a second for clients of this name: `consumer_byte_rate`, `producer_byte_rate`.
pub async fn quota(bootstrap: &str, client_id: &str, key: &'static str, bytes: f64) {
    let entity = EntityData::default()
        .with_entity_type(StrBytes::from_static_str("client-id"))
        .with_entity_name(Some(StrBytes::from_string(client_id.to_owned())));
    let op = OpData::default().with_key(StrBytes::from_static_str(key)).with_value(bytes);
    let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![op]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    let answer: AlterClientQuotasResponse =
        ask(bootstrap, ApiKey::AlterClientQuotas, 1, &request).await;
    assert!(answer.entries.iter().all(|entry| entry.error_code == 0));
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
