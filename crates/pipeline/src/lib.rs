//! One batch through every stage, the loop that does so, the outage gate, and the ownership of partitions.
//!
//! Knows ports and rules only: which source, model or store is behind them is for the binaries to say.

mod budget;
mod coordinator;
mod gate;
mod inquire;
mod measure;
mod ownership;
mod prepare;
mod relay;
mod replay;
mod run;
mod status;
mod totals;

pub use budget::Budget;
pub use coordinator::{Coordinator, Partitions, fair_share};
pub use gate::{Gate, Gates};
pub use ownership::{Heartbeat, Ownership, own};
pub use relay::Relay;
pub use replay::Replayer;
pub use run::{Ended, Partition, Pipeline, Settings};
pub use status::Status;
pub use tokio_util::sync::CancellationToken;
pub use totals::{Refusal, Share, Totals};
