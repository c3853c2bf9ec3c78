//! The primitive types of Avro's binary encoding.

use crate::wire::column::Broken;

/// What is left of a datum.
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) const fn new(datum: &'a [u8]) -> Self {
        Self { rest: datum }
    }

    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// A `long`: zigzag, seven bits a byte, the lowest first, at most ten bytes.
    pub(super) fn long(&mut self) -> Result<i64, Broken> {
        let mut coded = 0;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            coded |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit.
                if at == 9 && byte > 1 {
                    break;
                }
                self.rest = &self.rest[at + 1..];
                return Ok((coded >> 1).cast_signed() ^ -(coded & 1).cast_signed());
            }
        }
        Err(if self.rest.len() < 10 { cut() } else { Broken::new("a number of more than 64 bits") })
    }

    /// An `int`.
    pub(super) fn int(&mut self) -> Result<i32, Broken> {
        let long = self.long()?;
        i32::try_from(long).map_err(|_| Broken::new("a number of more than 32 bits"))
    }

    /// The index of a branch or a symbol.
    pub(super) fn index(&mut self) -> Result<usize, Broken> {
        let index = self.int()?;
        usize::try_from(index).map_err(|_| Broken::new("an index below 0"))
    }

    /// So many bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    /// So many bytes as well.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// `bytes`: their number, then they.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Broken> {
        let count = self.long()?;
        let count = usize::try_from(count).map_err(|_| Broken::new("a length below 0"))?;
        self.take(count)
    }

    /// A `string`.
    pub(super) fn string(&mut self) -> Result<&'a str, Broken> {
        str::from_utf8(self.counted()?).map_err(|_| Broken::new("not UTF-8"))
    }
}

fn cut() -> Broken {
    Broken::new("the record ends too early")
}
