//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use tally_app::{Common, FlowFlag, TopicFlags};

/// Sends the rows of CSV files to a Kafka topic, keyed by their ids. A row whose id, amount or
/// timestamp cannot be read, or that is too large for the topic, is reported and not sent; the exit code is then 65.
///
/// Without a file, for a flow that has a generator (user-logins), sends generated records until stopped.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The files, sent in this order
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Format of the records
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// The most records per second, like 5000/s [default: no limit]
    #[arg(long, value_name = "N/s")]
    pub rate: Option<Rate>,
    /// Start over after the last file, until stopped
    #[arg(long, requires = "files")]
    pub repeat: bool,
    /// Send each file in one transaction: consumers of committed records (isolation level read-committed) see all of it or
    /// nothing. A file with a row that cannot be sent is not sent, unless --rejects keeps that row. A file may take 15
    /// minutes; only one producer with this flag can write to a topic at a time
    #[arg(long, conflicts_with = "repeat", requires = "files")]
    pub transactional: bool,
    /// Exit with 0 even if some rows were not sent
    #[arg(long)]
    pub skip_invalid: bool,
    /// Write the rows that are not sent, unchanged, to FILE under the header line, to be corrected and sent with
    /// csv.decimal set; overwrites FILE. With --repeat, those of the first round
    #[arg(long, value_name = "FILE", requires = "files")]
    pub rejects: Option<PathBuf>,
    /// Of generated records the share that is spoiled, from 0 to 1, in the ways that real ones are
    #[arg(long, value_name = "SHARE", default_value = "0", conflicts_with = "files", value_parser = share)]
    pub spoil: f64,
    /// Chooses what is generated: the same records for the same number
    #[arg(long, value_name = "N", default_value_t = 42, conflicts_with = "files")]
    pub seed: u64,
    /// How many records to generate [default: until stopped]
    #[arg(long, value_name = "N", conflicts_with = "files")]
    pub count: Option<usize>,
    /// Which flow.
    #[command(flatten)]
    pub flow: FlowFlag,
    /// The flags of the topic.
    #[command(flatten)]
    pub topic: TopicFlags,
    /// The flags of every binary.
    #[command(flatten)]
    pub common: Common,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1, like 0.05".to_owned())
}

/// Format of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An object of the table's column names.
    Json,
    /// Confluent framing; the schema is registered.
    Avro,
}

/// Records per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u32);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).parse().ok().filter(|&rate| rate > 0);
        number.map(Self).ok_or_else(|| "expected a whole number above 0, like 5000/s".to_owned())
    }
}
