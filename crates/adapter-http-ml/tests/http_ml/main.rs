//! The model over HTTP, against scripted servers.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod answers;
mod certificates;
mod inquiries;
mod outages;
mod refusals;
mod requests;
mod support;
