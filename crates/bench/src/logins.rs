//! What user logins take from topic to topic, in both deliveries, with and without their counts; and how old they are once
//! readers of committed records have them.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::Utc;
use tally_kafka_client::{Client, Fetch, Fetched, Piece, Record, Settings};
use tokio::task::JoinSet;

use crate::figures::Lines;
use crate::kafka_client;
use crate::machine;
use crate::measure::{Measured, Usage};
use crate::runner::{self, rate};
use crate::service::{PARTITIONS, Services};

const DATABASE: &str = "run";
const FLOW: &str = "user-logins";
const PROGRESS: &str = "progress";
const DELIVERIES: [&str; 2] = ["at-least-once", "exactly-once"];
/// The program that counts, and the one that does not.
const PROGRAMS: [(&str, &str); 2] = [("kafka-consumer", "with counts"), ("bench-flow", "without")];
/// How long a reader waits for more.
const MAX_WAIT: Duration = Duration::from_millis(500);

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

/// Takes all runs; what they took.
pub async fn take(size: &Size, dir: &Path) -> anyhow::Result<String> {
    let folder = runner::folder(dir)?;
    let services = Services::start(folder.path())?;
    let mut lines = Lines::default();
    for run in 1..=size.runs {
        eprintln!("run {run} of {}", size.runs);
        let topic = services.topic(&format!("logins{run}"))?;
        produce(&services, &topic, size.records, &[]).await?;
        let mut kinds: Vec<_> = PROGRAMS
            .into_iter()
            .flat_map(|program| DELIVERIES.map(|delivery| (program, delivery)))
            .collect();
        // Each comes first in its turn: whatever the first leaves to the others hits all alike.
        let places = kinds.len() as u64;
        kinds.rotate_left(usize::try_from(run % places)?);
        for ((program, counts), delivery) in kinds {
            let used = publish(&services, &topic, size.records, program, delivery).await?;
            let what = format!("{delivery}, {counts}");
            lines.add(&what, rate(size.records, used.seconds), Some(&used));
        }
    }
    let mut ages = String::new();
    for delivery in DELIVERIES {
        let (median, tail) = ages_of(&services, size, delivery).await?;
        let _never_fails = write!(ages, "\n{delivery}: p50 {median} ms, p99 {tail} ms");
    }
    Ok(format!(
        "{} logins in {PARTITIONS} partitions, one consumer; runs of each, in turn: {}; in {}\n{}\n{}\n\n{}\n\n\
         age of a login, from its append to a reader of committed records having it processed, at {} records/s for {} s \
         (p50 below 150 ms, p99 below 500 ms):{ages}",
        size.records,
        size.runs,
        dir.display(),
        machine::describe(),
        services.server.describe().await?,
        table(&lines),
        size.rate,
        size.seconds,
    ))
}

async fn produce(
    services: &Services,
    topic: &str,
    records: u64,
    flags: &[&str],
) -> anyhow::Result<()> {
    let count = records.to_string();
    let args = [&["--flow", FLOW, "--topic", topic, "--count", &count], flags].concat();
    let usage = services.launch("producer", topic, &args, &[])?.end().await?;
    let said = format!("{records} rows read, {records} sent");
    ensure!(usage.output.starts_with(&said), "producer does not account for all: {}", usage.output);
    Ok(())
}

fn start(
    services: &Services,
    (from, to): (&str, &str),
    program: &str,
    delivery: &str,
    flags: &[&str],
) -> anyhow::Result<Measured> {
    let database = services.server.url(DATABASE);
    let envs = [
        ("DATABASE_URL", &*database),
        ("TALLY_FLOWS__USER_LOGINS__PUBLISH__PROCESSED", to),
        ("TALLY_KAFKA__DELIVERY", delivery),
        ("TALLY_KAFKA__PROGRESS_TOPIC", PROGRESS),
    ];
    // The progress topic knows of one database for a group.
    let args = ["--flow", FLOW, "--topic", from, "--group", program];
    services.launch(program, from, &[&args, flags].concat(), &envs)
}

/// Takes the topic to its end; ensures that the ledger accounts for each login, that those who read only what is committed
/// find each once, and that each is counted.
async fn publish(
    services: &Services,
    topic: &str,
    records: u64,
    program: &str,
    delivery: &str,
) -> anyhow::Result<Usage> {
    services.server.recreate(DATABASE).await?;
    let to = services.topic(&format!("{topic}-{program}-{delivery}"))?;
    let used = start(services, (topic, &to), program, delivery, &["--until-end"])?.end().await?;

    let client = services.server.connect(DATABASE).await?;
    let mut sums = vec!["select sum(read)::bigint from batches"];
    if program == PROGRAMS[0].0 {
        sums.push("select sum(logins)::bigint from user_logins_by_device_type");
        sums.push("select sum(logins)::bigint from user_logins_by_hour");
    }
    for sql in sums {
        let sum: i64 = client.query_one(sql, &[]).await?.get(0);
        ensure!(sum == records.cast_signed(), "{sql}: {sum}, not {records}");
    }
    let found = kafka_client::read_all(&services.brokers, &to).await?.records;
    ensure!(found == records, "{to} holds {found} committed records, not {records}");
    services.delete(&to).await?;
    Ok(used)
}

/// Median and 99th percentile, in milliseconds, of the time from the broker's append of a login to its processed record being
/// read.
async fn ages_of(services: &Services, size: &Size, delivery: &str) -> anyhow::Result<(i64, i64)> {
    services.server.recreate(DATABASE).await?;
    let from = services
        .topic_with(&format!("steady-{delivery}"), "message.timestamp.type=LogAppendTime")?;
    let to = services.topic(&format!("{from}-processed"))?;
    let consumer = start(services, (&from, &to), PROGRAMS[0].0, delivery, &[])?;
    services.until_owned(DATABASE).await?;
    let records = size.rate * size.seconds;
    let watching = tokio::spawn(watch(services.brokers.clone(), to, usize::try_from(records)?));
    produce(services, &from, records, &["--rate", &format!("{}/s", size.rate)]).await?;
    let received = watching.await??;
    drop(consumer);

    let mut ages = Vec::with_capacity(received.len());
    for (record, appended) in appended(&services.brokers, &from).await? {
        let received = received.get(&record).context("a login that was not processed")?;
        ages.push(received - appended);
    }
    ages.sort_unstable();
    ensure!(ages.len() as u64 == records, "{} ages of {records} logins", ages.len());
    Ok((ages[ages.len() / 2], ages[ages.len() * 99 / 100]))
}

/// When each of so many logins was there for readers of committed records, in milliseconds since 1970, by its partition and
/// offset.
async fn watch(
    brokers: String,
    topic: String,
    records: usize,
) -> anyhow::Result<HashMap<(i32, i64), i64>> {
    let client = Client::new(Settings::new(vec![brokers]))?;
    let (sender, mut found) = tokio::sync::mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for partition in 0..PARTITIONS {
        let (partition, sender) = (client.partition(&topic, partition).await?, sender.clone());
        readers.spawn(async move {
            let mut next = 0;
            loop {
                let fetch = Fetch { max_wait: MAX_WAIT, ..Fetch::from(next) };
                let Fetched::Answer(answer) = partition.fetch(fetch).await? else { continue };
                let now = Utc::now().timestamp_millis();
                for piece in answer.batches {
                    next = piece.last() + 1;
                    let Piece::Records(batch) = piece else { continue };
                    for record in batch.records() {
                        if sender.send((source(&record)?, now)).is_err() {
                            return anyhow::Ok(());
                        }
                    }
                }
            }
        });
    }
    let mut received = HashMap::with_capacity(records);
    while received.len() < records {
        tokio::select! {
            Some((record, at)) = found.recv() => {
                received.entry(record).or_insert(at);
            }
            Some(ended) = readers.join_next() => ended??,
        }
    }
    Ok(received)
}

/// Partition and offset of what a processed record was made of, by its `tally.id`: `STREAM/PARTITION/LOG/OFFSET/N`.
fn source(record: &Record) -> anyhow::Result<(i32, i64)> {
    let id = record.headers.iter().find(|(name, _)| &**name == b"tally.id");
    let id = id.and_then(|(_, value)| value).context("a record without an id")?;
    let mut parts = str::from_utf8(&id)?.rsplit('/');
    let (_, offset, _, partition) = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(offset), Some(partition)) = (offset, partition) else { bail!("an id of few parts") };
    Ok((partition.parse()?, offset.parse()?))
}

/// When each record was appended, by its partition and offset.
async fn appended(brokers: &str, topic: &str) -> anyhow::Result<HashMap<(i32, i64), i64>> {
    let client = Client::new(Settings::new(vec![brokers.to_owned()]))?;
    let mut appended = HashMap::new();
    for number in 0..PARTITIONS {
        let partition = client.partition(topic, number).await?;
        let fetch = Fetch::from(0);
        let (mut next, end) = (0, partition.latest(fetch.isolation).await?);
        while next < end {
            let Fetched::Answer(answer) = partition.fetch(Fetch::from(next)).await? else {
                continue;
            };
            for piece in answer.batches {
                next = piece.last() + 1;
                let Piece::Records(batch) = piece else { continue };
                appended.extend(
                    batch.records().map(|record| ((number, record.offset), record.timestamp)),
                );
            }
        }
    }
    Ok(appended)
}

fn table(lines: &Lines) -> String {
    let mut table = String::from(
        "| user logins | records/s: median (min-max) | peak MiB |\n| --- | --- | --- |",
    );
    for (what, rates, peak) in lines.rows() {
        let _never_fails = write!(table, "\n| {what} | {} | {peak} |", rates.show());
    }
    table
}
