//! Acts of operators.

use serde_json::Value;

/// An act of an operator, for the table `acts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// `USER@HOST`.
    pub who: String,
    /// `positions set`, `gap accepted`, `replay`, `discard` or `purge`.
    pub verb: &'static str,
    /// The flow's name.
    pub flow: String,
    /// The dead letters or the partition that it changes.
    pub target: String,
    pub reason: String,
    /// Its result.
    pub result: Value,
}
