//! The store in memory passes the contract of the stores.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod memory;
