//! What lies in a log is read as it was written.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord, record};
use tally_kafka_client::{Broken, Client, Codec, Error, Fetch, Piece, Why};

use crate::support::{DEADLINE, answer, ask, partition, read, send, told, until_decided};

#[tokio::test]
async fn every_codec_is_read() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    // Large enough for several blocks of every framing.
    let value = "a text which is said again and again, ".repeat(5000);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let (value, compression) = (Some(value.as_bytes()), Some(codec));
        for _ in 0..2 {
            java.send(JavaRecord { topic: &topic, value, compression, ..Default::default() }).await;
        }
        java.flush().await;
    }
    let partition = partition(broker.bootstrap(), &topic).await;
    let pieces = read(&partition, Fetch::from(0), 10).await;
    let mut codecs = Vec::new();
    for piece in &pieces {
        let Piece::Records(batch) = piece else { panic!("{piece:?}") };
        codecs.push(batch.codec());
        assert!(batch.records().all(|record| record.value.as_deref() == Some(value.as_bytes())));
    }
    assert_eq!(codecs, [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]);

    // Each of these batches takes 380 kB.
    let small = Fetch { max_batch_bytes: 300_000, ..Fetch::from(3) };
    let pieces = answer(&partition, small).await.unwrap();
    let Piece::Passed(passed) = &pieces[0] else { panic!("{:?}", pieces[0]) };
    assert_eq!((passed.first, passed.last), (3, 3));
    let Why::Undecodable(Broken::TooLarge { codec: Codec::Gzip, size, limit: 300_000, .. }) =
        passed.why
    else {
        panic!("{passed}")
    };
    assert!((380_000..381_000).contains(&size), "{passed}");
}

#[tokio::test]
async fn keys_values_timestamps_and_headers_are_kept() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    let headers: [(&str, Option<&[u8]>); 5] = [
        ("b", Some(b"1")),
        ("", Some(b"")),
        ("a", None),
        ("b", Some(b"\xff\0")),
        ("a\0", Some(b"2")),
    ];
    let all = JavaRecord { topic: &topic, headers: &headers, ..Default::default() };
    java.send(JavaRecord { key: Some(b""), value: None, timestamp: Some(5), ..all }).await;
    java.send(JavaRecord { key: None, value: Some(b""), headers: &[], ..all }).await;
    java.flush().await;
    let partition = partition(broker.bootstrap(), &topic).await;
    let pieces = read(&partition, Fetch::from(0), 2).await;
    let [Piece::Records(batch)] = &pieces[..] else { panic!("{pieces:?}") };
    let records: Vec<_> = batch.records().collect();
    assert_eq!((records[0].key.as_deref(), records[0].value.as_deref()), (Some(&b""[..]), None));
    assert_eq!((records[1].key.as_deref(), records[1].value.as_deref()), (None, Some(&b""[..])));
    assert_eq!(records[0].timestamp, 5);
    let found: Vec<_> = records[0].headers.iter().collect();
    let expected = headers.map(|(name, value)| {
        (Bytes::copy_from_slice(name.as_bytes()), value.map(Bytes::copy_from_slice))
    });
    assert_eq!(found, expected);
    assert!(records[1].headers.is_empty());
}

/// A batch of one record with a header whose name is not UTF-8.
fn odd_header() -> Bytes {
    let mut checked = BytesMut::new();
    checked.put_slice(&[0; 6]); // Attributes, last offset delta.
    checked.put_slice(&[0; 16]); // Timestamps.
    checked.put_slice(&[0xff; 14]); // No producer.
    checked.put_i32(1);
    // Length 12: attributes, deltas, no key, value "v", one header "\xff\xfe" without a value, all in zigzag.
    checked.put_slice(&[22, 0, 0, 0, 1, 2, b'v', 2, 4, 0xff, 0xfe, 1]);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(i32::try_from(checked.len()).unwrap() + 9);
    batch.put_i32(-1);
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.put_slice(&checked);
    batch.freeze()
}

#[tokio::test]
async fn a_header_name_that_is_not_utf_8_is_kept() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let data = PartitionProduceData::default().with_index(0).with_records(Some(odd_header()));
    let data = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.clone())))
        .with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(9000).with_topic_data(vec![data]);
    let produced: ProduceResponse = ask(broker.bootstrap(), ApiKey::Produce, 9, &request).await;
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);

    let partition = partition(broker.bootstrap(), &topic).await;
    let pieces = read(&partition, Fetch::from(0), 1).await;
    let [Piece::Records(batch)] = &pieces[..] else { panic!("{pieces:?}") };
    let headers: Vec<_> =
        batch.records().flat_map(|record| record.headers.iter().collect::<Vec<_>>()).collect();
    assert_eq!(headers, [(Bytes::from_static(b"\xff\xfe"), None)]);
}

#[tokio::test]
async fn a_fetch_at_the_end_waits_and_one_beyond_it_is_out_of_range() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"0"))]).await;
    let partition = partition(broker.bootstrap(), &topic).await;

    let max_wait = Duration::from_millis(300);
    let begun = Instant::now();
    assert!(answer(&partition, Fetch { max_wait, ..Fetch::from(1) }).await.unwrap().is_empty());
    assert!(begun.elapsed() >= max_wait);

    let error = partition.fetch(Fetch::from(2)).await.unwrap_err();
    assert!(matches!(error, Error::OutOfRange { offset: 2, .. }), "{error}");
    assert!(!error.is_retriable());
    assert_eq!((error.topic(), error.partition()), (Some(&*topic), Some(0)));
    let text = format!("does not have offset 2 for partition 0 of {topic}");
    assert!(error.to_string().contains(&text), "{error}");
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    let values: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    send(&mut java, &topic, &values.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let partition = partition(broker.bootstrap(), &topic).await;
    // Dropped at its first await, at its second, and so on: the next one must not see the answer of one before.
    for microseconds in (0..3000).step_by(50) {
        let limit = Duration::from_micros(microseconds);
        let _ = tokio::time::timeout(limit, partition.fetch(Fetch::from(100))).await;
        assert_eq!(partition.earliest().await.unwrap(), 0);
    }
    assert_eq!(told(&read(&partition, Fetch::from(0), 200).await), [values.join(" ")]);
}

#[tokio::test]
async fn compaction_is_told_as_holes() {
    const COMPACTED: &str = "cleanup.policy=compact,segment.ms=100,min.cleanable.dirty.ratio=0.001";
    let broker = Broker::shared().await;
    let topic = broker.topic_with(1, COMPACTED).await;
    let keyed = |key: &str| record(Some(key.as_bytes()), Some(b"v"));
    let keys = ["0", "1", "2", "3", "4", "5"];
    broker.produce(&topic, 0, keys.map(keyed).to_vec()).await; // 0 to 5
    broker.produce(&topic, 0, ["1", "2", "4", "5"].map(keyed).to_vec()).await; // 6 to 9
    let partition = partition(broker.bootstrap(), &topic).await;
    // What is written after the segment's time closes it.
    eventually(DEADLINE * 4, async || {
        broker.produce(&topic, 0, vec![keyed("last")]).await;
        let pieces = answer(&partition, Fetch::from(0)).await.unwrap();
        let Some(Piece::Records(batch)) = pieces.first() else { return false };
        let offsets: Vec<_> = batch.records().map(|record| record.offset).collect();
        offsets == [0, 3] && batch.holes().collect::<Vec<_>>() == [1..=2, 4..=5]
    })
    .await;
    // Behind its last record nothing is left of the first batch.
    let pieces = answer(&partition, Fetch::from(4)).await.unwrap();
    assert_eq!(told(&pieces[..1]), ["offsets 4 to 5 gone by compaction"]);
}

/// Of a batch that is larger than an answer may be only the header is known; what is behind it is read.
#[tokio::test]
async fn a_batch_that_no_answer_may_hold_is_passed_by_its_header() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let large = vec![7; 60_000];
    broker.produce(&topic, 0, vec![record(None, Some(b"0"))]).await;
    broker.produce(&topic, 0, vec![record(None, Some(&large)); 3]).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"4"))]).await;
    let mut settings = crate::support::settings(broker.bootstrap());
    settings.max_answer_bytes = 100_000;
    let client = Client::new(settings).unwrap();
    let partition = client.partition(&topic, 0).await.unwrap();
    for (from, first) in [(0, "offsets 1 to 3"), (2, "offsets 2 to 3")] {
        let pieces = read(&partition, Fetch::from(from), 5).await;
        let told = told(&pieces);
        let [.., unread, last] = &told[..] else { panic!("{told:?}") };
        assert!(
            unread.starts_with(&format!("{first} cannot be decoded: it takes 180")),
            "{unread}"
        );
        assert!(
            unread.ends_with(" bytes as it was sent, and an answer may take 100000"),
            "{unread}"
        );
        assert_eq!(last, "4");
    }
}

#[tokio::test]
async fn of_an_aborted_transaction_it_is_passed_as_aborted() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    java.begin().await;
    let large = vec![7; 200_000];
    java.send(JavaRecord { topic: &topic, value: Some(&large), ..Default::default() }).await;
    java.abort().await;
    let mut settings = crate::support::settings(broker.bootstrap());
    settings.max_answer_bytes = 100_000;
    let partition = Client::new(settings).unwrap().partition(&topic, 0).await.unwrap();
    until_decided(&partition, 2).await;
    let pieces = read(&partition, Fetch::from(0), 2).await;
    let expected = [
        "offset 0 written by an aborted transaction",
        "offset 1 marked as the abort of a transaction",
    ];
    assert_eq!(told(&pieces), expected);
}

#[tokio::test]
async fn any_other_answer_over_the_limit_is_refused() {
    let broker = Broker::shared().await;
    broker.topic(1).await;
    let mut settings = crate::support::settings(broker.bootstrap());
    // The list of versions, which comes first, takes some hundred bytes.
    settings.max_answer_bytes = 100;
    let error = Client::new(settings).unwrap().topics().await.unwrap_err();
    let is_refused = matches!(error, Error::AnswerTooLarge { limit: 100, .. });
    assert!(is_refused && !error.is_retriable(), "{error}");
}
