//! The codecs of record batches; they are unpacked under a limit.

mod snappy;

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::batch::Broken;

/// The first piece of memory, for what is unpacked as a stream.
const FIRST_PIECE: usize = 16 * 1024;
/// What is over the limit is counted on up to so many times the limit, to say how much it is.
const COUNT_ON: u64 = 2;

/// How a batch is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// snappy, raw or in xerial's framing.
    Snappy,
    /// lz4 frames.
    Lz4,
    /// zstd.
    Zstd,
}

impl Codec {
    /// By its number in a batch's attributes.
    pub(crate) fn of(id: u8) -> Option<Self> {
        Some(match id {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// Its number in a batch's attributes.
    pub(crate) fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Appends what is packed of `bytes`.
    pub(crate) fn pack(self, bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => into.extend_from_slice(bytes),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(into, flate2::Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()?;
            }
            Self::Snappy => into.extend(snap::raw::Encoder::new().compress_vec(bytes)?),
            Self::Lz4 => {
                // Java reads no other blocks. The batch has a checksum of its own.
                let mut builder = lz4::EncoderBuilder::new();
                builder.block_mode(lz4::BlockMode::Independent);
                builder.checksum(lz4::ContentChecksum::NoChecksum);
                let mut encoder = builder.build(into)?;
                encoder.write_all(bytes)?;
                encoder.finish().1?;
            }
            Self::Zstd => {
                zstd::stream::copy_encode(bytes, into, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            }
        }
        Ok(())
    }

    /// The bytes unpacked, without a copy where they are not compressed.
    pub(crate) fn unpack(self, packed: &Bytes, limit: usize) -> Result<Bytes, Broken> {
        let broken = |error: io::Error| self.broken(error.to_string());
        match self {
            Self::None if packed.len() > limit => {
                Err(self.too_large(packed.len() as u64, true, limit))
            }
            Self::None => Ok(packed.clone()),
            Self::Gzip => self.stream(flate2::read::MultiGzDecoder::new(&packed[..]), limit),
            Self::Snappy => snappy::unpack(packed, limit),
            Self::Lz4 => {
                let mut decoder = lz4::Decoder::new(&packed[..]).map_err(broken)?;
                let unpacked = self.stream(&mut decoder, limit)?;
                // The decoder takes the end of its input for the end of the frame.
                decoder.finish().1.map_err(|_| self.broken("its frame is cut off".to_owned()))?;
                Ok(unpacked)
            }
            Self::Zstd => {
                let decoder =
                    zstd::stream::read::Decoder::with_buffer(&packed[..]).map_err(broken)?;
                self.stream(decoder, limit)
            }
        }
    }

    /// All that the decompressor gives, in memory that grows by doubling and never over the limit.
    fn stream(self, mut decoder: impl Read, limit: usize) -> Result<Bytes, Broken> {
        let mut unpacked = Vec::new();
        let mut filled = 0;
        loop {
            if filled == unpacked.len() {
                let larger = filled.saturating_mul(2).max(FIRST_PIECE).min(limit);
                if larger == filled {
                    break;
                }
                unpacked.reserve_exact(larger - filled);
                unpacked.resize(larger, 0);
            }
            let read = self.read(&mut decoder, &mut unpacked[filled..])?;
            if read == 0 {
                unpacked.truncate(filled);
                unpacked.shrink_to_fit();
                return Ok(unpacked.into());
            }
            filled += read;
        }
        // Full to the limit: there may be nothing more.
        let mut scratch = [0; 8192];
        let mut size = limit as u64;
        let stop = size.saturating_mul(COUNT_ON);
        loop {
            let read = self.read(&mut decoder, &mut scratch)?;
            let is_end = read == 0;
            if is_end && size == limit as u64 {
                return Ok(unpacked.into());
            }
            unpacked = Vec::new();
            size += read as u64;
            if is_end || size > stop {
                return Err(self.too_large(size, is_end, limit));
            }
        }
    }

    fn read(self, decoder: &mut impl Read, into: &mut [u8]) -> Result<usize, Broken> {
        loop {
            match decoder.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|error| self.broken(error.to_string())),
            }
        }
    }

    fn broken(self, reason: String) -> Broken {
        Broken::Packed { codec: self, reason }
    }

    fn too_large(self, size: u64, is_exact: bool, limit: usize) -> Broken {
        Broken::TooLarge { codec: self, size, is_exact, limit }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
mod tests;
