//! What people did.

use serde_json::Value;

/// What somebody did, for the table `acts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who, as far as the machine knows.
    pub who: String,
    /// `positions set`, `gap accepted`, `replay`, `discard` or `purge`.
    pub verb: &'static str,
    /// The flow's name.
    pub flow: String,
    /// What it was done to.
    pub target: String,
    pub reason: String,
    /// What came of it.
    pub result: Value,
}
