//! The store on a real file.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod contract;
mod support;
mod faults;
mod opening;
