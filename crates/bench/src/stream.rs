//! What a topic takes on its way into Postgres: producer, kafka-consumer in each format, and how old records get.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{OffsetAt, UnknownTopicHandling};
use tokio::time::sleep;

use crate::figures::Lines;
use crate::floor::Chunks;
use crate::machine;
use crate::measure::{Measured, Usage};
use crate::runner::{self, Model, Sample, rate};
use crate::service::{PARTITIONS, Service, Services};

const DATABASE: &str = "run";
const FETCH_BYTES: i32 = 8 << 20;

/// How much there is to take.
pub struct Size {
    /// Records of a run.
    pub records: u64,
    /// Runs of each.
    pub runs: u64,
    /// Records per second while their age is measured.
    pub rate: u64,
    /// How long that takes, in seconds.
    pub seconds: u64,
}

/// Everything around the runs.
struct Stage {
    services: Services,
    model: Model,
    registry: Service,
}

/// Takes all runs; what they took.
pub async fn take(size: &Size, dir: &Path) -> anyhow::Result<String> {
    let folder = runner::folder(dir)?;
    let folder = folder.path();
    let stage = Stage {
        services: Services::start(folder)?,
        model: Model::start(folder).await?,
        registry: Service::start("registry", folder)?,
    };
    let sample = runner::sample(folder, size.records).await?;
    let few = runner::sample(folder, size.records / 10).await?;
    let chunks = Chunks::read(&sample)?;

    let mut lines = Lines::default();
    for turn in 1..=size.runs {
        eprintln!("turn {turn} of {}", size.runs);
        stage.services.server.recreate(DATABASE).await?;
        let floor = chunks.run(&mut stage.services.server.connect(DATABASE).await?).await?;
        lines.add("floor: COPY and upsert", floor.rows_per_second, None);
        for format in ["json", "avro"] {
            let topic = stage.services.topic(&format!("{format}{turn}"))?;
            let sent = stage.produce(&topic, &sample, &["--format", format]).await?;
            lines.add(&format!("producer, {format}"), rate(sample.rows, sent.seconds), Some(&sent));
            let read = stage.consume(&topic, &sample).await?;
            lines.add(
                &format!("kafka-consumer, {format}"),
                rate(sample.rows, read.seconds),
                Some(&read),
            );
        }
        let topic = stage.services.topic(&format!("few{turn}"))?;
        stage.produce(&topic, &few, &[]).await?;
        let read = stage.consume(&topic, &few).await?;
        lines.add(
            "kafka-consumer, json, a tenth of the lag",
            rate(few.rows, read.seconds),
            Some(&read),
        );
    }
    let (median, tail) = stage.ages(size, folder).await?;
    Ok(format!(
        "{} records in {PARTITIONS} partitions, one consumer; runs of each, in turn: {}; in {}\n{}\n{}\n\n{}\n\n\
         age of a record at its commit, at {} records/s for {} s: p50 {median} ms, p99 {tail} ms",
        size.records,
        size.runs,
        dir.display(),
        machine::describe(),
        stage.services.server.describe().await?,
        table(&lines),
        size.rate,
        size.seconds,
    ))
}

impl Stage {
    fn envs(&self) -> anyhow::Result<[(&'static str, String); 3]> {
        Ok([
            ("DATABASE_URL", self.services.server.url(DATABASE)),
            ("ML_API_URL", self.model.url().to_owned()),
            ("SCHEMA_REGISTRY_URL", self.registry.run(&["url"])?),
        ])
    }

    fn start(&self, binary: &str, topic: &str, args: &[&str]) -> anyhow::Result<Measured> {
        let envs = self.envs()?;
        self.services.launch(binary, topic, args, &borrowed(&envs))
    }

    async fn produce(&self, topic: &str, sample: &Sample, flags: &[&str]) -> anyhow::Result<Usage> {
        let envs = self.envs()?;
        self.services.produce(topic, sample, flags, &borrowed(&envs)).await
    }

    /// Takes the topic into an empty database and ensures that the ledger accounts for each record, and the table too.
    async fn consume(&self, topic: &str, sample: &Sample) -> anyhow::Result<Usage> {
        self.services.server.recreate(DATABASE).await?;
        let usage = self.start("kafka-consumer", topic, &["--until-end"])?.end().await?;
        self.ensure_taken(sample.rows).await?;
        Ok(usage)
    }

    async fn ensure_taken(&self, records: u64) -> anyhow::Result<()> {
        let client = self.services.server.connect(DATABASE).await?;
        let sql = "select sum(read)::bigint, sum(written)::bigint, (select count(*) from transactions) from batches";
        let row = client.query_one(sql, &[]).await?;
        let counts: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
        ensure!(
            counts == [records.cast_signed(); 3],
            "read, written and rows are {counts:?}, not {records}"
        );
        Ok(())
    }

    /// Median and 99th percentile, in milliseconds, of the time from a record's own timestamp to its batch's commit.
    async fn ages(&self, size: &Size, folder: &Path) -> anyhow::Result<(i64, i64)> {
        let topic = self.services.topic("steady")?;
        self.services.server.recreate(DATABASE).await?;
        let sample = runner::sample(folder, size.rate * size.seconds).await?;
        let consumer = self.start("kafka-consumer", &topic, &[])?;
        self.services.until_owned(DATABASE).await?;
        let per_second = format!("{}/s", size.rate);
        self.produce(&topic, &sample, &["--rate", &per_second]).await?;
        while self.ensure_taken(sample.rows).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        drop(consumer);

        let commits = self.commits().await?;
        let mut ages = Vec::new();
        for partition in 0..PARTITIONS {
            for (offset, timestamp) in self.timestamps(&topic, partition).await? {
                let commit = commits.iter().find(|commit| commit.covers(partition, offset));
                let commit = commit.context("a record that no batch covers")?;
                ages.push(commit.at - timestamp);
            }
        }
        ages.sort_unstable();
        ensure!(ages.len() as u64 == sample.rows, "{} ages of {} records", ages.len(), sample.rows);
        Ok((ages[ages.len() / 2], ages[ages.len() * 99 / 100]))
    }

    async fn commits(&self) -> anyhow::Result<Vec<Committed>> {
        let sql = "select partition, first, last, (extract(epoch from committed_at) * 1000)::bigint from batches \
                   order by partition, first";
        let rows = self.services.server.connect(DATABASE).await?.query(sql, &[]).await?;
        let commit = |row: &tokio_postgres::Row| Committed {
            partition: row.get(0),
            first: row.get(1),
            last: row.get(2),
            at: row.get(3),
        };
        Ok(rows.iter().map(commit).collect())
    }

    async fn timestamps(&self, topic: &str, partition: i32) -> anyhow::Result<Vec<(i64, i64)>> {
        let client = ClientBuilder::new(vec![self.services.brokers.clone()]).build().await?;
        let client = client.partition_client(topic, partition, UnknownTopicHandling::Error).await?;
        let end = client.get_offset(OffsetAt::Latest).await?;
        let (mut next, mut found) = (0, Vec::new());
        while next < end {
            let (records, _) = client.fetch_records(next, 1..FETCH_BYTES, 1_000).await?;
            for record in records {
                next = record.offset + 1;
                found.push((record.offset, record.record.timestamp.timestamp_millis()));
            }
        }
        Ok(found)
    }
}

/// A batch, and when it was committed, in milliseconds since 1970.
struct Committed {
    partition: i32,
    first: i64,
    last: i64,
    at: i64,
}

impl Committed {
    const fn covers(&self, partition: i32, offset: i64) -> bool {
        self.partition == partition && self.first <= offset && offset <= self.last
    }
}

fn table(lines: &Lines) -> String {
    let floor = lines.rows().next().map_or(f64::NAN, |(_, floor, _)| floor.median);
    let mut table = String::from(
        "| what | records/s: median (min-max) | of the floor | peak MiB |\n| --- | --- | --- | --- |",
    );
    for (what, rates, peak) in lines.rows() {
        let (rates, share) = (rates.show(), rates.median / floor);
        let _never_fails = write!(table, "\n| {what} | {rates} | {share:.2} | {peak} |");
    }
    table
}

fn borrowed<'a>(envs: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    envs.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
