//! What tests need and nothing else does: the real services, connections that break on purpose, the workspace's
//! binaries as processes, a scripted HTTP server. A dev-dependency only.
//!
//! A test waits for an event, never for a time: every helper here has a method that returns when the thing has
//! happened. Where only a state can be looked at, [`eventually`] is the one place that polls.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test helper fails the test by panicking: that is its contract"
)]

pub mod accounts;
pub mod build;
pub mod clock;
pub mod contract;
pub mod http;
#[cfg(feature = "sqlite")]
pub mod job;
pub mod kafka;
#[cfg(feature = "sqlite")]
pub mod ledger;
pub mod memory;
#[cfg(feature = "sqlite")]
pub mod model;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod registry;
#[cfg(feature = "sqlite")]
pub mod sample;
pub mod visits;

mod background;
mod poll;
mod service;

pub use poll::eventually;
