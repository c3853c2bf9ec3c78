//! The sample and the command that writes it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod command;
mod sample;
