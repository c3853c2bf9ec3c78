//! Whole runs, generic over flow, model and store: [`Files`] takes files into a store, [`stream`] the partitions of a topic,
//! [`replay`] what became dead letters; [`audit`] compares a store with what was read into it.
//!
//! What a program does besides is to parse its command line, open the parts, run, and report.

#[cfg(feature = "audit")]
pub mod audit;
mod counted;
pub mod files;
mod process;
#[cfg(feature = "kafka")]
pub mod replay;
#[cfg(feature = "kafka")]
pub mod stream;

pub use files::Files;
pub use process::{GRACE, Process};
