//! Whole runs on fakes.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod coordinator;
mod exactly_once;
mod inquiry;
mod ownership;
mod publishing;
mod relay;
mod run;
mod support;
