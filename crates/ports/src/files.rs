//! Files that are found at a place.

use std::future::Future;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::Fault;

/// What became of the files at a place.
pub trait FoundFiles: Send + Sync + 'static {
    /// All of a flow at a place, or those of one name, in order of name and version.
    fn found_files(
        &self,
        flow: &str,
        place: &str,
        name: Option<&str>,
    ) -> impl Future<Output = Result<Vec<FoundFile>, Fault>> + Send;

    /// Writes what became of one, in place of what was known of this version of its name, and adds its attempts to those before;
    /// how many these are then. Nothing where that is [final](FileState::is_final) already.
    fn note_file(
        &self,
        flow: &str,
        place: &str,
        file: &FoundFile,
    ) -> impl Future<Output = Result<Option<u32>, Fault>> + Send;
}

/// A version of a file, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Its name at the place.
    pub name: String,
    /// What tells it from others of this name: size and time of modification, or an `ETag`.
    pub version: String,
    /// In bytes.
    pub size: u64,
    /// When it was last written to, in UTC.
    pub modified: NaiveDateTime,
    /// The hash of its bytes, once they were read.
    pub fingerprint: Option<String>,
    /// What became of it.
    pub state: FileState,
    /// Why, where that is not all.
    pub message: Option<String>,
    /// How often it was begun.
    pub attempts: u32,
    /// How long it has been so, by the store's clock; nothing to whoever writes it.
    pub age: Duration,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileState {
    /// It was begun.
    Reading,
    /// All of its rows are committed.
    Done,
    /// Its bytes were read under another name or at another place.
    Same,
    /// Too many of its rows became dead letters.
    Rejected,
    /// It could not be read to its end, and will be tried again.
    Failed,
}

impl FileState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Reading, Self::Done, Self::Same, Self::Rejected, Self::Failed];

    /// As it is stored, and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Done => "done",
            Self::Same => "same",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more becomes of it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Same | Self::Rejected)
    }

    /// From its name; one that a later version has given it is a failed one.
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == name).unwrap_or(Self::Failed)
    }
}
