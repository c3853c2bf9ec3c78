//! Batches as a real broker keeps and sends them.

use bytes::{Bytes, BytesMut};
use tally_kafka_client::{AbortedTransaction, Batches, Codec, Piece, Reading, Record, Timestamps};

const CODECS: &[u8] = include_bytes!("../fixtures/codecs.log");
const TRANSACTIONS: &[u8] = include_bytes!("../fixtures/transactions.log");
const LIMIT: usize = 1 << 20;

fn reading(from: i64) -> Reading {
    Reading { from, high_watermark: 100, max_batch_bytes: LIMIT, aborted: Vec::new() }
}

fn text(bytes: Option<&Bytes>) -> Option<&str> {
    bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
}

/// What was read, one text a piece.
fn walk(bytes: impl Into<Bytes>, reading: Reading) -> Vec<String> {
    let told = Batches::new(bytes.into(), reading).map(|piece| match piece {
        Piece::Records(batch) => {
            let values =
                batch.records().map(|record| text(record.value.as_ref()).unwrap().to_owned());
            values.collect::<Vec<_>>().join(" ")
        }
        Piece::Passed(passed) => passed.to_string(),
    });
    told.collect()
}

#[test]
fn every_codec_is_read() {
    let batches = Batches::new(Bytes::from_static(CODECS), reading(0));
    let mut codecs = Vec::new();
    for (piece, name) in batches.zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let Piece::Records(batch) = piece else { panic!("{piece:?}") };
        codecs.push(batch.codec());
        assert_eq!((batch.len(), batch.last() - batch.first()), (4, 3));
        assert_eq!(batch.timestamps(), Timestamps::Create);
        assert_eq!(batch.holes().count(), 0);
        for (number, record) in batch.records().enumerate() {
            check_record(&record, name, number);
            assert_eq!(record.offset, batch.first() + i64::try_from(number).unwrap());
        }
    }
    assert_eq!(codecs, [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]);
}

fn check_record(record: &Record, codec: &str, number: usize) {
    let value = format!("{codec} {number}, and again {codec} {number}");
    assert_eq!(text(record.value.as_ref()), (number != 3).then_some(&*value));
    assert_eq!(text(record.key.as_ref()), number.is_multiple_of(2).then_some("key"));
    assert_eq!(record.timestamp, 1_700_000_000_000 + i64::try_from(number).unwrap());
    let headers: Vec<_> = record.headers.iter().collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (text(Some(name)).unwrap(), text(value.as_ref())))
        .collect();
    let expected = [("name", Some("1")), ("", None), ("name", Some(""))];
    assert_eq!(headers, if number == 1 { &expected[..] } else { &[] });
}

#[test]
fn a_batch_over_the_limit_is_named_with_its_size() {
    let small = Reading { max_batch_bytes: 100, ..reading(0) };
    let told = walk(CODECS, small);
    let expected = |range: &str, size: u64, codec: &str| {
        format!(
            "offsets {range} cannot be decoded: its records take {size} bytes unpacked ({codec}), over the limit of 100"
        )
    };
    assert_eq!(
        told,
        [
            expected("0 to 3", 121, "uncompressed"),
            expected("4 to 7", 121, "gzip"),
            expected("8 to 11", 133, "snappy"),
            expected("12 to 15", 115, "lz4"),
            expected("16 to 19", 121, "zstd"),
        ]
    );
}

#[test]
fn aborted_records_are_passed_from_wherever_the_reading_begins() {
    let producer_id = i64::from_be_bytes(*TRANSACTIONS[43..].first_chunk().unwrap());
    let aborted = vec![AbortedTransaction { producer_id, first_offset: 0 }];
    let all = [
        "offsets 0 to 1 written by an aborted transaction",
        "c2",
        "offset 3 written by an aborted transaction",
        "p4",
        "offset 5 marked as the abort of a transaction",
        "c6",
        "offset 7 marked as the commit of a transaction",
        "c8",
        "offset 9 marked as the commit of a transaction",
    ];
    let committed = |from| Reading { aborted: aborted.clone(), ..reading(from) };
    assert_eq!(walk(TRANSACTIONS, committed(0)), all);
    let told = walk(TRANSACTIONS, committed(1));
    assert_eq!(told[0], "offset 1 written by an aborted transaction");
    assert_eq!(told[1..], all[1..]);
    assert_eq!(walk(TRANSACTIONS, committed(3)), all[2..]);
    let told = walk(TRANSACTIONS, reading(0));
    assert_eq!(told[..4], ["a0 a1", "c2", "a3", "p4"]);
}

#[test]
fn answers_that_end_anywhere_are_read_on_by_the_next_one() {
    let whole = walk(TRANSACTIONS, reading(0));
    let starts = starts(TRANSACTIONS);
    // A broker never cuts the first batch of an answer.
    for cut in starts[1]..TRANSACTIONS.len() {
        let mut batches = Batches::new(Bytes::from_static(&TRANSACTIONS[..cut]), reading(0));
        let pieces = batches.by_ref().count();
        assert_eq!(pieces, starts[1..].iter().filter(|start| **start <= cut).count());
        let rest = walk(TRANSACTIONS, reading(batches.next_offset()));
        assert_eq!(rest, whole[pieces..]);
    }
}

/// Where batches begin.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Some(length) = bytes[starts[starts.len() - 1]..].get(8..12) {
        let length = i32::from_be_bytes(*length.first_chunk().unwrap());
        starts.push(starts[starts.len() - 1] + 12 + usize::try_from(length).unwrap());
    }
    starts.pop();
    starts
}

/// Each bit of each byte turned over, some also with the checksum corrected, so that the decoder sees what is inside:
/// it never panics, what it tells has no gap and no overlap, and no batch takes more memory than it may.
#[test]
fn no_bytes_make_it_panic_or_take_more_than_its_limit() {
    for corpus in [CODECS, TRANSACTIONS] {
        let starts = starts(corpus);
        for at in 0..corpus.len() {
            for bit in 0..8 {
                let mut bytes = BytesMut::from(corpus);
                bytes[at] ^= 1 << bit;
                check_told(bytes.clone().freeze());
                correct_checksums(&mut bytes, &starts);
                check_told(bytes.freeze());
            }
        }
    }
}

/// Numbers in the place of others, and parts left out or twice.
#[test]
fn no_larger_changes_do_either() {
    let mut state = 1_u64;
    // Xorshift: the same in each run.
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for round in 0..20_000 {
        let corpus = if round % 2 == 0 { CODECS } else { TRANSACTIONS };
        let mut bytes = corpus.to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len().max(1));
            let length = random(12).min(bytes.len().saturating_sub(at));
            match random(4) {
                0 => bytes[at..at + length].fill([0, 0x7f, 0x80, 0xff][random(4)]),
                1 => drop(bytes.drain(at..at + length)),
                2 => bytes.extend_from_within(at..at + length),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut corrected = BytesMut::from(&bytes[..]);
        check_told(bytes.into());
        correct_checksums(&mut corrected, &starts(corpus));
        check_told(corrected.freeze());
    }
}

#[track_caller]
fn check_told(bytes: Bytes) {
    let aborted = vec![AbortedTransaction { producer_id: 5, first_offset: 0 }];
    let length = bytes.len();
    let mut batches = Batches::new(bytes, Reading { max_batch_bytes: 1000, aborted, ..reading(1) });
    let mut next = 1;
    for count in 0.. {
        assert!(count <= length, "it does not end");
        let Some(piece) = batches.next() else { break };
        assert_eq!(piece.first(), next, "{piece:?}");
        assert!(piece.last() >= piece.first(), "{piece:?}");
        next = piece.last() + 1;
        assert_eq!(batches.next_offset(), next);
        if let Piece::Records(batch) = piece {
            assert!(batch.size() <= 1000);
            let records: Vec<_> = batch.records().collect();
            assert_eq!(records.len(), batch.len());
            let range = batch.first()..=batch.last();
            assert!(records.iter().all(|record| range.contains(&record.offset)));
            assert!(records.is_sorted_by(|a, b| a.offset < b.offset));
            for record in &records {
                assert_eq!(record.headers.iter().count(), record.headers.len());
            }
            let holes: i64 = batch.holes().map(|hole| hole.end() - hole.start() + 1).sum();
            let length = i64::try_from(records.len()).unwrap();
            assert_eq!(holes + length, range.end() - range.start() + 1);
        }
    }
}

/// Of the batches that begin there, as far as they are there.
fn correct_checksums(bytes: &mut BytesMut, starts: &[usize]) {
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(bytes.len(), |end| *end).min(bytes.len());
        if start + 21 <= end {
            let checksum = crc32c::crc32c(&bytes[start + 21..end]);
            bytes[start + 17..start + 21].copy_from_slice(&checksum.to_be_bytes());
        }
    }
}
