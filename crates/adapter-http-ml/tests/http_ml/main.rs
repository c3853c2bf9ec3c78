//! The model over HTTP, against scripted servers.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod answers;
mod inquiries;
mod outages;
mod refusals;
mod support;
