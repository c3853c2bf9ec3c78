//! Places where files appear, and the bytes of a file.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// The bytes of one version of a file. Its calls block: they are made where that is allowed.
pub trait Content: Debug + Send + Sync + 'static {
    /// How many there are.
    fn size(&self) -> u64;

    /// Some of those from `byte` on, at least one unless the file ends there. Fails where the file is another version by now, if
    /// that is noticed.
    fn read_at(&self, buffer: &mut [u8], byte: u64) -> io::Result<usize>;

    /// What happened to the file since, if anything.
    fn change(&self) -> io::Result<Option<String>>;
}

/// A place where files appear.
pub trait Place: Display + Send + Sync + 'static {
    /// The files that are there now, in any order.
    ///
    /// # Errors
    /// Why it cannot be looked at now.
    fn list(&self) -> impl Future<Output = Result<Vec<Listed>, String>> + Send;

    /// The bytes of a file, or nothing where it is not there any more as it was listed.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn open(
        &self,
        file: &Listed,
    ) -> impl Future<Output = Result<Option<Arc<dyn Content>>, String>> + Send;

    /// What a file is called in messages, and as a source.
    fn path_of(&self, name: &str) -> PathBuf;
}

/// A file at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// What tells it from others of this name.
    pub version: String,
    /// In bytes.
    pub size: u64,
    /// When it was last written to.
    pub modified: DateTime<Utc>,
}
