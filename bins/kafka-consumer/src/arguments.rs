//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use tally_adapter_kafka::Gap;
use tally_app::{ConsumerFlags, Flags, FlowFlag};

/// Takes a Kafka topic through validation, quality rules and the flow's model into a database, so that every record can
/// be accounted for. Run more of them to share the partitions.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = false)]
pub struct Arguments {
    /// Stop when all partitions have reached their ends as of the start, by this consumer or others
    #[arg(long)]
    pub until_end: bool,
    /// Skip a range that cannot be read, once; as a stopped partition printed it
    #[arg(long, value_name = "TOPIC/PARTITION@FIRST-LAST")]
    pub accept_gap: Vec<Gap>,
    /// Which flow.
    #[command(flatten)]
    pub flow: FlowFlag,
    /// The flags of a reader of topics.
    #[command(flatten)]
    pub consumer: ConsumerFlags,
    /// The flags of binaries that write records to a store.
    #[command(flatten)]
    pub flags: Flags,
    /// A subcommand instead of consuming.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show or set the positions of the group
    Positions {
        /// What to do with the positions.
        #[command(subcommand)]
        command: Positions,
    },
    /// Show the flow's greatest counters, as they are in the database; a run shows them at its end, too
    Top {
        /// Format of the counters on standard output
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// Format of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables with bars.
    Table,
    /// One JSON object.
    Json,
}

/// What to do with positions.
#[derive(Debug, Subcommand)]
pub enum Positions {
    /// Show the position of each partition
    Show,
    /// Set the position of a partition without an owner: forward in its pass, or back in a new pass
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
