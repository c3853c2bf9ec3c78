//! One record, read from the unpacked bytes of its batch.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// A record. Its key, value and headers are slices of the batch: they keep its bytes in memory.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it lies.
    pub offset: i64,
    /// In milliseconds since 1970; -1 is none. See [`RecordBatch::timestamps`](super::RecordBatch::timestamps).
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

/// The headers of a record, in the order in which they were written. Names may be repeated, empty or not UTF-8.
///
/// They are read from the record's bytes while they are iterated, so that they take no memory of their own.
#[derive(Clone, Default)]
pub struct Headers {
    bytes: Bytes,
    count: usize,
}

impl Headers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let mut cursor = Cursor::new(&self.bytes);
        (0..self.count).map_while(move |_| {
            let (name, value) = cursor.header().ok()?;
            Some((self.bytes.slice(name), value.map(|value| self.bytes.slice(value))))
        })
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Where a record's parts lie in the bytes of its batch.
pub(super) struct Parts {
    pub(super) offset_delta: i32,
    timestamp_delta: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    header_count: usize,
}

impl Parts {
    pub(super) fn record(self, bytes: &Bytes, base: i64, time: Time) -> Record {
        Record {
            offset: base + i64::from(self.offset_delta),
            timestamp: match time {
                Time::Fixed(timestamp) => timestamp,
                Time::After(base) => base.saturating_add(self.timestamp_delta),
            },
            key: self.key.map(|key| bytes.slice(key)),
            value: self.value.map(|value| bytes.slice(value)),
            headers: Headers { bytes: bytes.slice(self.headers), count: self.header_count },
        }
    }

    /// The key's bytes.
    pub(super) fn key<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(self.key.clone()?)
    }
}

/// The time of a batch's records.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    /// All have this one.
    Fixed(i64),
    /// Each has its distance from this one.
    After(i64),
}

/// Reads on in the unpacked bytes of a batch. What it refuses it names; it never allocates.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn read(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn record(&mut self) -> Result<Parts, &'static str> {
        let length = usize::try_from(self.varint()?).map_err(|_| "its length is negative")?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("its length leads past the end of the batch")?;
        let mut inside = Cursor { bytes: &self.bytes[..end], at: self.at };
        inside.skip(1)?; // Its attributes, of which none is used.
        let timestamp_delta = inside.varlong()?;
        let offset_delta = inside.varint()?;
        let key = inside.optional()?;
        let value = inside.optional()?;
        let header_count = inside.varint()?;
        let header_count =
            usize::try_from(header_count).map_err(|_| "it has fewer than no headers")?;
        let start = inside.at;
        for _ in 0..header_count {
            inside.header()?;
        }
        if inside.at != end {
            return Err("it ends before its length does");
        }
        self.at = end;
        let headers = start..end;
        Ok(Parts { offset_delta, timestamp_delta, key, value, headers, header_count })
    }

    fn header(&mut self) -> Result<(Range<usize>, Option<Range<usize>>), &'static str> {
        let name = self.optional()?.ok_or("a header has no name")?;
        Ok((name, self.optional()?))
    }

    /// Bytes behind their length; any negative one is null, as Kafka's own client has it.
    fn optional(&mut self) -> Result<Option<Range<usize>>, &'static str> {
        let Ok(length) = usize::try_from(self.varint()?) else { return Ok(None) };
        let start = self.at;
        self.skip(length)?;
        Ok(Some(start..self.at))
    }

    pub(super) fn skip(&mut self, length: usize) -> Result<(), &'static str> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        self.at = end.ok_or("a part of it leads past its end")?;
        Ok(())
    }

    fn varint(&mut self) -> Result<i32, &'static str> {
        i32::try_from(self.varlong()?).map_err(|_| "a number in it is too large")
    }

    /// A zigzag number of up to ten bytes.
    fn varlong(&mut self) -> Result<i64, &'static str> {
        let mut raw = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or("a part of it leads past its end")?;
            self.at += 1;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let magnitude = (raw >> 1).cast_signed();
                return Ok(if raw & 1 == 0 { magnitude } else { !magnitude });
            }
        }
        Err("a number in it is too long")
    }
}
