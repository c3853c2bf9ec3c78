//! The fixed part of a batch.

use bytes::Bytes;

use super::Broken;

/// Where what the length counts begins.
pub(crate) const COUNTED_FROM: usize = 12;
/// Where what the checksum covers begins.
pub(crate) const CHECKED_FROM: usize = 21;
/// How long a header of format v2 is.
pub(crate) const LEN: usize = 61;
/// Until here all formats are alike enough to tell which one it is.
pub(super) const PROLOGUE_LEN: usize = 17;

/// The start of a batch of any format.
#[derive(Clone, Copy)]
pub(super) struct Prologue {
    pub(super) base: i64,
    pub(super) length: i32,
    pub(super) magic: i8,
}

impl Prologue {
    /// None where so few bytes are left that nothing can be said.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < PROLOGUE_LEN {
            return None;
        }
        Some(Self { base: i64_at(bytes, 0)?, length: i32_at(bytes, 8)?, magic: i8_at(bytes, 16)? })
    }

    /// How many bytes the whole batch takes, unless its length cannot be true.
    pub(super) fn whole(self) -> Option<usize> {
        let whole = usize::try_from(self.length).ok()?.checked_add(COUNTED_FROM)?;
        let least = if self.magic == 2 { LEN } else { PROLOGUE_LEN };
        (whole >= least).then_some(whole)
    }

    /// Whether the batch at the start of `bytes` is of format v2: by its magic or, as that is not covered by the
    /// checksum, by its checksum.
    pub(super) fn is_v2(self, bytes: &[u8]) -> bool {
        let batch = self.whole().and_then(|whole| bytes.get(..whole));
        let header = batch.and_then(Header::read);
        self.magic == 2
            || header.zip(batch).is_some_and(|(header, batch)| header.verify(batch).is_ok())
    }
}

/// The header of a batch of format v2 (`DefaultRecordBatch` of Kafka).
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) base: i64,
    pub(super) attributes: i16,
    pub(super) last_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) count: i32,
    checksum: u32,
}

impl Header {
    /// Of a batch whose magic is 2; none where it is cut off.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            base: i64_at(bytes, 0)?,
            checksum: u32::from_be_bytes(array(bytes, 17)?),
            attributes: i16::from_be_bytes(array(bytes, CHECKED_FROM)?),
            last_delta: i32_at(bytes, 23)?,
            base_timestamp: i64_at(bytes, 27)?,
            max_timestamp: i64_at(bytes, 35)?,
            producer_id: i64_at(bytes, 43)?,
            count: i32_at(bytes, 57)?,
        })
    }

    /// Over the whole batch.
    pub(super) fn verify(&self, batch: &[u8]) -> Result<(), Broken> {
        let found = crc32c::crc32c(batch.get(CHECKED_FROM..).unwrap_or_default());
        let says = self.checksum;
        if found == says { Ok(()) } else { Err(Broken::Checksum { says, found }) }
    }

    pub(super) fn last(&self) -> i64 {
        self.base.saturating_add(self.last_delta.into())
    }

    /// The number of its compression.
    pub(super) fn codec_id(&self) -> u8 {
        (self.attributes & 0b111).to_be_bytes()[1]
    }

    pub(super) fn is_log_append(&self) -> bool {
        self.attributes & 0b1000 != 0
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0b1_0000 != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0b10_0000 != 0
    }
}

/// The records of a whole batch, as they are packed.
pub(super) fn body(batch: &Bytes) -> Bytes {
    batch.slice(LEN.min(batch.len())..)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn i8_at(bytes: &[u8], at: usize) -> Option<i8> {
    array(bytes, at).map(i8::from_be_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array(bytes, at).map(i32::from_be_bytes)
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    array(bytes, at).map(i64::from_be_bytes)
}
