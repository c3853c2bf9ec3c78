//! The command line.

use std::num::NonZeroUsize;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tally_adapter_kafka::Gap;
use tally_app::{ConsumerFlags, Flags, FlowFlag};

use crate::tail::Filters;

const TAIL_HELP: &str = "\
A line has PARTITION@OFFSET, the record's timestamp, its age, its key, its headers if there are any, and its value: JSON as it is, \
Avro and JSON in the schema registry's frame (kafka.registry_url) as JSON, a tombstone as null, anything else in hexadecimal, of \
long ones the first 64 bytes. Fields named in privacy.masked are masked. Transactions that are open or were aborted are not shown.

Each line of --output json is an object of topic, partition, offset, timestamp (RFC 3339 in UTC, or null), key, key_encoding, headers \
(a list of name, value, value_encoding), value and value_encoding. An encoding is none (null), utf8, or base64, that of a value also \
json (the JSON itself) or masked (length and hash: it cannot be told where its masked fields are).

Exit codes: 0 at --limit or --until-end; 2 the command line is wrong; 69 the brokers are unavailable at the start, or they or the \
registry later for longer than max_outage; 74 standard output cannot be written; 78 a setting is wrong, there is no such topic, or a filter asks for a masked \
field; 130 and 143 stopped by a signal.";

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
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the records of a topic as they come; nothing is written, in Kafka or in a database
    Tail(Tail),
}

const LAST_AT_MOST: usize = 10_000;

/// What to print.
#[derive(Args, Debug)]
#[command(after_help = TAIL_HELP)]
pub struct Tail {
    /// The topic, whatever kafka.topic is
    #[arg(value_name = "TOPIC")]
    pub name: String,
    /// Begin at the first record of each partition instead of at its end
    #[arg(long, conflicts_with = "last")]
    pub from_beginning: bool,
    /// Begin with the last N records of the topic by their timestamps: N in all, not of each partition
    #[arg(long, value_name = "N", value_parser = last)]
    pub last: Option<NonZeroUsize>,
    /// End after N printed records
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Stop where the partitions ended at the start instead of waiting for more
    #[arg(long)]
    pub until_end: bool,
    /// Which records.
    #[command(flatten)]
    pub filters: Filters,
    /// Format of records
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// They are held in memory.
fn last(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= LAST_AT_MOST);
    number.ok_or_else(|| {
        format!("expected a number from 1 to {LAST_AT_MOST}; --from-beginning has no limit")
    })
}

/// How records and counters look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// JSON, for scripts.
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
