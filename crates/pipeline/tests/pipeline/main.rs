//! Whole runs on fakes.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod crew;
mod support;
mod inquiry;
mod ownership;
mod relay;
mod run;
