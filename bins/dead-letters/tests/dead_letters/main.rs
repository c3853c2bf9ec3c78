//! `dead-letters` as a process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod acts;
mod chosen;
mod corrected;
mod looking;
mod races;
mod repair;
mod replay;
mod settings;
mod support;
mod topics;
