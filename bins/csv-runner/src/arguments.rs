//! The command line.

use std::path::PathBuf;

use chrono::NaiveTime;
use clap::{Parser, ValueEnum};
use glob::Pattern;
use tally_app::{Flags, FlowFlag};

/// Takes CSV files through validation, quality rules and the flow's model into a database, so that every row can be
/// accounted for.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The files, read in this order
    #[arg(required_unless_present_any = ["print_config", "watch"], value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Take each file that appears in a folder, or below a prefix of a bucket (`s3://BUCKET/PREFIX`), once by content, when it is complete, until it is stopped
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["files", "again", "dry_run"])]
    pub watch: Option<String>,
    /// Of a watched place only the files whose names fit, like *.csv
    #[arg(long, value_name = "GLOB", requires = "watch", value_parser = Pattern::new)]
    pub pattern: Option<Pattern>,
    /// When a file is expected each day in a watched place, in UTC
    #[arg(long, value_name = "HH:MM", requires = "watch", value_parser = time_of_day)]
    pub expect_by: Option<NaiveTime>,
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

fn time_of_day(text: &str) -> Result<NaiveTime, String> {
    NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| "expected a time like 07:00".to_owned())
}

/// Format of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Summary {
    /// Plain text.
    Text,
    /// One JSON object.
    Json,
}
