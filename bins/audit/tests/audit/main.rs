//! `audit` as a process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod clean;
mod outside;
mod source;
mod support;
mod topic;
mod violations;
