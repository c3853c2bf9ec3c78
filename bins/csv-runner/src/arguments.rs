//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tally_app::{Flags, FlowFlag};

/// Takes CSV files through validation, quality rules and the flow's model into a database, so that every row can be
/// accounted for.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The files, read in this order
    #[arg(required_unless_present = "print_config", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Read finished and rejected files again
    #[arg(long)]
    pub again: bool,
    /// Run every stage but write nothing, and print a profile of each column
    #[arg(long)]
    pub dry_run: bool,
    /// Format of the summary on standard output
    #[arg(long, value_enum, default_value_t = Summary::Text)]
    pub summary: Summary,
    /// Which flow.
    #[command(flatten)]
    pub flow: FlowFlag,
    /// The flags of binaries that write records to a store.
    #[command(flatten)]
    pub flags: Flags,
}

/// Format of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Summary {
    /// Plain text.
    Text,
    /// One JSON object.
    Json,
}
