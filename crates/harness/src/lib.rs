//! What tests of whole processes need: the real services, the workspace's binaries, connections that break on purpose, a
//! scripted HTTP server. A dev-dependency only.
//!
//! A test waits for an event, never for a time: every helper here has a method that returns when the thing has
//! happened. Where only a state can be looked at, [`eventually`] polls.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test helper fails the test by panicking: that is its contract"
)]

pub mod certificate;
pub mod checkout;
pub mod connect;
pub mod http;
pub mod job;
pub mod kafka;
pub mod ledger;
pub mod model;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod registry;
pub mod s3;
pub mod sample;

mod background;
mod service;

pub use tally_testkit::eventually;
