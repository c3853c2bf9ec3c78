//! `kafka-consumer` as a process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod companies;
mod content;
mod crash;
mod group;
mod log;
mod logins;
mod outages;
mod run_stream;
mod security;
mod support;
mod tail;
mod writers;
