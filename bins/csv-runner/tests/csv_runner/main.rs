//! `csv-runner` as a process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod amounts;
mod answers;
mod budget;
mod crash;
mod database;
mod fence;
mod headers;
mod input;
mod logs;
mod metrics;
mod outage;
mod outside;
mod packed;
mod privacy;
mod refused;
mod rejected;
mod restart;
mod rows;
mod run_batch;
mod settings;
mod support;
mod timestamps;
mod unfit;
mod upgrade;
mod watch;
