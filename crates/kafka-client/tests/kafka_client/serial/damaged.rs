//! Batches that are damaged on the broker's disk.

use std::ops::RangeInclusive;

use tally_harness::kafka::{JavaProducer, JavaRecord, OwnKafka};
use tally_kafka_client::{Error, Fetch, Piece};

use crate::support::{client, read};

/// Each log holds these three batches, and the one in the middle is damaged.
const BATCHES: [RangeInclusive<i64>; 3] = [0..=1, 2..=4, 5..=6];
const END: i64 = 7;

/// What is done to a batch, and what is said of it then.
struct Damage {
    codec: &'static str,
    edit: fn(&mut [u8]),
    why: &'static str,
}

const DAMAGES: [Damage; 14] = [
    // A byte of its records.
    Damage { codec: "none", edit: |batch| batch[100] ^= 1, why: "its checksum says " },
    // So small that no broker takes it for one, too small for a header, too small, too large, larger than the log.
    Damage {
        codec: "none",
        edit: |batch| set_length(batch, 5),
        why: "its length says 5 bytes, but a header alone takes 49",
    },
    Damage {
        codec: "none",
        edit: |batch| set_length(batch, 20),
        why: "its length says 20 bytes, but a header alone takes 49",
    },
    Damage { codec: "none", edit: |batch| add_to_length(batch, -7), why: "its checksum says " },
    Damage { codec: "none", edit: |batch| add_to_length(batch, 7), why: "its checksum says " },
    Damage {
        codec: "none",
        edit: |batch| set_length(batch, 1_000_000),
        why: "its length says 1000000 bytes, but ",
    },
    // Its format, which is not covered by its checksum: as v1 it is compressed by gzip, or by something unknown.
    Damage {
        codec: "none",
        edit: |batch| make_v1(batch, 1),
        why: "its record format is v1, and only v2 (Kafka 0.11 and later) is read",
    },
    Damage {
        codec: "none",
        edit: |batch| make_v1(batch, 7),
        why: "its record format is v1, and only v2 (Kafka 0.11 and later) is read",
    },
    Damage {
        codec: "none",
        edit: |batch| sealed(batch, |batch| batch[57..61].copy_from_slice(&[0, 0, 0, 9])),
        why: "its header counts 9 records, but 3 are there",
    },
    Damage {
        codec: "none",
        edit: |batch| sealed(batch, |batch| batch[22] |= 7),
        why: "its compression has the unknown number 7",
    },
    Damage { codec: "gzip", edit: spoil_payload, why: "its gzip bytes cannot be unpacked: " },
    Damage { codec: "snappy", edit: spoil_payload, why: "its snappy bytes cannot be unpacked: " },
    Damage { codec: "lz4", edit: spoil_payload, why: "its lz4 bytes cannot be unpacked: " },
    Damage { codec: "zstd", edit: spoil_payload, why: "its zstd bytes cannot be unpacked: " },
];

fn set_length(batch: &mut [u8], length: i32) {
    batch[8..12].copy_from_slice(&length.to_be_bytes());
}

fn add_to_length(batch: &mut [u8], more: i32) {
    let length = i32::from_be_bytes(*batch[8..].first_chunk().unwrap());
    set_length(batch, length + more);
}

/// With a checksum that fits what the edit leaves.
fn sealed(batch: &mut [u8], edit: impl FnOnce(&mut [u8])) {
    edit(batch);
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

/// Where format v2 has its checksum, v1 has the number of the codec: another sequence number gives another checksum.
fn make_v1(batch: &mut [u8], codec: u8) {
    let mut sequence = 0;
    while batch[17] & 7 != codec {
        sequence += 1;
        sealed(batch, |batch| batch[56] = sequence);
    }
    batch[16] = 1;
}

/// The second half of what is compressed.
fn spoil_payload(batch: &mut [u8]) {
    sealed(batch, |batch| {
        let middle = usize::midpoint(61, batch.len());
        batch[middle..].fill(0xff);
    });
}

fn value(offset: i64) -> String {
    format!("the value at offset {offset}, ").repeat(20)
}

/// Records of the offsets of each batch, in each partition.
async fn fill(broker: &OwnKafka, topic: &str) {
    let mut java = JavaProducer::start(broker.bootstrap());
    for offsets in BATCHES {
        // The last one is for a log whose first batch is damaged.
        let codecs = DAMAGES.iter().map(|damage| damage.codec).chain(["none"]);
        for (codec, partition) in codecs.zip(0..) {
            for value in offsets.clone().map(value) {
                java.send(JavaRecord {
                    topic,
                    partition: Some(partition),
                    value: Some(value.as_bytes()),
                    compression: Some(codec),
                    timestamp: Some(1_700_000_000_000),
                    ..JavaRecord::default()
                })
                .await;
            }
        }
        java.flush().await;
    }
}

/// Offsets whose records are as they were written, or what is said instead.
fn tell(piece: &Piece) -> String {
    match piece {
        Piece::Records(batch) => {
            for record in batch.records() {
                assert_eq!(record.value.unwrap(), value(record.offset));
            }
            assert_eq!(i64::try_from(batch.len()), Ok(batch.last() - batch.first() + 1));
            format!("{} to {}", batch.first(), batch.last())
        }
        Piece::Passed(passed) => passed.to_string(),
    }
}

#[tokio::test]
async fn batches_that_are_damaged_on_disk_are_named_and_all_others_are_read() {
    let broker = OwnKafka::start().await;
    let partitions = i32::try_from(DAMAGES.len()).unwrap();
    // With each batch in the index, as batches of a usual size are.
    let topic = broker.topic_with(partitions + 1, "index.interval.bytes=0").await;
    fill(&broker, &topic).await;
    broker.stop().await;
    for (damage, partition) in DAMAGES.iter().zip(0..) {
        broker.edit_batch(&topic, partition, 1, damage.edit);
    }
    broker.edit_batch(&topic, partitions, 0, |batch| set_length(batch, 5));
    broker.start_again().await;

    let client = client(broker.bootstrap());
    for (Damage { why, .. }, number) in DAMAGES.iter().zip(0..) {
        let partition = client.partition(&topic, number).await.unwrap();
        // All in one answer, and each batch in one of its own.
        for max_bytes in [1 << 20, 1] {
            let pieces = read(&partition, Fetch { max_bytes, ..Fetch::from(0) }, END).await;
            let told: Vec<_> = pieces.iter().map(tell).collect();
            assert_eq!(told.len(), 3, "{why}: {told:?}");
            assert_eq!((&*told[0], &*told[2]), ("0 to 1", "5 to 6"), "{why}");
            let named = format!("offsets 2 to 4 cannot be decoded: {why}");
            assert!(told[1].starts_with(&named), "{why}: {told:?}");
        }
        // From the damage on, from within it, from behind it and from within the last batch.
        for from in [2, 3, 5, 6] {
            let told: Vec<_> =
                read(&partition, Fetch::from(from), END).await.iter().map(tell).collect();
            let (last, before) = told.split_last().unwrap();
            assert_eq!(*last, format!("{} to 6", from.max(5)), "{why}");
            let named = format!("offsets {from} to 4 cannot be decoded: {why}");
            let is_named = before.iter().all(|told| told.starts_with(&named));
            assert!(is_named && before.len() == usize::from(from < 5), "{why}: {told:?}");
        }
    }

    // Nothing before it would show it.
    let partition = client.partition(&topic, partitions).await.unwrap();
    for offset in [0, 2] {
        let error = partition.fetch(Fetch::from(offset)).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }) && !error.is_retriable(), "{error}");
        let text = format!("cannot read its own log at offset {offset} for partition {partitions}");
        assert!(error.to_string().contains(&text), "{error}");
    }
    let told: Vec<_> = read(&partition, Fetch::from(4), END).await.iter().map(tell).collect();
    assert_eq!(told, ["4 to 4", "5 to 6"]);
}
