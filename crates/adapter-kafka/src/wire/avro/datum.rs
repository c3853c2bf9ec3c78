//! The primitive types of Avro's binary encoding.

use bytes::Bytes;
use tally_domain::ByteString;

use crate::wire::broken::Broken;

/// What is left of a datum.
#[derive(Clone)]
pub(in crate::wire) struct Datum<'a> {
    rest: &'a [u8],
    /// What it is a part of.
    payload: &'a Bytes,
}

impl<'a> Datum<'a> {
    /// The datum that is the `rest` of `payload`.
    pub(super) const fn new(payload: &'a Bytes, rest: &'a [u8]) -> Self {
        Self { rest, payload }
    }

    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// What comes before the `rest` of it.
    pub(super) fn until(&self, rest: &Self) -> &'a [u8] {
        &self.rest[..self.left() - rest.left()]
    }

    /// That nothing is left of it.
    pub(super) fn end(&self) -> Result<(), Broken> {
        match self.left() {
            0 => Ok(()),
            left => Err(Broken::new(format!("{left} bytes come after the record"))),
        }
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

    /// A `boolean`.
    pub(super) fn boolean(&mut self) -> Result<bool, Broken> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Broken::new("a boolean that is neither true nor false")),
        }
    }

    /// `bytes` that are a datum themselves.
    pub(super) fn inner(&mut self) -> Result<Self, Broken> {
        Ok(Self { rest: self.counted()?, payload: self.payload })
    }

    /// `bytes`: their number, then they.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Broken> {
        let count = self.long()?;
        let count = usize::try_from(count).map_err(|_| Broken::new("a length below 0"))?;
        self.take(count)
    }

    /// A `string`, as a part of the payload.
    pub(super) fn string(&mut self) -> Result<ByteString, Broken> {
        let text = self.payload.slice_ref(self.counted()?);
        ByteString::try_from(text).map_err(|_| Broken::new("not UTF-8"))
    }
}

fn cut() -> Broken {
    Broken::new("the record ends too early")
}
