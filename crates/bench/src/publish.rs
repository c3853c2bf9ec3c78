//! What a topic takes on its way to another one: producer, and a flow that only publishes, at least once and exactly once.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::figures::{Lines, Spread};
use crate::kafka_client;
use crate::machine;
use crate::measure::Usage;
use crate::runner::{self, Sample, rate};
use crate::service::{PARTITIONS, Services};

const DATABASE: &str = "run";
/// Made in the first run that needs it; each pair has streams of its own in it.
const PROGRESS: &str = "progress";
const PRODUCER: &str = "producer";
const AT_LEAST_ONCE: &str = "at-least-once";
const EXACTLY_ONCE: &str = "exactly-once";

/// How much there is to take.
pub struct Size {
    /// Records of a run.
    pub records: u64,
    /// Pairs of runs, each with one of producer.
    pub pairs: u64,
}

/// Takes all runs; what they took.
pub async fn take(size: &Size, dir: &Path) -> anyhow::Result<String> {
    let folder = runner::folder(dir)?;
    let folder = folder.path();
    let services = Services::start(folder)?;
    let sample = runner::sample(folder, size.records).await?;

    let (mut lines, mut ratios) = (Lines::default(), Vec::new());
    for pair in 1..=size.pairs {
        eprintln!("pair {pair} of {}", size.pairs);
        let topic = services.topic(&format!("read{pair}"))?;
        let sent = services.produce(&topic, &sample, &[], &[]).await?;
        lines.add(PRODUCER, rate(sample.rows, sent.seconds), Some(&sent));

        let mut rates = [0.0; 2];
        // Each comes first in every other pair: whatever the first leaves to the second hits both alike.
        let order = if pair.is_multiple_of(2) { [1, 0] } else { [0, 1] };
        for way in order {
            let delivery = [AT_LEAST_ONCE, EXACTLY_ONCE][way];
            let used = publish(&services, &topic, &sample, delivery).await?;
            rates[way] = rate(sample.rows, used.seconds);
            lines.add(delivery, rates[way], Some(&used));
        }
        ratios.push(rates[1] / rates[0]);
        services.delete(&topic).await?;
    }
    let ratios = Spread::of(ratios.into_iter()).context("there is one pair at least")?;
    Ok(format!(
        "{} records in {PARTITIONS} partitions, one consumer; pairs of runs, in turn: {}; in {}\n{}\n{}\n\n{}\n\n\
         exactly once beside at least once, by pair: {} (at least 0.90)",
        size.records,
        size.pairs,
        dir.display(),
        machine::describe(),
        services.server.describe().await?,
        table(&lines),
        ratios.show_ratios(),
    ))
}

/// Takes the topic through a flow that publishes each record and keeps nothing; ensures that the ledger accounts for each,
/// and that those who read only what is committed find each once.
async fn publish(
    services: &Services,
    topic: &str,
    sample: &Sample,
    delivery: &str,
) -> anyhow::Result<Usage> {
    services.server.recreate(DATABASE).await?;
    let to = services.topic(&format!("{topic}-{delivery}"))?;
    let database = services.server.url(DATABASE);
    let envs = [
        ("DATABASE_URL", &*database),
        ("TALLY_FLOWS__COPIES__PUBLISH__COPIES", &*to),
        ("TALLY_KAFKA__DELIVERY", delivery),
        ("TALLY_KAFKA__PROGRESS_TOPIC", PROGRESS),
    ];
    let args = ["--flow", "copies", "--topic", topic, "--until-end"];
    let used = services.launch("bench-flow", topic, &args, &envs)?.end().await?;

    let client = services.server.connect(DATABASE).await?;
    let sql = "select count(*), coalesce(sum(read), 0)::bigint, coalesce(sum(written), 0)::bigint from batches";
    let row = client.query_one(sql, &[]).await?;
    let (batches, counts): (i64, [i64; 2]) = (row.get(0), [row.get(1), row.get(2)]);
    let expected = [sample.rows.cast_signed(); 2];
    ensure!(counts == expected, "read and written are {counts:?}, not {expected:?}");
    let found = kafka_client::read_all(&services.brokers, &to).await?.records;
    ensure!(found == sample.rows, "{to} holds {found} committed records, not {}", sample.rows);
    eprintln!("  {batches} batches; {found} committed records are in {to}");

    services.delete(&to).await?;
    Ok(used)
}

fn table(lines: &Lines) -> String {
    let mut table = String::from(
        "| what | records/s: median (min-max) | at least | peak MiB, below 96 |\n| --- | --- | --- | --- |",
    );
    for (what, rates, peak) in lines.rows() {
        let (what, target) = match what {
            PRODUCER => ("producer, idempotent", "300,000"),
            AT_LEAST_ONCE => ("a flow that only publishes, at least once", "150,000"),
            _ => ("a flow that only publishes, exactly once", "135,000"),
        };
        let rates = rates.show();
        let _never_fails = write!(table, "\n| {what} | {rates} | {target} | {peak} |");
    }
    table
}
