//! The part of a file's text that is in memory.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tally_ports::Content;

use crate::content::read_at;
use crate::form::Form;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// Consecutive bytes of a file's text.
pub struct Window {
    text: Text,
    buffer: Vec<u8>,
    /// How much of the buffer holds bytes of the text.
    filled: usize,
    /// Where in the text the buffer starts.
    base: u64,
}

/// Where the bytes come from.
enum Text {
    /// A file, read by position, so that others may read the same open file. Nothing behind its size when it was opened
    /// is read.
    Plain {
        file: Arc<dyn Content>,
        size: u64,
    },
    Stream(Stream),
}

/// The text of a file that is none as it is.
struct Stream {
    form: Form,
    file: Arc<dyn Content>,
    /// None before the first byte.
    reader: Option<Box<dyn Read + Send>>,
    /// Where in the text it is.
    at: u64,
    is_ended: bool,
    /// The error that it ended with: whoever reads on sees it again.
    failed: Option<io::Error>,
    /// How many bytes of the file were read.
    passed: Arc<AtomicU64>,
}

impl Window {
    pub fn new(file: &Arc<dyn Content>, form: Form) -> Self {
        let (file, size) = (Arc::clone(file), file.size());
        let text = if form.is_plain() {
            Text::Plain { file, size }
        } else {
            Text::Stream(Stream {
                form,
                file,
                reader: None,
                at: 0,
                is_ended: false,
                failed: None,
                passed: Arc::default(),
            })
        };
        Self { text, buffer: Vec::new(), filled: 0, base: 0 }
    }

    /// Makes `byte` a place in it; forgets everything when it is not.
    pub fn seek(&mut self, byte: u64) -> io::Result<()> {
        while !self.approach(byte, u64::MAX)? {}
        Ok(())
    }

    /// Makes `byte` a place in it, unless that takes reading more than `most` bytes: then it is nearer. Whether it is there.
    pub fn approach(&mut self, byte: u64, most: u64) -> io::Result<bool> {
        if byte < self.base || byte > self.end() {
            self.base = match &mut self.text {
                Text::Plain { .. } => byte,
                Text::Stream(stream) => {
                    stream.skip(byte, most)?;
                    stream.at
                }
            };
            self.filled = 0;
        }
        Ok(self.base <= byte && byte <= self.end())
    }

    /// What it holds from `byte` on.
    pub fn from(&self, byte: u64) -> &[u8] {
        let start = byte.checked_sub(self.base).and_then(|start| usize::try_from(start).ok());
        start.and_then(|start| self.buffer.get(start..self.filled)).unwrap_or_default()
    }

    /// Where in the text its end is.
    pub const fn end(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// Whether its end is that of the text.
    pub fn is_at_end(&self) -> bool {
        match &self.text {
            Text::Plain { size, .. } => self.end() == *size,
            Text::Stream(stream) => stream.is_ended && self.end() == stream.at,
        }
    }

    /// Whether the text is known to end at `byte`.
    pub fn ends_at(&self, byte: u64) -> bool {
        match &self.text {
            Text::Plain { size, .. } => byte >= *size,
            Text::Stream(_) => self.is_at_end() && byte == self.end(),
        }
    }

    /// How many bytes of the file were read, where its text is a stream.
    pub fn passed(&self) -> Option<u64> {
        match &self.text {
            Text::Plain { .. } => None,
            Text::Stream(stream) => Some(stream.passed.load(Ordering::Relaxed)),
        }
    }

    /// Reads on; what is before `keep` may be forgotten.
    pub fn grow(&mut self, keep: u64) -> io::Result<()> {
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
        let end = self.end();
        let room = &mut self.buffer[self.filled..self.filled + CHUNK];
        self.filled += match &mut self.text {
            Text::Plain { file, size } => {
                let wanted = usize::try_from(*size - end).unwrap_or(usize::MAX).min(CHUNK);
                read_at(&**file, &mut room[..wanted], end)?
            }
            Text::Stream(stream) => stream.read(room)?,
        };
        Ok(())
    }

    #[cfg(test)]
    pub const fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

impl Stream {
    /// Fills `buffer`, unless the text ends before, in whatever way.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(again(error));
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.form.open(&self.file, &self.passed)?,
        };
        let mut read = 0;
        while read < buffer.len() && !self.is_ended && self.failed.is_none() {
            match reader.read(&mut buffer[read..]) {
                Ok(0) => self.is_ended = true,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.failed = Some(error),
            }
        }
        self.reader = Some(reader);
        self.at += read as u64;
        match &self.failed {
            Some(error) if read == 0 => Err(again(error)),
            _ => Ok(read),
        }
    }

    /// Reads on to `byte`, from the start where it is behind that; at most `most` bytes. Fails where the text ends before.
    fn skip(&mut self, byte: u64, most: u64) -> io::Result<()> {
        if byte < self.at {
            (self.reader, self.at, self.is_ended, self.failed) = (None, 0, false, None);
        }
        let target = byte.min(self.at.saturating_add(most));
        let mut skipped = vec![0; CHUNK];
        while self.at < target {
            let wanted = usize::try_from(target - self.at).unwrap_or(usize::MAX).min(CHUNK);
            if self.read(&mut skipped[..wanted])? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
