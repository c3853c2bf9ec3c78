//! Records and rules: pure functions without I/O, clock or async. One module per flow.
//!
//! To add a flow: write a module like [`transactions`] with its `Wire`, its record and its rules, implement
//! [`Flow`] for it, then give each store adapter its effect and its migration. Nothing in the pipeline changes.

pub mod amount;
pub mod flow;
pub mod id;
pub mod quality;
pub mod reason;
pub mod timestamp;
pub mod transactions;

pub use flow::{Classified, Column, Flow, Kind};
pub use reason::{Reason, Stage};
