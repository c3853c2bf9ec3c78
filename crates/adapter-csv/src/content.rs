//! The bytes of a file of the file system.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use tally_ports::Content;

/// A file of the file system, open.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    stamp: Stamp,
}

/// What changes with a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// In bytes.
    size: u64,
    /// When it was last written to; `None` where the file system does not know.
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl OpenFile {
    /// This file, as it is now.
    ///
    /// # Errors
    /// When the file system does not say what it is.
    pub fn new(file: File) -> io::Result<Self> {
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Self { file, stamp })
    }
}

impl Content for OpenFile {
    fn size(&self) -> u64 {
        self.stamp.size
    }

    fn read_at(&self, buffer: &mut [u8], byte: u64) -> io::Result<usize> {
        self.file.read_at(buffer, byte)
    }

    fn change(&self) -> io::Result<Option<String>> {
        let now = Stamp::of(&self.file.metadata()?);
        Ok(if now.size != self.stamp.size {
            Some(format!("it had {} bytes, now {}", self.stamp.size, now.size))
        } else if now.modified != self.stamp.modified {
            Some("somebody wrote to it".to_owned())
        } else {
            None
        })
    }
}

/// Fills `buffer` from `byte` on; fails when the file ends before.
pub(crate) fn read_at(content: &dyn Content, buffer: &mut [u8], byte: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match content.read_at(&mut buffer[read..], byte + read as u64) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
