//! `bench`: rows per second and peak memory of the batch job, or of the stream, beside the floor, the least that the
//! same rows cost in the same Postgres; what a flow takes that only publishes, or user logins; what an audit takes; or what
//! the Kafka client takes. The figures behind `just bench-batch`, `just bench-stream`, `just bench-publish`,
//! `just bench-logins`, `just bench-audit` and `just bench-kafka-client`.
//!
//! The runs take turns, so that whatever else the machine does hits all alike; each writes into a database of its
//! own. A run that did not write every row, or says so, ends the benchmark: a broken run is not measured.

mod audit;
mod figures;
mod floor;
mod kafka_client;
mod logins;
mod machine;
mod measure;
mod publish;
mod runner;
mod server;
mod service;
mod stream;
mod turns;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Measures csv-runner with the real ml-api, into Postgres and into SQLite, beside the floor.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Flags {
    /// How many rows a run takes
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// How many runs of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// One more run into Postgres with so many rows, for its peak memory; 0 for none
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    memory_rows: u64,
    /// Where the file and the databases go meanwhile; a disk, if their figures are to mean anything
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    #[command(subcommand)]
    inner: Option<Inner>,
}

#[derive(Subcommand)]
enum Inner {
    /// Measures audit over a large ledger instead
    Audit {
        /// How many batches the ledger has
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        batches: u64,
        /// How many runs on each store
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
        runs: u64,
        /// Where the databases go meanwhile
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        dir: PathBuf,
    },
    /// Measures producer and kafka-consumer instead
    Stream {
        /// How many records a run takes
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        records: u64,
        /// How many runs of each
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
        runs: u64,
        /// Records per second while their age is measured
        #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
        rate: u64,
        /// How long that takes, in seconds
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
        /// Where the data of the services go meanwhile
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        dir: PathBuf,
    },
    /// Measures producer and a flow that only publishes instead
    Publish {
        /// How many records a run takes
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        records: u64,
        /// How many pairs of runs, one at least once and one exactly once
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
        pairs: u64,
        /// Where the data of the services go meanwhile
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        dir: PathBuf,
    },
    /// Measures user logins from topic to topic instead
    Logins {
        /// How many logins a run takes
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        records: u64,
        /// How many runs of each
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        runs: u64,
        /// Logins per second while their age is measured
        #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
        rate: u64,
        /// How long that takes, in seconds
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
        /// Where the data of the services go meanwhile
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        dir: PathBuf,
    },
    /// Measures the Kafka client alone instead
    KafkaClient {
        /// How many records the topic has
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        records: u64,
        /// How many runs
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        runs: u64,
        /// Where the data of Kafka go meanwhile
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        dir: PathBuf,
    },
    /// Reads a topic to its end and prints what it held
    #[command(hide = true)]
    Read { brokers: String, topic: String },
    /// Runs a command and prints what it used
    #[command(hide = true)]
    Measure {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    match &flags.inner {
        Some(Inner::Measure { command }) => measure::run(command),
        Some(Inner::Read { brokers, topic }) => kafka_client::read(brokers, topic),
        _ => take(&flags),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn take(flags: &Flags) -> anyhow::Result<()> {
    let taking = async {
        match &flags.inner {
            Some(Inner::Audit { batches, runs, dir }) => {
                let size = audit::Size { batches: *batches, runs: *runs };
                audit::take(&size, dir).await
            }
            Some(Inner::Stream { records, runs, rate, seconds, dir }) => {
                let (records, runs, rate, seconds) = (*records, *runs, *rate, *seconds);
                stream::take(&stream::Size { records, runs, rate, seconds }, dir).await
            }
            Some(Inner::Publish { records, pairs, dir }) => {
                let size = publish::Size { records: *records, pairs: *pairs };
                publish::take(&size, dir).await
            }
            Some(Inner::Logins { records, runs, rate, seconds, dir }) => {
                let (records, runs, rate, seconds) = (*records, *runs, *rate, *seconds);
                logins::take(&logins::Size { records, runs, rate, seconds }, dir).await
            }
            Some(Inner::KafkaClient { records, runs, dir }) => {
                let size = kafka_client::Size { records: *records, runs: *runs };
                kafka_client::take(&size, dir).await
            }
            _ => turns::take(flags).await,
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // What was started and made goes with the future of the runs, also when a signal drops it.
    tokio::select! {
        table = taking => println!("{}", table?),
        _ = terminate.recv() => bail!("stopped by SIGTERM"),
        _ = interrupt.recv() => bail!("stopped by Ctrl-C"),
    }
    Ok(())
}
