//! What is sound is read as it was written.

use std::sync::Arc;

use super::*;

#[test]
fn whole_batches_follow_each_other() {
    check(three(middle().bytes()), reading(0), &["0..1 [0, 1]", "2..4 [2, 3, 4]", "5..5 [5]"], 6);
}

#[test]
fn what_lies_before_the_wanted_offset_is_not_told() {
    check(three(middle().bytes()), reading(3), &["3..4 [3, 4]", "5..5 [5]"], 6);
    check(
        [middle().spoilt(70)],
        reading(3),
        &[
            "offsets 3 to 4 cannot be decoded: its checksum says e4cb5ff6, but its bytes give ebe3281d",
        ],
        5,
    );
}

#[test]
fn compaction_leaves_holes_and_empty_batches() {
    let batches = [
        built(3, &[1, 4]).bytes(),
        Built { last_delta: 2, ..built(10, &[]) }.bytes(),
        Built { last_delta: 3, ..built(13, &[0]) }.bytes(),
    ];
    let pieces = ["offsets 0 to 2 gone by compaction", "3..7 [4, 7]"];
    let rest = [
        "offsets 8 to 9 gone by compaction",
        "offsets 10 to 12 empty after compaction",
        "13..16 [13]",
    ];
    check(batches.clone(), reading(0), &[&pieces[..], &rest].concat(), 17);
    // Nothing is left of the last one behind 13.
    check(batches, reading(14), &["offsets 14 to 16 gone by compaction"], 17);

    let mut batches = Batches::new(built(3, &[1, 4]).bytes().freeze(), reading(3));
    let Some(Piece::Records(batch)) = batches.next() else { panic!("records") };
    assert_eq!(batch.holes().collect::<Vec<_>>(), [3..=3, 5..=6]);
}

#[test]
fn a_batch_that_is_cut_off_is_left() {
    for length in 1..middle().bytes().len() {
        let mut cut = middle().bytes();
        cut.truncate(length);
        check([built(0, &[0, 1]).bytes(), cut], reading(0), &["0..1 [0, 1]"], 2);
    }
}

#[test]
fn aborted_transactions_are_passed_where_they_are_named() {
    let batches = || {
        [
            built(0, &[0, 1]).of(7).bytes(),
            built(2, &[0]).of(8).bytes(),
            built(3, &[0]).bytes(),
            marker(4, 7, false).bytes(),
            built(5, &[0]).of(7).bytes(),
            marker(6, 8, true).bytes(),
            marker(7, 7, true).bytes(),
        ]
    };
    let rest = [
        "2..2 [2]",
        "3..3 [3]",
        "offset 4 marked as the abort of a transaction",
        "5..5 [5]",
        "offset 6 marked as the commit of a transaction",
        "offset 7 marked as the commit of a transaction",
    ];
    check(batches(), reading(0), &[&["0..1 [0, 1]"], &rest[..]].concat(), 8);
    let aborted = vec![AbortedTransaction { producer_id: 7, first_offset: 0 }];
    let passed = "offsets 0 to 1 written by an aborted transaction";
    let committed = Reading { aborted, ..reading(0) };
    check(batches(), committed, &[&[passed], &rest[..]].concat(), 8);
}

#[test]
fn headers_are_an_ordered_list() {
    let headers: [Header; 5] = [
        (b"a", Some(b"1")),
        (b"", Some(b"")),
        (b"a", None),
        (b"\xff\0", Some(b"\xfe")),
        (b"b", Some(b"2")),
    ];
    let body = record(0, Some(b""), None, &headers);
    let bytes = Built { body, ..built(0, &[0]) }.bytes().freeze();
    let Some(Piece::Records(batch)) = Batches::new(bytes, reading(0)).next() else {
        panic!("records")
    };
    let record = batch.records().next().unwrap();
    assert_eq!(
        (record.key.as_deref(), record.value.as_deref(), record.timestamp),
        (Some(&b""[..]), None, 1000)
    );
    assert_eq!(record.headers.len(), 5);
    let found: Vec<_> = record.headers.iter().collect();
    let expected =
        headers.map(|(name, value)| (Bytes::from_static(name), value.map(Bytes::from_static)));
    assert_eq!(found, expected);
}

#[test]
fn the_brokers_clock_counts_for_all_where_the_batch_says_so() {
    let times = |attributes| {
        let bytes = Built { attributes, ..built(0, &[0, 1]) }.bytes().freeze();
        let Some(Piece::Records(batch)) = Batches::new(bytes, reading(0)).next() else {
            panic!("records")
        };
        (batch.timestamps(), batch.records().map(|record| record.timestamp).collect::<Vec<_>>())
    };
    assert_eq!(times(0), (Timestamps::Create, vec![1000, 1010]));
    assert_eq!(times(8), (Timestamps::LogAppend, vec![2000, 2000]));
}

#[test]
fn a_guard_is_kept_as_long_as_any_record() {
    let bytes = built(0, &[0, 1]).bytes().freeze();
    let Some(Piece::Records(batch)) = Batches::new(bytes, reading(0)).next() else {
        panic!("records")
    };
    let guard = Arc::new(());
    let mut records = batch.guarded(Arc::clone(&guard)).records();
    let (first, second) = (records.next().unwrap(), records.next().unwrap());
    assert_eq!((first.offset, second.offset, records.next().is_none()), (0, 1, true));
    drop((first, records));
    assert_eq!(Arc::strong_count(&guard), 2);
    drop(second);
    assert_eq!(Arc::strong_count(&guard), 1);
}
