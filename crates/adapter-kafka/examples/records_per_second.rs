//! Writes records of transactions to one partition of a topic, unless it has as many, then reads them and says how fast:
//! `cargo run --release -p tally-adapter-kafka --example records_per_second -- BROKER TOPIC COUNT [BATCH_SIZE]`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, KafkaSource, Outgoing, Publisher, Settings, Start};
use tally_domain::transactions::Transactions;
use tally_ports::Source;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let broker = arguments.next().ok_or("name a broker")?;
    let topic = arguments.next().ok_or("name a topic")?;
    let count: u32 = arguments.next().ok_or("say how many records")?.parse()?;
    let limit: usize = arguments.next().map_or(Ok(1000), |limit| limit.parse())?;

    let cluster = Cluster::connect(&Settings::new(vec![broker])).await?;
    let end = cluster.offset(&topic, 0, Start::Latest).await?;
    let missing = i64::from(count).saturating_sub(end);
    if missing > 0 {
        write(&cluster, &topic, missing).await?;
    }

    let until = Some(i64::from(count));
    let decoder = Arc::new(Decoder::new(None));
    let (mut source, _) =
        KafkaSource::<Transactions>::new(cluster, decoder, &topic, 0, 0, &Value::Null, until);
    let (mut records, mut refused) = (0_u32, 0_u32);
    let started = Instant::now();
    while let Some(batch) = source.next_batch(limit).await? {
        for item in &batch.items {
            records += 1;
            refused += u32::from(item.content.is_err());
        }
    }
    println!("{records} records read, {refused} refused: {}", rate(records, started));
    Ok(())
}

async fn write(
    cluster: &Cluster,
    topic: &str,
    count: i64,
) -> Result<(), Box<dyn std::error::Error>> {
    let publisher = Publisher::open(cluster, topic).await?;
    let started = Instant::now();
    let mut left = count;
    while left > 0 {
        let call = left.min(10_000);
        publisher.publish((0..call).map(|number| outgoing(left - number)).collect()).await?;
        left -= call;
    }
    println!("{count} records written: {}", rate(u32::try_from(count)?, started));
    Ok(())
}

/// A transaction of about 250 bytes.
fn outgoing(number: i64) -> Outgoing {
    let id = format!("00000000-0000-4000-8000-{number:012}");
    let value = format!(
        r#"{{"id":"{id}","description":"CARD PAYMENT NUMBER {number}","amount":-{}.{:02},"timestamp":"2024-01-15T08:30:00","merchant":"Merchant {}","operation_type":"payment","side":"debit","reference":"{number:020}"}}"#,
        1 + number % 1_000,
        number % 100,
        number % 500,
    );
    Outgoing { key: Some(Bytes::from(id)), value: Some(Bytes::from(value)), headers: Vec::new() }
}

fn rate(count: u32, started: Instant) -> String {
    let elapsed = started.elapsed();
    format!("{elapsed:.2?}, {:.0} records/s", f64::from(count) / elapsed.as_secs_f64())
}
