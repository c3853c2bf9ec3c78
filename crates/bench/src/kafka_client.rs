//! How fast tally-kafka-client alone reads a topic, and in what memory.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tally_kafka_client::{Client, Fetch, Fetched, Isolation, Piece, Settings, Why};
use tokio::runtime;
use tokio::task::JoinSet;

use crate::figures::{Spread, grouped, mib};
use crate::machine;
use crate::measure::Measured;
use crate::runner::{self, rate};
use crate::service::Service;

const TOPIC: &str = "read";
const PARTITIONS: i32 = 6;

/// How much there is to read.
pub struct Size {
    /// Records of the topic.
    pub records: u64,
    /// How often it is read.
    pub runs: u64,
}

/// What a run has read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Read {
    /// Those that are committed.
    pub records: u64,
    /// Of keys and values.
    bytes: u64,
}

/// Fills a topic by `producer`, in batches of lz4, and reads it; the table of what that took.
pub async fn take(size: &Size, dir: &Path) -> anyhow::Result<String> {
    let folder = runner::folder(dir)?;
    let folder = folder.path();
    let kafka = Service::start("kafka", folder)?;
    let brokers = kafka.run(&["url"])?;
    kafka.run(&["topics", &format!("{TOPIC}:{PARTITIONS}")])?;
    let sample = runner::sample(folder, size.records).await?;
    let envs = [("KAFKA_BOOTSTRAP_SERVERS", &*brokers), ("TOPIC_NAME", TOPIC)];
    Measured::start("producer", folder, [&sample.path], &envs)?.end().await?;

    let (mut rates, mut peak, mut read) = (Vec::new(), 0, Read::default());
    for _ in 0..size.runs {
        let args = ["read", &brokers, TOPIC];
        let usage = Measured::start("bench", folder, args, &[])?.end().await?;
        read = serde_json::from_str(&usage.output)?;
        ensure!(read.records == size.records, "{} of {} records", read.records, size.records);
        let per_second = rate(read.records, usage.seconds);
        eprintln!(
            "  {} records/s, {:.2} s of CPU, {} MiB",
            grouped(per_second),
            usage.cpu_seconds,
            mib(usage.peak_kib)
        );
        rates.push(per_second);
        peak = peak.max(usage.peak_kib);
    }
    let rates = Spread::of(rates.into_iter()).context("it is read at least once")?;
    Ok(format!(
        "{} records of {} bytes, lz4, in {PARTITIONS} partitions read at the same time; runs: {}; in {}\n{}\n\n\
         | what | records/s: median (min-max) | peak MiB |\n| --- | --- | --- |\n\
         | tally-kafka-client | {} | {} |",
        size.records,
        read.bytes / read.records.max(1),
        size.runs,
        dir.display(),
        machine::describe(),
        rates.show(),
        mib(peak),
    ))
}

/// The inside of a run: reads all partitions of a topic to their ends and prints what there was as JSON.
pub fn read(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let read = runtime.block_on(read_all(brokers, topic))?;
    println!("{}", serde_json::to_string(&read)?);
    Ok(())
}

/// Reads all partitions of a topic to their ends, what is committed of them. Waits for transactions that are being ended: a
/// broker answers a commit before its markers are in the partitions.
pub async fn read_all(brokers: &str, topic: &str) -> anyhow::Result<Read> {
    let client = Client::new(Settings::new(vec![brokers.to_owned()]))?;
    let mut readers = JoinSet::new();
    for led in client.topic(topic).await?.partitions {
        readers.spawn(read_partition(client.clone(), topic.to_owned(), led.partition));
    }
    let mut all = Read::default();
    while let Some(read) = readers.join_next().await {
        let read = read??;
        all.records += read.records;
        all.bytes += read.bytes;
    }
    Ok(all)
}

async fn read_partition(client: Client, topic: String, partition: i32) -> anyhow::Result<Read> {
    let partition = client.partition(&topic, partition).await?;
    let end = partition.latest(Isolation::ReadUncommitted).await?;
    let mut next = partition.earliest().await?;
    let mut read = Read::default();
    while next < end {
        let Fetched::Answer(answer) = partition.fetch(Fetch::from(next)).await? else { continue };
        for piece in answer.batches {
            next = piece.last() + 1;
            let batch = match piece {
                Piece::Records(batch) => batch,
                // The end of a transaction.
                Piece::Passed(passed) if matches!(passed.why, Why::Marker(_)) => continue,
                Piece::Passed(passed) => bail!("{passed}"),
            };
            for record in batch.records() {
                let bytes = [record.key, record.value].into_iter().flatten();
                read.bytes += bytes.map(|bytes| bytes.len() as u64).sum::<u64>();
                read.records += 1;
            }
        }
    }
    Ok(read)
}
