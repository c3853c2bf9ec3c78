//! Snappy, as librdkafka writes it (one raw block) and as Java does (xerial's framing: blocks behind their lengths).

use std::iter;

use bytes::Bytes;

use super::Codec;
use crate::batch::Broken;

/// What xerial's framing begins with, before its version and the lowest version that can read it.
pub(super) const XERIAL: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER: usize = 16;

pub(super) fn unpack(packed: &[u8], limit: usize) -> Result<Bytes, Broken> {
    let mut size = 0_u64;
    for block in blocks(packed) {
        size += snap::raw::decompress_len(block?).map_err(broken)? as u64;
    }
    let size = match usize::try_from(size) {
        Ok(size) if size <= limit => size,
        _ => return Err(Codec::Snappy.too_large(size, true, limit)),
    };
    let mut unpacked = vec![0; size];
    let mut filled = 0;
    for block in blocks(packed) {
        let into = &mut unpacked[filled..];
        filled += snap::raw::Decoder::new().decompress(block?, into).map_err(broken)?;
    }
    unpacked.truncate(filled);
    Ok(unpacked.into())
}

/// The raw blocks, in order.
fn blocks(packed: &[u8]) -> impl Iterator<Item = Result<&[u8], Broken>> {
    let framed = packed.starts_with(XERIAL).then(|| packed.get(XERIAL_HEADER..)).flatten();
    let raw = framed.is_none().then_some(Ok(packed));
    let mut rest = framed.unwrap_or_default();
    let in_frames = iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((block, behind)) = split(rest) else {
            rest = &[];
            return Some(Err(Codec::Snappy.broken("a block of it is cut off".to_owned())));
        };
        rest = behind;
        Some(Ok(block))
    });
    raw.into_iter().chain(in_frames)
}

/// The block behind its length, and what is behind it.
fn split(framed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = framed.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: snap::Error) -> Broken {
    Codec::Snappy.broken(error.to_string())
}
