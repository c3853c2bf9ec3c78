//! Whole runs, generic over flow, model and store: [`Files`] takes files into a store, [`stream`] the partitions of a topic,
//! [`replay`] dead letters; [`audit`] compares a store with its sources.
//!
//! A program only parses its command line, opens the parts, runs, and reports.

#[cfg(feature = "audit")]
pub mod audit;
mod counted;
pub mod files;
mod process;
#[cfg(feature = "kafka")]
pub mod replay;
pub mod retention;
#[cfg(feature = "kafka")]
pub mod stream;
mod unowned;

pub use files::Files;
pub use process::{GRACE, Process};
