//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::de::IgnoredAny;
use tally_adapter_csv::{Decimal, Overrides};
use tally_app::{BrokersFlag, Flags, Span};
use tally_domain::{Stage, timestamp};
use tally_ports::{Filter, State};
use tally_runs::replay::Correction;
use uuid::Uuid;

const EXIT_CODES: &str = "Exit codes: 0 done, whatever became of the records; 2 the command line is wrong; 66 there is no dead letter \
with a given id (then nothing was done); 69 the database, the model or the schema registry stayed unavailable; 74 standard output or a \
file cannot be written; 78 a setting is wrong; 130 and 143 stopped by a signal, the record in hand finished.";

/// Lists, shows, replays, repairs, discards, exports and purges dead letters. May run while records are read.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Format of results
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The flags of binaries that write records to a store.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How results look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table.
    Table,
    /// JSON, for scripts.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List dead letters, ordered by stream and position
    List(List),
    /// Show one dead letter with its payload, and all attempts at its record
    Show {
        /// Id of the dead letter
        #[arg(value_name = "ID")]
        id: Uuid,
    },
    /// Count dead letters by code and by hour
    Stats {
        #[command(flatten)]
        filters: Filters,
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        state: Option<State>,
    },
    /// Send the stored records of open dead letters through all stages again
    ///
    /// A record that is valid now is written, unless something newer is there: a later record of the same source, or any record
    /// of another one; then its dead letter is outdated. A record that fails again becomes the next attempt. Quality rules judge
    /// batches and do not apply: replaying a quarantined record lets it pass, and their statistics do not change. Truncated,
    /// masked and purged records cannot be replayed. A record of a file is read with the settings that its file was read with,
    /// whatever they are now, unless a flag replaces one.
    Replay(Replay),
    /// Correct the stored records of open dead letters and put them back into their topics
    ///
    /// By the flow's rule, or by hand with --set and --set-json. A corrected record that is valid goes back into the topic that
    /// it came from, with the headers tally.repaired-from (the dead letter's id) and tally.replay, for the flow to read it there;
    /// its dead letter is then repaired and keeps the bytes as they were. Each change is shown first. What cannot be
    /// corrected, came from a file, or was repaired before and has failed again stays open. Truncated, masked and purged
    /// records cannot be repaired.
    Repair(Repair),
    /// Mark open dead letters as discarded
    Discard {
        #[command(flatten)]
        which: Which,
        /// Why, for the table of acts
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Write dead letters with their payloads as JSON Lines
    Export {
        /// Id of the dead letter
        #[arg(value_name = "ID")]
        ids: Vec<Uuid>,
        #[command(flatten)]
        filters: Filters,
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        state: Option<State>,
        /// Where to, instead of standard output; overwritten
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Erase key, payload and headers for good; the row stays
    ///
    /// Dead letters in any state, open ones included. Events already published to a topic are not touched.
    Purge {
        #[command(flatten)]
        which: Which,
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        state: Option<State>,
        /// Only those that failed longer ago than this, like 30d
        #[arg(long, value_name = "TIME", value_parser = Moment::ago)]
        older_than: Option<Moment>,
        /// Why, for the table of acts
        #[arg(long, value_name = "TEXT", default_value = "no reason given")]
        reason: String,
    },
}

/// What to list.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    pub filters: Filters,
    /// Only those in this state: open, retried, replayed, outdated, discarded or purged
    #[arg(long, value_name = "STATE")]
    pub state: Option<State>,
    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: u16,
    /// Continue after this one: the last of the page before
    #[arg(long, value_name = "ID")]
    pub after: Option<Uuid>,
}

/// What to replay, and how.
#[derive(Args, Debug)]
pub struct Replay {
    #[command(flatten)]
    pub which: Which,
    /// Print what would become of each and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The most records per second, like 50/s [default: no limit]
    #[arg(long, value_name = "N/s")]
    pub rate: Option<Rate>,
    /// The most records to replay [default: all of them]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Leave out records with so many failed attempts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..))]
    pub max_attempts: i32,
    /// Why, for the table of acts
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub reason: String,
    #[command(flatten)]
    pub csv: CsvFlags,
}

/// What to repair, and how.
#[derive(Args, Debug)]
pub struct Repair {
    #[command(flatten)]
    pub which: Which,
    /// Set a field of a JSON or Avro value to this text, instead of the flow's rule; points lead into inner objects; more than
    /// once for several
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = text_at)]
    pub texts: Vec<(String, String)>,
    /// The same with any JSON, like timestamp=1694479551; after those of --set
    #[arg(long = "set-json", value_name = "PATH=JSON", value_parser = json_at)]
    pub values: Vec<(String, String)>,
    #[command(flatten)]
    pub brokers: BrokersFlag,
    /// Print what would become of each and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The most records per second, like 50/s [default: no limit]
    #[arg(long, value_name = "N/s")]
    pub rate: Option<Rate>,
    /// The most records to repair [default: all of them]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Why, for the table of acts
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub reason: String,
}

impl Repair {
    /// The flow's rule, unless something is set.
    pub fn correction(&self) -> Correction {
        let values: Vec<_> = self.texts.iter().chain(&self.values).cloned().collect();
        if values.is_empty() { Correction::Rule } else { Correction::Values(values) }
    }

    /// The paths that are set, each after a blank, for the table of acts; values would survive a purge there.
    pub fn shown(&self) -> String {
        let paths = self.texts.iter().chain(&self.values).map(|(path, _)| format!(" set {path}"));
        paths.collect()
    }
}

fn text_at(text: &str) -> Result<(String, String), String> {
    let (path, text) = path_and(text, "a field and a text, like device_type=android")?;
    Ok((path, serde_json::Value::from(text).to_string()))
}

fn json_at(text: &str) -> Result<(String, String), String> {
    let (path, json) = path_and(text, "a path and JSON, like timestamp=1694479551")?;
    match serde_json::from_str::<IgnoredAny>(&json) {
        Ok(_) => Ok((path, json)),
        Err(error) => Err(format!("the value of {path} is not JSON ({error}); --set takes a text")),
    }
}

fn path_and(text: &str, expected: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(path, _)| !path.split('.').any(str::is_empty));
    let parts = parts.map(|(path, value)| (path.to_owned(), value.to_owned()));
    parts.ok_or_else(|| format!("expected {expected}"))
}

/// Settings for dead letters of files, instead of those that their files were read with and each of them keeps. The number
/// of lines before a header is none of them: a dead letter keeps its header line.
#[derive(Args, Clone, Debug, Default)]
pub struct CsvFlags {
    /// Read dead letters of files in this encoding, instead of their own
    #[arg(long = "csv-encoding", value_name = "LABEL")]
    encoding: Option<String>,
    /// Read their amounts with this decimal sign, instead of that of their file: auto, comma or point
    #[arg(long = "csv-decimal", value_name = "SIGN", value_parser = decimal)]
    decimal: Option<Decimal>,
    /// Map a name of their header to a column, instead of those that were mapped; more than once for several
    #[arg(long = "csv-columns", value_name = "NAME=COLUMN", value_parser = mapped)]
    columns: Vec<(String, String)>,
    /// Read their timestamps in this format of strftime, instead of those that were set; more than once for several
    #[arg(long = "csv-timestamp-formats", value_name = "FORMAT")]
    timestamp_formats: Vec<String>,
}

impl CsvFlags {
    /// What they replace.
    pub fn overrides(&self) -> Overrides {
        let Self { encoding, decimal, columns, timestamp_formats } = self.clone();
        Overrides {
            encoding,
            decimal,
            columns: (!columns.is_empty()).then(|| columns.into_iter().collect()),
            timestamp_formats: Some(timestamp_formats).filter(|formats| !formats.is_empty()),
        }
    }

    /// What was given, each after a blank, for the table of acts.
    pub fn shown(&self) -> String {
        let Self { encoding, decimal, columns, timestamp_formats } = self;
        let encoding = encoding.iter().map(|label| format!(" csv.encoding={label}"));
        let decimal = decimal.iter().map(|sign| format!(" csv.decimal={sign:?}").to_lowercase());
        let columns =
            columns.iter().map(|(name, column)| format!(" csv.columns={name:?}={column}"));
        let formats =
            timestamp_formats.iter().map(|format| format!(" csv.timestamp_formats={format:?}"));
        encoding.chain(decimal).chain(columns).chain(formats).collect()
    }
}

fn decimal(text: &str) -> Result<Decimal, String> {
    match text {
        "auto" => Ok(Decimal::Auto),
        "comma" => Ok(Decimal::Comma),
        "point" => Ok(Decimal::Point),
        _ => Err("expected auto, comma or point".to_owned()),
    }
}

fn mapped(text: &str) -> Result<(String, String), String> {
    let pair = text.rsplit_once('=').map(|(name, column)| (name.to_owned(), column.to_owned()));
    pair.ok_or_else(|| "expected a name of the header and a column, like Betrag=amount".to_owned())
}

/// Which dead letters an act changes; an empty selection is refused.
#[derive(Args, Debug)]
pub struct Which {
    /// Ids; at least one id, a filter or --all is needed
    #[arg(value_name = "ID")]
    pub ids: Vec<Uuid>,
    #[command(flatten)]
    pub filters: Filters,
    /// All dead letters
    #[arg(long)]
    pub all: bool,
}

/// Filters; those that are given must all fit.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Only those of this flow
    #[arg(long, value_name = "FLOW")]
    pub flow: Option<String>,
    /// Only those of this stream: GROUP/TOPIC or file/FINGERPRINT
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<String>,
    /// Only those of this topic or file, by its name when it was last read
    #[arg(long, value_name = "TOPIC|PATH")]
    pub label: Option<String>,
    /// Only those of this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// Only those of this pass over the stream
    #[arg(long, value_name = "N")]
    pub pass: Option<i32>,
    /// Only those at this offset, or row of a file from 0
    #[arg(long, value_name = "N")]
    pub position: Option<i64>,
    /// Only those that this stage refused
    #[arg(long, value_name = "STAGE", value_parser = PossibleValuesParser::new(STAGES))]
    pub stage: Option<String>,
    /// Only those with this code
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Only those that failed then or later: a timestamp (UTC), or how long ago, like 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only those that failed earlier
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only those with exactly this key (of a file: its id field; records that could not be split have none)
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
}

const STAGES: [&str; 6] = [
    Stage::Decode.as_str(),
    Stage::Validate.as_str(),
    Stage::Quality.as_str(),
    Stage::Enrich.as_str(),
    Stage::Publish.as_str(),
    Stage::Write.as_str(),
];

impl Filters {
    /// The filter that they describe; only these `ids`, unless there are none.
    pub fn filter(&self, ids: &[Uuid], state: Option<State>) -> Filter {
        let filters = self.clone();
        Filter {
            ids: (!ids.is_empty()).then(|| ids.to_vec()),
            flow: filters.flow,
            stream: filters.stream,
            label: filters.label,
            partition: filters.partition,
            pass: filters.pass,
            position: filters.position,
            stage: filters.stage,
            code: filters.code,
            state,
            since: filters.since.map(|Moment(at)| at),
            until: filters.until.map(|Moment(at)| at),
            key: filters.key.map(Bytes::from),
        }
    }
}

impl Which {
    /// Whether anything is selected.
    pub fn is_said(&self) -> bool {
        self.all || !self.ids.is_empty() || self.filters != Filters::default()
    }
}

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub NaiveDateTime);

impl Moment {
    /// The moment this long ago, like 30d.
    fn ago(text: &str) -> Result<Self, String> {
        let now = DateTime::<Utc>::from(SystemTime::now()).naive_utc();
        let span: Option<Span> = text.parse().ok();
        let span = span.and_then(|span| TimeDelta::from_std(span.limit()?).ok());
        let at = span.and_then(|span| now.checked_sub_signed(span)).map(Self);
        at.ok_or_else(|| "expected how long ago, like 30d".to_owned())
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(at) = timestamp::parse(text) {
            return Ok(Self(at));
        }
        Self::ago(text).map_err(|_| {
            "expected a timestamp like 2024-01-31T23:59:59Z, or how long ago, like 2h".to_owned()
        })
    }
}

/// Records per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub NonZeroU32);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).parse();
        number.map(Self).map_err(|_| "expected a whole number above 0, like 50/s".to_owned())
    }
}
