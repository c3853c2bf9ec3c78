//! Whether a file is still what it was.

use std::fs::{File, Metadata};
use std::io;
use std::time::SystemTime;

/// What changes with a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// In bytes.
    pub size: u64,
    /// When it was last written to; `None` where the file system does not know.
    modified: Option<SystemTime>,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }

    /// What happened to the open file since, if anything.
    pub fn change(&self, file: &File) -> io::Result<Option<String>> {
        let now = Self::of(&file.metadata()?);
        Ok(if now.size != self.size {
            Some(format!("it had {} bytes, now {}", self.size, now.size))
        } else if now.modified != self.modified {
            Some("somebody wrote to it".to_owned())
        } else {
            None
        })
    }
}
