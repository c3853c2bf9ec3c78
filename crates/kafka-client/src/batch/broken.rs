//! Why a batch cannot be decoded.

use crate::compression::Codec;

/// What is wrong with a batch. Says what was found and, where it helps, what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Another format than v2, which brokers write since Kafka 0.11. Formats v0 and v1 are not read: rewrite such a
    /// topic by copying it with a newer producer.
    #[error("its record format is v{magic}, and only v2 (Kafka 0.11 and later) is read")]
    Format {
        /// The format's number.
        magic: i8,
    },
    /// Its length does not fit what was received.
    #[error("its length says {says} bytes, but {fits}", fits = .found.map_or_else(
        || "a header alone takes 49".to_owned(),
        |found| format!("{found} are there"),
    ))]
    Length {
        /// What the length field says.
        says: i32,
        /// How many bytes there are; none where the length is too small for a header.
        found: Option<usize>,
    },
    /// The checksum (CRC-32C) over everything after it does not match.
    #[error("its checksum says {says:08x}, but its bytes give {found:08x}")]
    Checksum {
        /// What the checksum field says.
        says: u32,
        /// What the bytes give.
        found: u32,
    },
    /// Its offsets do not follow those before it, lie beyond the log's end, or run backwards.
    #[error("its offsets run from {base} to {last}, but the next one to come is {expected}")]
    Offsets {
        /// The base offset in its header.
        base: i64,
        /// The last offset in its header.
        last: i64,
        /// The lowest that can follow.
        expected: i64,
    },
    /// It says that it holds more or fewer records than it does.
    #[error("its header counts {says} records, but {found} are there")]
    Count {
        /// What the count field says.
        says: i32,
        /// How many whole records the bytes hold; one more than `says` where bytes are left over.
        found: i32,
    },
    /// A record of it contradicts itself: a length leads past its end, or its offset is not above the one before.
    #[error("its record {index} (from 0) cannot be read: {what}")]
    Record {
        /// Which one, from 0.
        index: i32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A compression that does not exist.
    #[error("its compression has the unknown number {id}")]
    Codec {
        /// The number, of three bits.
        id: u8,
    },
    /// Its compressed bytes cannot be unpacked.
    #[error("its {codec} bytes cannot be unpacked: {reason}")]
    Packed {
        /// How it is compressed.
        codec: Codec,
        /// What the decompressor says.
        reason: String,
    },
    /// It is so large as it was sent that it was not read: only its header is known.
    #[error("it takes {size} bytes as it was sent, and an answer may take {limit}")]
    Unread {
        /// How many bytes it takes.
        size: usize,
        /// How many an answer may take.
        limit: usize,
    },
    /// Its records take more memory than the caller allows.
    #[error("its records take {qualifier}{size} bytes unpacked ({codec}), over the limit of {limit}", qualifier =
        if *.is_exact { "" } else { "more than " })]
    TooLarge {
        /// How it is compressed.
        codec: Codec,
        /// How many bytes the records take.
        size: u64,
        /// Whether `size` is all of it; otherwise counting stopped there.
        is_exact: bool,
        /// How many were allowed.
        limit: usize,
    },
}
