//! The store on a real Postgres.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod audit;
mod commits;
mod connecting;
mod contract;
mod migrations;
mod refusals;
mod relay;
mod support;
mod workers;
