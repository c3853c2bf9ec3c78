//! A batch that is larger than an answer may be.
//!
//! A broker sends the first batch whole, however large it is; of that as much is read as an answer may take. Its header
//! tells which offsets it has. Its checksum cannot be looked at.

use bytes::Bytes;

use super::header::{Header, Prologue};
use super::{Batches, Broken, Passed, Piece, Why};

impl Batches {
    /// The same of an answer that was larger than the `limit` up to which it was read.
    pub(crate) fn cut_at(self, limit: usize) -> Self {
        Self { cut_at: Some(limit), ..self }
    }

    /// Whether the first batch is one: its header, and what is wrong with it.
    pub(super) fn find_unread(&self, prologue: Prologue) -> Option<(Header, Broken)> {
        let limit = self.cut_at.filter(|_| self.follows.is_none() && prologue.magic == 2)?;
        let size = prologue.whole().filter(|size| *size > self.rest.len())?;
        let header = Header::read(&self.rest)?;
        let is_plausible =
            header.base >= 0 && (header.base..self.high_watermark).contains(&header.last());
        is_plausible.then_some((header, Broken::Unread { size, limit }))
    }

    /// Its offsets; none where it ends before the wanted one.
    pub(super) fn pass_unread(&mut self, header: &Header, broken: Broken) -> Option<Piece> {
        self.rest = Bytes::new();
        let last = header.last();
        if last < self.next {
            return None;
        }
        self.aborted.pass(last);
        let is_aborted = header.is_transactional() && self.aborted.holds(header.producer_id);
        let why = if is_aborted { Why::Aborted } else { Why::Undecodable(broken) };
        Some(self.passed_after_hole(Passed { first: header.base.max(self.next), last, why }))
    }
}
