//! Record batches, as a fetch answers them: what is read, and what is passed and why.

mod aborted;
mod broken;
pub(crate) mod header;
mod passed;
mod record;
mod records;
mod resync;
mod unread;

use std::ops::RangeInclusive;

use bytes::Bytes;

use self::aborted::Aborted;
pub use self::aborted::AbortedTransaction;
pub use self::broken::Broken;
use self::header::{Header, Prologue};
pub use self::passed::{Marker, Passed, Why};
use self::record::Cursor;
pub use self::record::{Headers, Record};
pub use self::records::{RecordBatch, Records, Timestamps};
use crate::compression::Codec;

/// A marker's key takes 4 bytes; nobody writes one of this size.
const LARGEST_MARKER: usize = 1024;

/// A log never grows further than this between the high watermark of an answer and its bytes.
const LEAD: i64 = i32::MAX as i64;

/// What lies in a log from one offset to another.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Records to be worked on.
    Records(RecordBatch),
    /// No record to be worked on, and why.
    Passed(Passed),
}

impl Piece {
    /// The first offset it covers.
    pub fn first(&self) -> i64 {
        match self {
            Self::Records(batch) => batch.first(),
            Self::Passed(passed) => passed.first,
        }
    }

    /// The last offset it covers.
    pub fn last(&self) -> i64 {
        match self {
            Self::Records(batch) => batch.last(),
            Self::Passed(passed) => passed.last,
        }
    }
}

/// How batches are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The wanted offset: pieces begin there.
    pub from: i64,
    /// The high watermark of the answer; [`i64::MAX`] where it is not known. Only broken batches are judged by it.
    pub high_watermark: i64,
    /// How many bytes the records of one batch may take unpacked.
    pub max_batch_bytes: usize,
    /// What not to read: an answer's aborted transactions. Empty where everything is wanted.
    pub aborted: Vec<AbortedTransaction>,
}

/// Walks over the batches of an answer, unpacking one at a time.
///
/// The pieces follow each other without gap or overlap from [`Reading::from`] on: the first begins there, each begins
/// one after the last of the one before. A batch that is cut off at the end of the bytes is left for the next fetch,
/// from [`next_offset`](Self::next_offset) on. It never panics, and beside a decompressor's own window (at most 8 MiB
/// for lz4, 128 MiB for zstd, touched only as far as is unpacked) it never allocates more than
/// [`Reading::max_batch_bytes`] at a time.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    next: i64,
    high_watermark: i64,
    max_batch_bytes: usize,
    aborted: Aborted,
    /// The lowest offset that the next batch can begin with, once there was one.
    follows: Option<i64>,
    /// What comes after the hole that was just returned.
    held: Option<Held>,
    /// Whether a piece was returned.
    is_under_way: bool,
    /// The first batch holds this offset, or a later one.
    begins: i64,
    /// Whether the last batch may be cut off.
    is_cut: bool,
    /// The most that is read of an answer, if there was more.
    cut_at: Option<usize>,
}

/// What comes after a hole.
#[derive(Clone, Debug)]
enum Held {
    /// A sound batch, not yet unpacked.
    Batch(Bytes),
    Passed(Passed),
}

impl Batches {
    /// Of the bytes of an answer.
    pub fn new(bytes: Bytes, reading: Reading) -> Self {
        let Reading { from, high_watermark, max_batch_bytes, aborted } = reading;
        let aborted = Aborted::new(aborted);
        Self {
            rest: bytes,
            next: from,
            high_watermark,
            max_batch_bytes,
            aborted,
            follows: None,
            held: None,
            is_under_way: false,
            begins: from,
            is_cut: true,
            cut_at: None,
        }
    }

    /// The same of an answer that was asked for from an earlier offset on, and for so many bytes. Where there are fewer,
    /// no batch is cut off: one that leads past the end is broken.
    pub(crate) fn since(self, begins: i64, asked_bytes: usize) -> Self {
        let is_cut = self.cut_at.is_some() || self.rest.len() >= asked_bytes;
        Self { begins, is_cut, ..self }
    }

    /// Where the next piece begins, or the next fetch after the last one.
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// Whether there is nothing left. Otherwise the next piece may be none, too: a batch that is cut off.
    pub fn is_at_end(&self) -> bool {
        self.held.is_none() && self.rest.is_empty()
    }

    /// Whether the first batch is there as far as its own header goes.
    pub(crate) fn begins_with_a_header(&self) -> bool {
        Prologue::read(&self.rest).is_some_and(|first| first.whole().is_some())
    }

    /// The next batch that reaches the wanted offset; none at the end.
    fn read(&mut self) -> Option<Piece> {
        loop {
            let prologue = Prologue::read(&self.rest)?;
            if let Some((header, broken)) = self.find_unread(prologue) {
                return self.pass_unread(&header, broken);
            }
            let piece = match self.take(prologue) {
                Ok(None) => return None,
                Ok(Some(batch)) => self.decode_after_hole(batch),
                Err(spoilt) => self.step_over(prologue, spoilt),
            };
            if let Some(piece) = piece {
                return Some(piece);
            }
        }
    }

    /// The next batch, if it is sound from outside; none where it is cut off.
    fn take(&mut self, prologue: Prologue) -> Result<Option<Bytes>, Broken> {
        let Prologue { base, length: says, magic } = prologue;
        if !(0..=2).contains(&magic) {
            return Err(Broken::Format { magic });
        }
        let whole = prologue.whole().ok_or(Broken::Length { says, found: None })?;
        if whole > self.rest.len() {
            // A broker sends the first batch of an answer whole, whatever the limits are.
            let found = Some(self.rest.len().saturating_sub(header::COUNTED_FROM));
            let is_whole = self.follows.is_none() || !self.is_cut;
            return if is_whole { Err(Broken::Length { says, found }) } else { Ok(None) };
        }
        let batch = self.rest.slice(..whole);
        if magic != 2 {
            return Err(Broken::Format { magic });
        }
        let header = Header::read(&batch).ok_or(Broken::Length { says, found: None })?;
        header.verify(&batch)?;
        let (last, expected) = (header.last(), self.follows.unwrap_or(base));
        let lies_outside = last > self.high_watermark.saturating_add(LEAD)
            || base > i64::MAX - i64::from(i32::MAX);
        if base < expected || last < base || lies_outside {
            let expected = self.follows.unwrap_or(self.next);
            return Err(Broken::Offsets { base, last, expected });
        }
        self.rest = self.rest.slice(whole..);
        self.follows = Some(last + 1);
        Ok(Some(batch))
    }

    /// What a sound batch holds, or the hole before it and the batch the next time.
    fn decode_after_hole(&mut self, batch: Bytes) -> Option<Piece> {
        let base = Header::read(&batch)?.base;
        if base > self.next {
            Some(self.hole(base, Held::Batch(batch)))
        } else {
            self.decode(&batch)
        }
    }

    /// What a sound batch holds; none where it ends before the wanted offset.
    fn decode(&mut self, batch: &Bytes) -> Option<Piece> {
        let header = Header::read(batch)?;
        let last = header.last();
        self.aborted.pass(last);
        let is_aborted = self.aborted.holds(header.producer_id);
        if header.is_control() {
            self.aborted.end(header.producer_id);
        }
        if last < self.next {
            return None;
        }
        let first = header.base.max(self.next);
        let passed = |why| Piece::Passed(Passed { first, last, why });
        Some(if header.is_control() {
            passed(marker(&header, batch).unwrap_or_else(Why::Undecodable))
        } else if header.is_transactional() && is_aborted {
            passed(Why::Aborted)
        } else if header.count == 0 {
            passed(Why::Empty)
        } else {
            match RecordBatch::read(&header, batch, first, self.max_batch_bytes) {
                Ok(Some(records)) => Piece::Records(records),
                Ok(None) => passed(Why::Hole),
                Err(broken) => passed(Why::Undecodable(broken)),
            }
        })
    }

    /// The offsets of a batch whose outside cannot be trusted, up to the next one that can.
    fn step_over(&mut self, prologue: Prologue, broken: Broken) -> Option<Piece> {
        let lowest = self.follows.unwrap_or(self.begins);
        let found = resync::next_batch(&self.rest, prologue, lowest);
        if found.is_none() && self.is_under_way {
            // Asked for first, it comes with what is behind it, which tells where it ends.
            self.rest = Bytes::new();
            return None;
        }
        let range = self.range_of(prologue, &broken, found.map(|(_, base)| base));
        let (first, last) = range.into_inner();
        self.rest = match found {
            // A marker that nobody could read may have ended a transaction: the broker knows, and the next fetch asks it.
            Some((at, _)) if !self.aborted.could_end(last) => self.rest.slice(at..),
            _ => Bytes::new(),
        };
        self.follows = Some(last + 1);
        if last < self.next {
            return None;
        }
        let (first, why) = (first.max(self.next), Why::Undecodable(broken));
        Some(self.passed_after_hole(Passed { first, last, why }))
    }

    /// What was passed, or the hole before it and this the next time.
    fn passed_after_hole(&mut self, passed: Passed) -> Piece {
        if passed.first > self.next {
            self.hole(passed.first, Held::Passed(passed))
        } else {
            Piece::Passed(passed)
        }
    }

    /// Which offsets a broken batch has. Where the next batch is known it ends before that one; otherwise as its own
    /// header says, unless that cannot be true.
    fn range_of(
        &self,
        prologue: Prologue,
        broken: &Broken,
        next_base: Option<i64>,
    ) -> RangeInclusive<i64> {
        let lowest = self.follows.unwrap_or(self.begins);
        let end = next_base.unwrap_or(self.high_watermark);
        let is_misplaced = matches!(broken, Broken::Offsets { .. });
        let base =
            if is_misplaced || !(0..end).contains(&prologue.base) { lowest } else { prologue.base };
        let is_v2 = prologue.is_v2(&self.rest);
        if matches!(broken, Broken::Format { magic: 0 | 1 }) && !is_v2 {
            // A packed message has the offset of the last one inside.
            return lowest.min(base)..=base;
        }
        if let Some(next_base) = next_base {
            return base..=next_base - 1;
        }
        let delta = match Header::read(&self.rest) {
            // Where compaction left holes these two differ; where they differ by damage, too much would be named.
            Some(header) if is_v2 && header.last_delta == header.count - 1 => {
                i64::from(header.last_delta)
            }
            _ => 0,
        };
        let last = base.saturating_add(delta);
        base..=if (base..end).contains(&last) { last } else { base }
    }

    /// The hole before `end`, and what comes then the next time.
    fn hole(&mut self, end: i64, held: Held) -> Piece {
        self.held = Some(held);
        Piece::Passed(Passed { first: self.next, last: end - 1, why: Why::Hole })
    }
}

impl Iterator for Batches {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let piece = match self.held.take() {
            Some(Held::Batch(batch)) => self.decode(&batch)?,
            Some(Held::Passed(passed)) => Piece::Passed(passed),
            None => self.read()?,
        };
        self.next = piece.last() + 1;
        self.is_under_way = true;
        Some(piece)
    }
}

/// How a transaction ended.
fn marker(header: &Header, batch: &Bytes) -> Result<Why, Broken> {
    if header.count == 0 {
        return Ok(Why::Empty);
    }
    let broken = |what| Broken::Record { index: 0, what };
    let codec = Codec::of(header.codec_id()).ok_or(Broken::Codec { id: header.codec_id() })?;
    let bytes = codec.unpack(&header::body(batch), LARGEST_MARKER)?;
    let parts = Cursor::new(&bytes).record().map_err(broken)?;
    // Its version comes first, and then what it is.
    let key = parts.key(&bytes).and_then(|key| key.get(2..)?.first_chunk::<2>());
    let key = key.ok_or(broken("the key of a control record is too short"))?;
    Ok(Why::Marker(match i16::from_be_bytes(*key) {
        0 => Marker::Abort,
        1 => Marker::Commit,
        other => Marker::Other(other),
    }))
}

#[cfg(test)]
mod tests;
