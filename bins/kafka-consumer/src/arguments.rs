//! The command line.

use clap::{Parser, Subcommand};
use tally_adapter_kafka::Gap;
use tally_app::{ConsumerFlags, Flags, FlowFlag};

/// Takes a Kafka topic through validation, quality rules and the flow's model into a database, so that every record can
/// be accounted for. Run more of them to share the partitions.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = false)]
pub struct Arguments {
    /// Stop at each partition's end as it is now, once all are there, whoever brought them there
    #[arg(long)]
    pub until_end: bool,
    /// Pass over a range that cannot be read, as a stopped partition printed it; once
    #[arg(long, value_name = "TOPIC/PARTITION@FIRST-LAST")]
    pub accept_gap: Vec<Gap>,
    /// Which flow.
    #[command(flatten)]
    pub flow: FlowFlag,
    /// The flags of a reader of topics.
    #[command(flatten)]
    pub consumer: ConsumerFlags,
    /// The flags of what takes records into a store.
    #[command(flatten)]
    pub flags: Flags,
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Where the group stands
    Positions {
        /// What to do with the positions.
        #[command(subcommand)]
        command: Positions,
    },
}

/// What to do with positions.
#[derive(Debug, Subcommand)]
pub enum Positions {
    /// Show where each partition stands
    Show,
    /// Move a partition that nobody owns: on within its pass, or back by a new one
    Set {
        /// Which partition [default: all of them]
        #[arg(long, value_name = "N")]
        partition: Option<i32>,
        /// Where to: earliest, latest, an offset or a timestamp
        #[arg(long, value_name = "PLACE")]
        to: String,
        /// Why, for the ledger
        #[arg(long, value_name = "TEXT", default_value = "no reason given")]
        reason: String,
    },
}
