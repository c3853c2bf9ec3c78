//! Sets of positions and of what they publish, in a few bytes each.

use std::collections::BTreeMap;

/// So many positions are kept together.
const BLOCK: usize = 256;
const WIDTH: i64 = 256;

/// A set of positions: a bit each where they are dense.
#[derive(Clone, Debug, Default)]
pub(super) struct Positions(BTreeMap<i64, Bits>);

/// The Nth records of positions, each perhaps with what it is.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<i64, BTreeMap<u32, Block>>);

/// What a record is, as far as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The index of its topic.
    pub(super) topic: u8,
    /// Of key and value.
    pub(super) digest: u32,
}

#[derive(Clone, Debug, Default)]
struct Bits([u64; BLOCK / 64]);

#[derive(Debug, Default)]
struct Block {
    seen: Bits,
    contents: Option<Box<Contents>>,
}

#[derive(Debug)]
struct Contents {
    topics: [u8; BLOCK],
    digests: [u32; BLOCK],
}

impl Bits {
    /// Whether it was not there.
    fn insert(&mut self, index: usize) -> bool {
        let (word, bit) = (&mut self.0[index / 64], 1 << (index % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }
}

/// The block of a position, and its place there.
fn place(position: i64) -> (i64, usize) {
    let index = usize::try_from(position.rem_euclid(WIDTH)).unwrap_or_default();
    (position.div_euclid(WIDTH), index)
}

impl Positions {
    pub(super) fn insert(&mut self, position: i64) {
        let (block, index) = place(position);
        self.0.entry(block).or_default().insert(index);
    }

    pub(super) fn has(&self, position: i64) -> bool {
        let (block, index) = place(position);
        self.0.get(&block).is_some_and(|bits| bits.has(index))
    }

    /// Leaves out those that lie from `first` to `last`.
    pub(super) fn remove(&mut self, first: i64, last: i64) {
        if last < first {
            return;
        }
        let (from, to) = (place(first).0, place(last).0);
        for (block, bits) in self.0.range_mut(from..=to) {
            for (index, position) in (0..BLOCK).zip(block * WIDTH..) {
                if (first..=last).contains(&position) {
                    bits.remove(index);
                }
            }
        }
        self.0.retain(|_, bits| bits.0.iter().any(|word| *word != 0));
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().flat_map(|(block, bits)| {
            let all = (0..BLOCK).zip(block * WIDTH..);
            all.filter(|(index, _)| bits.has(*index)).map(|(_, position)| position)
        })
    }
}

impl Ids {
    /// Adds one; what was there before. With the content where that is compared.
    pub(super) fn insert(&mut self, position: i64, n: u32, content: Option<Content>) -> Found {
        let (block, index) = place(position);
        let block = self.0.entry(block).or_default().entry(n).or_default();
        if !block.seen.insert(index) {
            return Found::Record(block.content(index));
        }
        if let Some(Content { topic, digest }) = content {
            let contents = block.contents.get_or_insert_with(|| {
                Box::new(Contents { topics: [0; BLOCK], digests: [0; BLOCK] })
            });
            contents.topics[index] = topic;
            contents.digests[index] = digest;
        }
        Found::Nothing
    }

    /// Whether the Nth record of a position is there.
    pub(super) fn has(&self, position: i64, n: u32) -> bool {
        self.found(position, n) != Found::Nothing
    }

    /// What the Nth record of a position is.
    pub(super) fn found(&self, position: i64, n: u32) -> Found {
        let (block, index) = place(position);
        match self.0.get(&block).and_then(|block| block.get(&n)) {
            Some(block) if block.seen.has(index) => Found::Record(block.content(index)),
            _ => Found::Nothing,
        }
    }

    /// Which records of a position are there.
    pub(super) fn of(&self, position: i64) -> impl Iterator<Item = u32> {
        let (block, index) = place(position);
        let all = self.0.get(&block).into_iter().flatten();
        all.filter(move |(_, block)| block.seen.has(index)).map(|(n, _)| *n)
    }
}

/// What is there under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A record, with what it is where that is kept.
    Record(Option<Content>),
}

impl Block {
    fn content(&self, index: usize) -> Option<Content> {
        let contents = self.contents.as_ref().filter(|_| self.seen.has(index))?;
        Some(Content { topic: contents.topics[index], digest: contents.digests[index] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: [i64; 6] = [0, 63, 64, 255, 256, 1 << 40];

    #[test]
    fn positions_are_kept_each() {
        let mut positions = Positions::default();
        PLACES.into_iter().rev().for_each(|position| positions.insert(position));
        assert_eq!(positions.iter().collect::<Vec<_>>(), PLACES);
        assert!(positions.has(64) && !positions.has(65) && !positions.has(64 + 256));
        positions.remove(64, 256);
        assert_eq!(positions.iter().collect::<Vec<_>>(), [0, 63, 1 << 40]);
        positions.remove(0, i64::MAX);
        assert!(positions.0.is_empty());
    }

    #[test]
    fn ids_are_kept_with_what_they_are() {
        let mut ids = Ids::default();
        let content = |digest| Some(Content { topic: 1, digest });
        for (digest, position) in (0..).zip(PLACES) {
            assert_eq!(ids.insert(position, 0, content(digest)), Found::Nothing);
        }
        assert_eq!(ids.insert(64, 7, None), Found::Nothing);
        assert_eq!(ids.insert(64, 0, content(9)), Found::Record(content(2)));
        assert_eq!(ids.insert(64, 7, content(9)), Found::Record(None));
        assert_eq!(ids.found(255, 0), Found::Record(content(3)));
        assert_eq!(ids.found(254, 0), Found::Nothing);
        assert_eq!(ids.found(64, 7), Found::Record(None));
        assert_eq!(ids.of(64).collect::<Vec<_>>(), [0, 7]);
        assert!(ids.has(64, 7) && !ids.has(63, 7) && ids.has(63, 0));
    }
}
