//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tally_app::{FlowFlag, GroupFlags, StoreFlags};

/// Proves that every record which was ever read is accounted for: checks the ledger of a database in itself, against
/// positions, dead letters and rows, and where asked to against the files and the topic that were read. Changes
/// nothing, and may run while others write.
///
/// Exit codes: 0 all holds; 65 something does not, and each violation is named; 66 a file cannot be read; 69 the
/// database or the brokers are unavailable; 74 the report cannot be written; 78 a setting is wrong, or it is not a
/// Tally database.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Compare with these files, too: each of their rows has to be counted, and to have left a row of the table or a dead letter
    ///
    /// Without --flow as the flows that have read it. To be given with the settings that csv-runner had: csv.encoding, csv.decimal.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub source: Vec<PathBuf>,
    /// How the report on standard output looks
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Which flow's files and topic.
    #[command(flatten)]
    pub flow: FlowFlag,
    /// The topic to compare with.
    #[command(flatten)]
    pub topic: GroupFlags,
    /// The store to look into.
    #[command(flatten)]
    pub store: StoreFlags,
}

/// How the report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}
