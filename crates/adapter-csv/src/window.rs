//! The part of the file that is in memory.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// Consecutive bytes of a file. Reads by position, so that others may read the same open file.
#[derive(Debug, Default)]
pub struct Window {
    buffer: Vec<u8>,
    /// How much of the buffer holds bytes of the file.
    filled: usize,
    /// Where in the file the buffer starts.
    base: u64,
}

impl Window {
    /// Makes `byte` a place in it; forgets everything when it is not.
    pub fn seek(&mut self, byte: u64) {
        if byte < self.base || byte > self.end() {
            self.base = byte;
            self.filled = 0;
        }
    }

    /// What it holds from `byte` on.
    pub fn from(&self, byte: u64) -> &[u8] {
        let start = byte.checked_sub(self.base).and_then(|start| usize::try_from(start).ok());
        start.and_then(|start| self.buffer.get(start..self.filled)).unwrap_or_default()
    }

    /// Where in the file its end is.
    pub const fn end(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// Reads on, at most to `limit`; what is before `keep` may be forgotten.
    pub fn grow(&mut self, file: &File, keep: u64, limit: u64) -> io::Result<()> {
        if self.filled + CHUNK > self.buffer.len() {
            let kept_from = usize::try_from(keep.saturating_sub(self.base))
                .unwrap_or(usize::MAX)
                .min(self.filled);
            self.buffer.copy_within(kept_from..self.filled, 0);
            self.filled -= kept_from;
            self.base += kept_from as u64;
        }
        if self.filled + CHUNK > self.buffer.len() {
            self.buffer.reserve_exact(self.filled + CHUNK - self.buffer.len());
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        let wanted = usize::try_from(limit - self.end()).unwrap_or(usize::MAX).min(CHUNK);
        let end = self.end();
        self.filled += read_at(file, &mut self.buffer[self.filled..self.filled + wanted], end)?;
        Ok(())
    }

    #[cfg(test)]
    pub const fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

/// Fills `buffer` from `byte` on; fails when the file ends before.
pub fn read_at(file: &File, buffer: &mut [u8], byte: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], byte + read as u64) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
