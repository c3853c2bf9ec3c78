//! Reads recorded bytes, and partitions of the real Kafka.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test panics")]

mod committing;
mod fetching;
mod older;
mod producing;
mod recorded;
mod repeated;
mod secured;
mod serial;
mod support;
mod topics;
mod transactions;
