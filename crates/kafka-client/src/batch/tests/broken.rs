//! What is broken is named, and what is behind it is read.

use super::*;

#[test]
fn each_broken_field_names_its_range() {
    let whole = middle();
    let with_length = |length: i32| {
        let mut bytes = whole.bytes();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    check_broken(whole.spoilt(70), "its checksum says e4cb5ff6, but its bytes give ebe3281d");
    check_broken(with_length(20), "its length says 20 bytes, but a header alone takes 49");
    let length = i32::try_from(whole.bytes().len() - 12).unwrap();
    let (pieces, _) = walk(three(with_length(length - 4)), reading(0));
    assert!(
        pieces[1].starts_with("offsets 2 to 4 cannot be decoded: its checksum says"),
        "{pieces:?}"
    );
    assert_eq!(pieces[2], "5..5 [5]");
    check_broken(
        Built { count: 4, ..whole.clone() }.bytes(),
        "its header counts 4 records, but 3 are there",
    );
    check_broken(
        Built { count: 2, ..whole.clone() }.bytes(),
        "its header counts 2 records, but 3 are there",
    );
    check_broken(
        Built { count: -1, ..whole.clone() }.bytes(),
        "its header counts -1 records, but 3 are there",
    );
    check_broken(
        Built { attributes: 5, ..whole.clone() }.bytes(),
        "its compression has the unknown number 5",
    );
    check_broken(
        Built { magic: 3, ..whole.clone() }.bytes(),
        "its record format is v3, and only v2 (Kafka 0.11 and later) is read",
    );
    for (codec, reason) in [
        (1, "its gzip bytes cannot be unpacked: invalid gzip header"),
        (2, "its snappy bytes cannot be unpacked: snappy: "),
        (3, "its lz4 bytes cannot be unpacked: LZ4 error: ERROR_frameType_unknown"),
        (4, "its zstd bytes cannot be unpacked: Unknown frame descriptor"),
    ] {
        let (pieces, next) =
            walk(three(Built { attributes: codec, ..whole.clone() }.bytes()), reading(0));
        assert!(
            pieces[1].starts_with(&format!("offsets 2 to 4 cannot be decoded: {reason}")),
            "{pieces:?}"
        );
        assert_eq!((&*pieces[2], next), ("5..5 [5]", 6));
    }
}

#[test]
fn a_length_that_leads_past_the_end_is_broken_where_it_comes_first() {
    let mut long = middle().bytes();
    long[8..12].copy_from_slice(&5000_i32.to_be_bytes());
    let bytes = [long, built(5, &[0]).bytes()];
    check(
        bytes,
        reading(2),
        &[
            "offsets 2 to 4 cannot be decoded: its length says 5000 bytes, but 142 are there",
            "5..5 [5]",
        ],
        6,
    );
}

#[test]
fn records_that_contradict_themselves_are_broken() {
    let whole = middle();
    let with = |body: Vec<u8>| Built { body, ..whole.clone() }.bytes();
    let good = |delta| record(delta, None, Some(b"v"), &[]);
    let mut long_value = good(2);
    long_value[5] = 60;
    check_broken(
        with([good(0), good(1), long_value].concat()),
        "its record 2 (from 0) cannot be read: a part of it leads past its end",
    );
    let mut padded = good(2);
    padded[0] += 2; // One more, in zigzag.
    padded.push(0);
    check_broken(
        with([good(0), good(1), padded].concat()),
        "its record 2 (from 0) cannot be read: it ends before its length does",
    );
    let mut long = good(2);
    long[0] = 100;
    check_broken(
        with([good(0), good(1), long].concat()),
        "its record 2 (from 0) cannot be read: its length leads past the end of the batch",
    );
    check_broken(
        with([good(0), good(0), good(2)].concat()),
        "its record 1 (from 0) cannot be read: its offset is not above the one before",
    );
    check_broken(
        with([good(0), good(1), good(3)].concat()),
        "its record 2 (from 0) cannot be read: its offset lies beyond the last one of the batch",
    );
}

#[test]
fn offsets_that_run_backwards_or_past_the_end_are_broken() {
    let back = Built { base: 1, ..middle() }.bytes();
    check(
        three(back),
        reading(0),
        &[
            "0..1 [0, 1]",
            "offsets 2 to 4 cannot be decoded: its offsets run from 1 to 3, but the next one to come is 2",
            "5..5 [5]",
        ],
        6,
    );
    let beyond = Built { base: 6_267_884_781_290_718_430, ..middle() }.bytes();
    check(
        three(beyond),
        reading(0),
        &[
            "0..1 [0, 1]",
            "offsets 2 to 4 cannot be decoded: its offsets run from 6267884781290718430 to 6267884781290718432, but the next one to come is 2",
            "5..5 [5]",
        ],
        6,
    );
}

#[test]
fn behind_a_lost_marker_the_broker_is_asked_again() {
    let aborted = vec![AbortedTransaction { producer_id: 7, first_offset: 0 }];
    let batches = [
        built(0, &[0]).of(7).bytes(),
        marker(1, 7, false).spoilt(65),
        built(2, &[0]).of(7).bytes(),
    ];
    let (pieces, next) = walk(batches, Reading { aborted, ..reading(0) });
    assert_eq!(pieces.len(), 2, "{pieces:?}");
    assert_eq!((&*pieces[0], next), ("offset 0 written by an aborted transaction", 2));
}

#[test]
fn a_batch_whose_magic_alone_is_broken_names_its_whole_range() {
    for magic in [0, 1, 3] {
        let broken = Built { magic, ..middle() };
        let why =
            format!("its record format is v{magic}, and only v2 (Kafka 0.11 and later) is read");
        check_broken(broken.bytes(), &why);
        let last = format!("offsets 2 to 4 cannot be decoded: {why}");
        check([broken.bytes()], reading(2), &[&last], 5);
    }
}

#[test]
fn formats_before_v2_are_refused_by_name() {
    // One message of format v1: offset, length, checksum, magic, attributes, timestamp, key, value.
    let mut bytes = BytesMut::new();
    bytes.put_i64(4);
    bytes.put_i32(22 + 1);
    bytes.put_u32(0);
    bytes.put_u8(1);
    bytes.put_slice(&[0; 18]);
    check(
        [bytes, built(5, &[0]).bytes()],
        reading(4),
        &[
            "offset 4 cannot be decoded: its record format is v1, and only v2 (Kafka 0.11 and later) is read",
            "5..5 [5]",
        ],
        6,
    );
}

#[test]
fn one_at_the_end_of_an_answer_is_asked_for_again_to_see_where_it_ends() {
    let sound = built(0, &[0, 1]).bytes();
    check([sound, middle().spoilt(70)], reading(0), &["0..1 [0, 1]"], 2);
    // Nor does it hold up what comes first alone.
    let why = "its checksum says e4cb5ff6, but its bytes give ebe3281d";
    let named = format!("offsets 2 to 4 cannot be decoded: {why}");
    check([middle().spoilt(70)], reading(2), &[&named], 5);
}

#[test]
fn a_last_offset_that_the_count_contradicts_is_not_believed() {
    let mut bytes = middle().bytes();
    bytes[25] = 1; // 256 more
    let (pieces, next) = walk([bytes], reading(2));
    assert!(pieces[0].starts_with("offset 2 cannot be decoded: its checksum says"), "{pieces:?}");
    assert_eq!(next, 3);
}

/// Where compaction left holes, and of an aborted transaction, too.
#[test]
fn a_first_batch_that_was_not_read_whole_is_passed_by_its_header() {
    let told = |built: &Built, reading: Reading| -> Vec<String> {
        let start = built.bytes().freeze().slice(..header::LEN);
        let pieces = Batches::new(start, reading).cut_at(100);
        let tell = |piece| match piece {
            Piece::Passed(passed) => passed.to_string(),
            Piece::Records(batch) => panic!("{batch:?}"),
        };
        pieces.map(tell).collect()
    };
    let long = Built { last_delta: 9, ..middle() };
    let size = long.bytes().len();
    let why = format!("it takes {size} bytes as it was sent, and an answer may take 100");
    let broken = |first: i64| format!("offsets {first} to 11 cannot be decoded: {why}");
    assert_eq!(told(&long, reading(4)), [broken(4)]);
    assert_eq!(told(&long, reading(0)), ["offsets 0 to 1 gone by compaction", &*broken(2)]);
    assert_eq!(told(&long, reading(12)), [""; 0]);

    let transaction = AbortedTransaction { producer_id: 7, first_offset: 2 };
    let aborted = Reading { aborted: vec![transaction], ..reading(2) };
    let expected = ["offsets 2 to 11 written by an aborted transaction"];
    assert_eq!(told(&long.clone().of(7), aborted), expected);

    let beyond = told(&Built { last_delta: 5000, ..long }, reading(2));
    assert!(beyond[0].starts_with("offset 2 cannot be decoded: its length says"), "{beyond:?}");
}
