//! The store on a real file.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod contract;
mod faults;
mod opening;
mod support;
