//! One batch through every stage, the loop that does so, the outage gate, and the ownership of partitions.
//!
//! Knows ports and rules only: which source, model or store is behind them is for the binaries to say.

pub mod gate;
pub mod ownership;
pub mod prepare;
pub mod run;
pub mod status;
pub mod totals;

pub use gate::{Gate, Gates};
pub use ownership::{Heartbeat, Ownership, own};
pub use run::{Ended, Partition, Pipeline, Settings};
pub use status::Status;
pub use tokio_util::sync::CancellationToken;
pub use totals::Totals;
