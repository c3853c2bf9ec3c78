//! Runs over files.

mod null_store;
mod profile;
mod rejection;
mod report;
mod run;
mod watcher;

pub use self::null_store::NullStore;
pub use self::profile::{ColumnProfile, Extreme, Profiles};
pub use self::report::{FileReport, Refused, Report, State};
pub use self::run::{Files, Input, Settings};
pub use self::watcher::Watching;

/// An observer of a run over files.
pub trait Watch: Send + Sync {
    /// Reading of a file of `bytes` bytes begins, from byte `done` on.
    fn begin(&self, path: &str, bytes: u64, done: u64) {
        let _ = (path, bytes, done);
    }

    /// Everything before byte `done` is committed, and `rows` rows of all files so far.
    fn advance(&self, done: u64, rows: i64) {
        let _ = (done, rows);
    }

    /// An error is about to be logged.
    fn close(&self) {}
}

/// No observer.
impl Watch for () {}
