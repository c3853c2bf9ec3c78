//! `audit` as a process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;
mod clean;
mod outside;
mod source;
mod topic;
mod violations;
