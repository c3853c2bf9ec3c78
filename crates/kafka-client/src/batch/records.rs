//! The records of one batch.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::Broken;
use super::header::{self, Header};
use super::record::{Cursor, Record, Time};
use crate::compression::Codec;

/// The shortest record: its length, attributes, two deltas, no key, no value, no headers.
const SHORTEST: usize = 7;

/// A batch with at least one record from the wanted offset on, unpacked and checked to its last byte.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    first: i64,
    last: i64,
    count: usize,
    base: i64,
    time: (i64, Timestamps),
    codec: Codec,
    bytes: Bytes,
}

/// What the timestamps of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// When each record was made, by the producer's clock.
    Create,
    /// When the batch was appended, by the broker's clock; all its records have the same.
    LogAppend,
}

impl RecordBatch {
    /// The first offset it covers, not below the wanted one.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The last offset it covers.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// How many records it holds from [`first`](Self::first) on; at least one.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// What the timestamps of its records are.
    pub fn timestamps(&self) -> Timestamps {
        self.time.1
    }

    /// How it was compressed.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// How many bytes its records take unpacked. They stay in memory while a record of it does.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Keeps `guard` until the memory of this batch is given back, which is when the last of its records is dropped.
    #[must_use]
    pub fn guarded(self, guard: impl Send + 'static) -> Self {
        let bytes = Bytes::from_owner(Guarded { bytes: self.bytes, _guard: guard });
        Self { bytes, ..self }
    }

    /// The records from [`first`](Self::first) on; their offsets ascend and may leave holes.
    pub fn records(&self) -> Records {
        let time = match self.time {
            (base, Timestamps::Create) => Time::After(base),
            (all, Timestamps::LogAppend) => Time::Fixed(all),
        };
        Records { bytes: self.bytes.clone(), read: 0, base: self.base, first: self.first, time }
    }

    /// The offsets from [`first`](Self::first) to [`last`](Self::last) that have no record any more, by compaction.
    pub fn holes(&self) -> impl Iterator<Item = RangeInclusive<i64>> + '_ {
        let mut next = self.first;
        let offsets = self.records().map(|record| record.offset).chain([self.last + 1]);
        offsets.filter_map(move |offset| {
            let hole = next..=offset - 1;
            next = offset + 1;
            (!hole.is_empty()).then_some(hole)
        })
    }

    /// Unpacks and checks the batch; none where no record from `first` on is left.
    pub(super) fn read(
        header: &Header,
        batch: &Bytes,
        first: i64,
        limit: usize,
    ) -> Result<Option<Self>, Broken> {
        let codec = Codec::of(header.codec_id()).ok_or(Broken::Codec { id: header.codec_id() })?;
        let bytes = codec.unpack(&header::body(batch), limit)?;
        let count = check(header, &bytes, first)?;
        let time = if header.is_log_append() {
            (header.max_timestamp, Timestamps::LogAppend)
        } else {
            (header.base_timestamp, Timestamps::Create)
        };
        let batch =
            Self { first, last: header.last(), count, base: header.base, time, codec, bytes };
        Ok((count > 0).then_some(batch))
    }
}

/// The records of a batch, one after the other, each read when it is asked for.
#[derive(Clone, Debug)]
pub struct Records {
    bytes: Bytes,
    /// How many of the bytes were read.
    read: usize,
    base: i64,
    first: i64,
    time: Time,
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let mut cursor = Cursor::new(&self.bytes);
        cursor.skip(self.read).ok()?;
        while !cursor.is_at_end() {
            let parts = cursor.record().ok()?;
            if self.base + i64::from(parts.offset_delta) >= self.first {
                self.read = cursor.read();
                return Some(parts.record(&self.bytes, self.base, self.time));
            }
        }
        None
    }
}

/// Bytes with what is kept as long as they are.
struct Guarded<T> {
    bytes: Bytes,
    _guard: T,
}

impl<T> AsRef<[u8]> for Guarded<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whether the bytes are exactly the records that the header announces; answers how many lie at `first` or after.
fn check(header: &Header, bytes: &[u8], first: i64) -> Result<usize, Broken> {
    let says = header.count;
    let most = i32::try_from(bytes.len() / SHORTEST).unwrap_or(i32::MAX);
    if says < 0 {
        return Err(Broken::Count { says, found: most });
    }
    let mut cursor = Cursor::new(bytes);
    let (mut previous, mut wanted) = (-1, 0);
    for index in 0..says {
        if cursor.is_at_end() {
            return Err(Broken::Count { says, found: index });
        }
        let broken = |what| Broken::Record { index, what };
        let parts = cursor.record().map_err(broken)?;
        if parts.offset_delta <= previous {
            return Err(broken("its offset is not above the one before"));
        }
        if parts.offset_delta > header.last_delta {
            return Err(broken("its offset lies beyond the last one of the batch"));
        }
        previous = parts.offset_delta;
        wanted += usize::from(header.base + i64::from(parts.offset_delta) >= first);
    }
    if cursor.is_at_end() {
        Ok(wanted)
    } else {
        Err(Broken::Count { says, found: says.saturating_add(1) })
    }
}
