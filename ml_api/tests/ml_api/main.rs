//! `ml-api` as a process.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod answers;
mod process;
mod support;
