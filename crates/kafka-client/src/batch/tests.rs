//! Batches built by hand, whole and broken.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "small numbers")]

use bytes::{BufMut, Bytes, BytesMut};

mod broken;
mod whole;

use super::*;

type Header = (&'static [u8], Option<&'static [u8]>);

/// A batch to be written, right unless a test says otherwise.
#[derive(Clone)]
struct Built {
    base: i64,
    magic: u8,
    attributes: i16,
    last_delta: i32,
    producer_id: i64,
    count: i32,
    body: Vec<u8>,
}

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x30;

fn varint(into: &mut Vec<u8>, number: i64) {
    let mut raw = (number << 1 ^ (number >> 63)).cast_unsigned();
    while raw >= 0x80 {
        into.push((raw & 0x7f) as u8 | 0x80);
        raw >>= 7;
    }
    into.push(raw as u8);
}

fn optional(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(into, bytes.map_or(-1, |bytes| bytes.len() as i64));
    into.extend_from_slice(bytes.unwrap_or_default());
}

fn record(delta: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> Vec<u8> {
    let mut inside = vec![0];
    varint(&mut inside, delta * 10);
    varint(&mut inside, delta);
    optional(&mut inside, key);
    optional(&mut inside, value);
    varint(&mut inside, headers.len() as i64);
    for (name, value) in headers {
        optional(&mut inside, Some(name));
        optional(&mut inside, *value);
    }
    let mut whole = Vec::new();
    varint(&mut whole, inside.len() as i64);
    whole.extend(inside);
    whole
}

/// Records of one byte at these distances from the base.
fn built(base: i64, deltas: &[i32]) -> Built {
    let body = deltas.iter().flat_map(|&delta| record(delta.into(), None, Some(b"v"), &[]));
    Built {
        base,
        magic: 2,
        attributes: 0,
        last_delta: deltas.last().copied().unwrap_or(0),
        producer_id: -1,
        count: deltas.len() as i32,
        body: body.collect(),
    }
}

fn marker(base: i64, producer_id: i64, commit: bool) -> Built {
    let key = [0, 0, 0, u8::from(commit)];
    let body = record(0, Some(&key), Some(&[0; 6]), &[]);
    Built { attributes: CONTROL, producer_id, body, ..built(base, &[0]) }
}

impl Built {
    fn of(self, producer_id: i64) -> Self {
        Self { attributes: TRANSACTIONAL, producer_id, ..self }
    }

    fn bytes(&self) -> BytesMut {
        let mut checked = BytesMut::new();
        checked.put_i16(self.attributes);
        checked.put_i32(self.last_delta);
        checked.put_i64(1000);
        checked.put_i64(2000);
        checked.put_i64(self.producer_id);
        checked.put_i16(0);
        checked.put_i32(0);
        checked.put_i32(self.count);
        checked.put_slice(&self.body);
        let mut whole = BytesMut::new();
        whole.put_i64(self.base);
        whole.put_i32(checked.len() as i32 + 9);
        whole.put_i32(7);
        whole.put_u8(self.magic);
        whole.put_u32(crc32c::crc32c(&checked));
        whole.put_slice(&checked);
        whole
    }

    /// With a byte of it changed after the checksum was taken.
    fn spoilt(&self, at: usize) -> BytesMut {
        let mut bytes = self.bytes();
        bytes[at] ^= 0x55;
        bytes
    }
}

fn reading(from: i64) -> Reading {
    Reading { from, high_watermark: 1000, max_batch_bytes: 1 << 20, aborted: Vec::new() }
}

fn walk(bytes: impl IntoIterator<Item = BytesMut>, reading: Reading) -> (Vec<String>, i64) {
    let bytes: BytesMut = bytes.into_iter().flatten().collect();
    let mut batches = Batches::new(bytes.freeze(), reading);
    let pieces = batches.by_ref().map(|piece| match piece {
        Piece::Records(batch) => {
            let offsets: Vec<_> = batch.records().map(|record| record.offset).collect();
            assert_eq!(offsets.len(), batch.len());
            format!("{}..{} {offsets:?}", batch.first(), batch.last())
        }
        Piece::Passed(passed) => passed.to_string(),
    });
    (pieces.collect(), batches.next_offset())
}

#[track_caller]
fn check(bytes: impl IntoIterator<Item = BytesMut>, reading: Reading, pieces: &[&str], next: i64) {
    let (found, found_next) = walk(bytes, reading);
    assert_eq!(found, pieces);
    assert_eq!(found_next, next);
}

fn three(middle: BytesMut) -> [BytesMut; 3] {
    [built(0, &[0, 1]).bytes(), middle, built(5, &[0]).bytes()]
}

/// Batches with offsets 0 to 1, 2 to 4 and 5, of which the middle one cannot be decoded.
#[track_caller]
fn check_broken(middle: BytesMut, why: &str) {
    let broken = format!("offsets 2 to 4 cannot be decoded: {why}");
    check(three(middle), reading(0), &["0..1 [0, 1]", &broken, "5..5 [5]"], 6);
}

fn middle() -> Built {
    built(2, &[0, 1, 2])
}
