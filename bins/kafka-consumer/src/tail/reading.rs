//! The records of a partition.

use std::sync::Arc;

use serde_json::Value;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, KafkaSource, PartitionProgress, Start};
use tally_ports::{Fault, Raw, Source, Stop};
use tally_runs::Process;
use tokio::sync::{Mutex, mpsc};

/// The most records that are printed at once.
const RECORDS_AT_ONCE: usize = 500;

/// A topic that is read.
#[derive(Clone)]
pub struct Topic {
    process: Process,
    cluster: Cluster,
    decoder: Arc<Decoder>,
    name: Arc<str>,
}

/// What a partition has.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The offset after the last one; before it all transactions are decided.
    pub end: i64,
}

/// A record where it was found.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub raw: Raw,
}

impl Topic {
    pub fn new(process: &Process, cluster: Cluster, name: &str) -> Self {
        let (process, decoder) = (process.clone(), Arc::new(Decoder::of_bytes()));
        Self { process, cluster, decoder, name: name.into() }
    }

    /// What its partitions have now.
    pub async fn ends(&self) -> Result<Vec<Ends>, Fault> {
        let mut ends = Vec::new();
        for partition in self.cluster.partitions(&self.name).await? {
            let first = self.cluster.offset(&self.name, partition, Start::Earliest).await?;
            let end = self.cluster.offset(&self.name, partition, Start::Latest).await?;
            ends.push(Ends { partition, first, end });
        }
        Ok(ends)
    }

    /// A partition from an offset on, up to before another or without end.
    pub fn read(&self, partition: i32, next: i64, until: Option<i64>) -> Reading {
        let (topic, cursor) = (self.clone(), Value::Null);
        Reading { topic, partition, next, until, cursor, source: None }
    }
}

/// A partition that is read. What cannot be read is left out with a warning.
pub struct Reading {
    topic: Topic,
    partition: i32,
    next: i64,
    until: Option<i64>,
    cursor: Value,
    source: Option<(Mutex<KafkaSource>, Arc<PartitionProgress>)>,
}

impl Reading {
    /// The next records, at least one; `None` at the end. Waits for brokers that are unavailable.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, Stop> {
        loop {
            let (source, progress) = self.source.get_or_insert_with(|| {
                let Topic { cluster, decoder, name, .. } = self.topic.clone();
                let (source, progress) = KafkaSource::new(
                    cluster,
                    decoder,
                    &name,
                    self.partition,
                    self.next,
                    &self.cursor,
                    self.until,
                );
                (Mutex::new(source), progress)
            });
            let reading = || async { source.lock().await.next_batch(RECORDS_AT_ONCE).await };
            match self.topic.process.gates.source.pass(reading).await {
                Ok(None) => return Ok(None),
                Ok(Some(batch)) => {
                    let partition = self.partition;
                    let records: Vec<Record> = batch
                        .items
                        .into_iter()
                        .map(|item| Record { partition, offset: item.position, raw: item.raw })
                        .collect();
                    if !records.is_empty() {
                        return Ok(Some(records));
                    }
                }
                Err(stop) => {
                    let gap = progress.gap().ok_or(stop)?;
                    tracing::warn!("{gap} cannot be read and is left out: {}", gap.why);
                    if gap.is_recreated && self.until.is_some() {
                        return Ok(None); // the end was that of the former log
                    }
                    (self.next, self.cursor, self.source) = (gap.resume, gap.cursor, None);
                }
            }
        }
    }

    /// Sends all that it reads, until nobody receives it any more.
    pub async fn send_to(mut self, receiver: mpsc::Sender<Result<Vec<Record>, Stop>>) {
        while let Some(records) = self.next().await.transpose() {
            let is_last = records.is_err();
            if receiver.send(records).await.is_err() || is_last {
                return;
            }
        }
    }
}
