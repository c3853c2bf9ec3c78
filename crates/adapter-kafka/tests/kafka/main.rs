//! Against the real Kafka and registry, and records in every format.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test panics")]

mod batches;
mod brokers;
mod compaction;
mod headers;
mod memory;
mod progress_topic;
mod recreated;
mod serial;
mod support;
mod transactions;
mod warnings;
mod wire;
