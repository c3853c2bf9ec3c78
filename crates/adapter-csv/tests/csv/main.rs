//! Whole files through the source.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod amounts;
mod batches;
mod blank;
mod changes;
mod headers;
mod open;
mod random;
mod refused;
mod rows;
mod shared;
mod streams;
mod support;
mod surplus;
mod timestamps;
