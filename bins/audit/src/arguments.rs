//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tally_app::{FlowFlag, GroupFlags, StoreFlags};

/// Proves that every record ever read is accounted for: checks a database's ledger for consistency and against positions,
/// dead letters and rows, and with --source or --brokers also against the files and the topic. Changes nothing, and may
/// run while others write.
///
/// With --brokers it also reads what is committed in the topics that the flow publishes to: each record whose source is
/// given must be there under its tally.id, in its topic and with its key and value, and nothing else under the ids of this
/// database. Needs the settings flows.NAME.publish that the flow had.
///
/// Exit codes: 0 no violation; 65 violations, each of them named; 66 a file cannot be read; 69 the
/// database or the brokers are unavailable; 74 the report cannot be written; 78 a setting is wrong, or the
/// database is not a Tally database.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Also compare with these files: each of their rows must be counted, and must have left its rows or a dead letter
    ///
    /// Without --flow a file is compared as each flow that has read it. Needs the settings csv.* that csv-runner had.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub source: Vec<PathBuf>,
    /// Format of the report on standard output
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Which flow's files and topic.
    #[command(flatten)]
    pub flow: FlowFlag,
    /// The topic to compare with.
    #[command(flatten)]
    pub topic: GroupFlags,
    /// The store to audit.
    #[command(flatten)]
    pub store: StoreFlags,
}

/// Format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Plain text.
    Text,
    /// One JSON object.
    Json,
}
