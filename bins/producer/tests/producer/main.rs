//! `producer` as a process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod generated;
mod rejects;
mod rows;
mod serial;
mod start;
mod support;
mod transactional;
