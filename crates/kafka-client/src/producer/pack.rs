//! Writes record batches of format v2.

use std::io;

use bytes::{BufMut, Bytes};

use super::{Identity, ProducerRecord};
use crate::batch::header::{CHECKED_FROM, COUNTED_FROM, LEN};
use crate::compression::Codec;

/// Where the checksum lies.
const CHECKSUM_AT: usize = 17;
const TRANSACTIONAL: i16 = 0b1_0000;
/// No record's numbers take more: its length, its time and offset, the lengths of key and value, the count of headers.
const LARGEST_NUMBERS: usize = 32;
/// The lengths of a header's name and value.
const LARGEST_LENGTHS: usize = 10;

/// What all batches of a producer have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    pub(super) codec: Codec,
    pub(super) is_transactional: bool,
}

/// The most that a record takes in an uncompressed batch.
pub(super) fn size(record: &ProducerRecord) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + length(value) + LARGEST_LENGTHS);
    LARGEST_NUMBERS + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

/// A batch of `records` with their times; the first has this sequence number.
pub(super) fn pack<'a>(
    packing: Packing,
    identity: Identity,
    sequence: i64,
    records: impl Iterator<Item = (&'a ProducerRecord, i64)> + Clone,
) -> io::Result<Bytes> {
    let times = || records.clone().map(|(_, time)| time);
    let (base, newest) = (times().next().unwrap_or(-1), times().max().unwrap_or(-1));
    let most = records.clone().map(|(record, _)| size(record)).sum();
    let (mut body, mut scratch, mut count) = (Vec::with_capacity(most), Vec::new(), 0_i32);
    for (record, time) in records {
        scratch.clear();
        scratch.push(0); // Its attributes, of which there are none.
        put_varint(&mut scratch, time - base);
        put_varint(&mut scratch, count.into());
        put_bytes(&mut scratch, record.key.as_deref());
        put_bytes(&mut scratch, record.value.as_deref());
        put_length(&mut scratch, record.headers.len());
        for (name, value) in &record.headers {
            put_bytes(&mut scratch, Some(name));
            put_bytes(&mut scratch, value.as_deref());
        }
        put_length(&mut body, scratch.len());
        body.extend_from_slice(&scratch);
        count += 1;
    }

    let mut batch = Vec::with_capacity(LEN + body.len());
    batch.put_i64(0); // The broker gives it its offset
    batch.put_i32(0); // and we its length, below.
    batch.put_i32(-1); // The leader's epoch.
    batch.put_i8(2);
    batch.put_u32(0); // The checksum, below.
    batch.put_i16(packing.codec.id() | if packing.is_transactional { TRANSACTIONAL } else { 0 });
    batch.put_i32(count - 1);
    batch.put_i64(base);
    batch.put_i64(newest);
    batch.put_i64(identity.id);
    batch.put_i16(identity.epoch);
    batch.put_i32(on_the_wire(sequence));
    batch.put_i32(count);
    packing.codec.pack(&body, &mut batch)?;
    let length = i32::try_from(batch.len() - COUNTED_FROM).map_err(io::Error::other)?;
    batch[COUNTED_FROM - 4..COUNTED_FROM].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
    Ok(batch.into())
}

/// After the largest number comes 0.
#[expect(clippy::cast_possible_truncation, reason = "31 bits")]
fn on_the_wire(sequence: i64) -> i32 {
    (sequence & i64::from(i32::MAX)) as i32
}

fn put_bytes(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_length(into, bytes.len());
            into.extend_from_slice(bytes);
        }
        None => put_varint(into, -1),
    }
}

fn put_length(into: &mut Vec<u8>, length: usize) {
    put_varint(into, i64::try_from(length).unwrap_or(i64::MAX));
}

/// Zigzag.
fn put_varint(into: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        into.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    into.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batches, Piece, Reading};

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> ProducerRecord {
        let headers = vec![
            (Bytes::from_static(b"a"), None),
            (Bytes::from_static(b"a"), Some(Bytes::from_static(b"\xff"))),
        ];
        let [key, value] = [key, value].map(|bytes| bytes.map(Bytes::from_static));
        ProducerRecord { key, value, headers }
    }

    fn packed(codec: Codec, sequence: i64, records: &[(ProducerRecord, i64)]) -> Bytes {
        let packing = Packing { codec, is_transactional: false };
        let identity = Identity { id: 7, epoch: 3 };
        let records = records.iter().map(|(record, time)| (record, *time));
        pack(packing, identity, sequence, records).unwrap()
    }

    #[test]
    fn what_is_packed_is_read_the_same() {
        let records = [
            (record(Some(b"k"), Some(b"value")), 1_000),
            (record(None, None), 999),
            (record(Some(b""), Some(b"")), 1_000_000_000_000),
        ];
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = packed(codec, 0, &records);
            let reading = Reading {
                from: 0,
                high_watermark: i64::MAX,
                max_batch_bytes: 1 << 20,
                aborted: Vec::new(),
            };
            let pieces: Vec<Piece> = Batches::new(bytes, reading).collect();
            let [Piece::Records(batch)] = &pieces[..] else { panic!("{codec}: {pieces:?}") };
            assert_eq!(batch.codec(), codec);
            let read: Vec<_> = batch.records().collect();
            for ((sent, time), (offset, read)) in records.iter().zip((0..).zip(&read)) {
                assert_eq!((read.offset, read.timestamp), (offset, *time), "{codec}");
                assert_eq!((&read.key, &read.value), (&sent.key, &sent.value), "{codec}");
                assert_eq!(read.headers.iter().collect::<Vec<_>>(), sent.headers, "{codec}");
            }
            assert_eq!(read.len(), records.len(), "{codec}");
        }
    }

    #[test]
    fn no_record_is_larger_than_its_size() {
        let value = Bytes::from(vec![0; 70_000]);
        let large = ProducerRecord { value: Some(value), ..record(Some(b"key"), None) };
        for record in [record(None, None), record(Some(b"key"), Some(b"value")), large] {
            let (most, time) = (size(&record), i64::MAX);
            let bytes = packed(Codec::None, 0, &[(record.clone(), 0), (record, time)]);
            assert!(bytes.len() <= LEN + 2 * most, "{} over {most}", bytes.len());
        }
    }

    #[test]
    fn after_the_largest_sequence_number_comes_0() {
        let sequence = |sequence| {
            let bytes = packed(Codec::None, sequence, &[(record(None, None), 0)]);
            i32::from_be_bytes(bytes[53..57].try_into().unwrap())
        };
        assert_eq!(sequence(5), 5);
        assert_eq!(sequence(i32::MAX.into()), i32::MAX);
        assert_eq!(sequence(i64::from(i32::MAX) + 1), 0);
    }
}
