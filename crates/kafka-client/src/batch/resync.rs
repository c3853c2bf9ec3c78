//! Where to read on behind a batch whose length or checksum is wrong.

use super::header::{self, Header, Prologue};

/// Checksums over candidates are the only costly part of the search.
const MOST_CANDIDATES: usize = 16;

/// Where the next batch begins and its base offset, behind the one at the start of `bytes`: where that one's length
/// says, or, if nothing like a batch is there, at the first bytes that are one down to their checksum. `lowest` is an
/// offset that it lies above.
pub(super) fn next_batch(bytes: &[u8], broken: Prologue, lowest: i64) -> Option<(usize, i64)> {
    if let Some(at) = broken.whole().filter(|whole| *whole <= bytes.len()) {
        // None where the next one is cut off, or there is none.
        let next = Prologue::read(&bytes[at..])?;
        if is_plausible(next, lowest) {
            return Some((at, next.base));
        }
    }
    search(bytes, lowest)
}

fn is_plausible(next: Prologue, lowest: i64) -> bool {
    let above = next.base.checked_sub(lowest);
    let is_near = above.is_some_and(|above| (1..=i64::from(i32::MAX)).contains(&above));
    (0..=2).contains(&next.magic) && next.whole().is_some() && is_near
}

fn search(bytes: &[u8], lowest: i64) -> Option<(usize, i64)> {
    let mut candidates = 0;
    for at in 1..bytes.len().saturating_sub(header::LEN - 1) {
        let rest = &bytes[at..];
        let next = Prologue::read(rest)?;
        let Some(whole) = next.whole().filter(|whole| *whole <= rest.len()) else { continue };
        if next.magic != 2 || !is_plausible(next, lowest) {
            continue;
        }
        if Header::read(rest).is_some_and(|header| header.verify(&rest[..whole]).is_ok()) {
            return Some((at, next.base));
        }
        candidates += 1;
        if candidates == MOST_CANDIDATES {
            return None;
        }
    }
    None
}
