//! The stages of a batch, the loop over batches, the outage gate, and the ownership of partitions.
//!
//! Knows ports and rules only; the binaries choose source, model and store.

mod budget;
mod coordinator;
mod gate;
mod inquire;
mod measure;
mod outbox;
mod ownership;
mod prepare;
mod publish;
mod relay;
mod replay;
mod run;
mod status;
mod totals;

pub use budget::Budget;
pub use coordinator::{Coordinator, Partitions, fair_share};
pub use gate::{Gate, Gates};
pub use outbox::{OutboxRelay, show_outbox};
pub use ownership::{Heartbeat, Ownership, own};
pub use publish::Outputs;
pub use relay::Relay;
pub use replay::Replayer;
pub use run::{Ended, Partition, Pipeline, Settings};
pub use status::Status;
pub use tokio_util::sync::CancellationToken;
pub use totals::{Refusal, Share, Totals};
