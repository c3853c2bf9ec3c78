//! Which ids there were.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The ids so far in the segment that a partition is in: as many positions as the window of rates has, from a multiple of
/// that on. So whether an id is repeated does not depend on how records come in batches, and where batches end with
/// segments, as those of a file do by default, nothing is kept. Of an id only a hash is: two in a segment of 1,000 are taken
/// for one in 8,600 segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub(super) struct Seen {
    /// The first position of the segment.
    from: i64,
    hashes: BTreeSet<Hash>,
}

type Hash = [u8; 4];

/// The hashes one after the other, in base64.
#[derive(Serialize, Deserialize)]
struct Stored {
    from: i64,
    hashes: String,
}

impl Seen {
    /// Whether an earlier record of the segment that `position` is in has this id.
    pub(super) fn is_repeated(&mut self, id: Uuid, position: i64, window: usize) -> bool {
        let from = start(position, window);
        if from != self.from {
            *self = Self { from, hashes: BTreeSet::new() };
        }
        !self.hashes.insert(hash(id))
    }

    /// Forgets the segment if the next position is in another one.
    pub(super) fn pass(&mut self, last: i64, window: usize) {
        if start(last + 1, window) != self.from {
            *self = Self::default();
        }
    }
}

fn start(position: i64, window: usize) -> i64 {
    let window = i64::try_from(window).unwrap_or(i64::MAX).max(1);
    position - position.rem_euclid(window)
}

/// The first bytes of the id times 2^128 / golden ratio: ids that follow each other end up far apart.
fn hash(id: Uuid) -> Hash {
    let product = id.as_u128().wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let [a, b, c, d, ..] = product.to_be_bytes();
    [a, b, c, d]
}

impl From<Seen> for Stored {
    fn from(Seen { from, hashes }: Seen) -> Self {
        let bytes: Vec<u8> = hashes.into_iter().flatten().collect();
        Self { from, hashes: BASE64_STANDARD_NO_PAD.encode(bytes) }
    }
}

impl TryFrom<Stored> for Seen {
    type Error = &'static str;

    fn try_from(Stored { from, hashes }: Stored) -> Result<Self, Self::Error> {
        let bytes = BASE64_STANDARD_NO_PAD.decode(hashes).map_err(|_| "hashes are not base64")?;
        match bytes.as_chunks() {
            (hashes, []) => Ok(Self { from, hashes: hashes.iter().copied().collect() }),
            _ => Err("hashes of other lengths"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(seen: &mut Seen, ids: &[u128], from: i64) -> Vec<bool> {
        let positions = from..;
        let judge = |(&id, position)| seen.is_repeated(Uuid::from_u128(id), position, 4);
        ids.iter().zip(positions).map(judge).collect()
    }

    #[test]
    fn an_id_is_repeated_within_a_segment_only() {
        let mut seen = Seen::default();
        let found = repeated(&mut seen, &[7, 8, 7, 7, 7, 8, 8, 7], 0);
        assert_eq!(found, [false, false, true, true, false, false, true, true]);
        // A re-read from an earlier segment begins it anew.
        assert_eq!(repeated(&mut seen, &[7], 3), [false]);
    }

    #[test]
    fn only_an_unfinished_segment_is_kept() {
        let mut seen = Seen::default();
        repeated(&mut seen, &[1, 2], 4);
        seen.pass(5, 4);
        let stored = serde_json::to_string(&seen).unwrap();
        assert_eq!(stored, r#"{"from":4,"hashes":"PG7zcp43ebk"}"#);
        assert_eq!(serde_json::from_str::<Seen>(&stored).unwrap(), seen);
        seen.pass(7, 4);
        assert_eq!(seen, Seen::default());
        for odd in [r#"{"from":4,"hashes":"PG7z"}"#, r#"{"from":4,"hashes":"?"}"#] {
            serde_json::from_str::<Seen>(odd).unwrap_err();
        }
    }

    #[test]
    fn ids_that_follow_each_other_have_hashes_of_their_own() {
        let mut seen = Seen::default();
        for id in 0..10_000 {
            assert!(!seen.is_repeated(Uuid::from_u128(id), 0, 10_000));
        }
    }
}
