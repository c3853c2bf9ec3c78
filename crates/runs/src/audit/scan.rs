//! A part of a topic's partition from its begin to its end, whatever lies in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, KafkaSource, PartitionProgress};
use tally_ports::{Batch, Fault, Source};

/// As many records are looked at once; a batch is closed earlier at 4 MiB.
const RECORDS_AT_ONCE: usize = 10_000;
/// Records that the broker says it has come within this time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A part of a topic's partition from its begin to its end, whatever lies in it.
pub(super) struct Scan<'a> {
    cluster: &'a Cluster,
    decoder: &'a Arc<Decoder>,
    topic: &'a str,
    partition: i32,
    next: i64,
    until: i64,
    source: Option<(KafkaSource, Arc<PartitionProgress>)>,
}

/// What comes next.
pub(super) enum Scanned {
    Batch(Batch),
    /// Nothing can be read from one offset to before another.
    Unreadable(i64, i64),
}

impl<'a> Scan<'a> {
    /// From one offset to before another.
    pub(super) fn new(
        cluster: &'a Cluster,
        decoder: &'a Arc<Decoder>,
        topic: &'a str,
        partition: i32,
        (next, until): (i64, i64),
    ) -> Self {
        Self { cluster, decoder, topic, partition, next, until, source: None }
    }

    /// What comes next; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Scanned>, Fault> {
        let Self { topic, partition, .. } = *self;
        let asked_at = Instant::now();
        while self.next < self.until {
            let (source, progress) = self.source.get_or_insert_with(|| {
                let (decoder, until) = (Arc::clone(self.decoder), Some(self.until));
                let (cluster, cursor) = (self.cluster.clone(), Value::Null);
                KafkaSource::new(cluster, decoder, topic, partition, self.next, &cursor, until)
            });
            match source.next_batch(RECORDS_AT_ONCE).await {
                Ok(None) => break,
                Ok(Some(batch)) if batch.is_idle() => {
                    if asked_at.elapsed() > PATIENCE {
                        let next = self.next;
                        return Err(Fault::outage(format!(
                            "kafka: nothing comes from {topic}/{partition} at {next}"
                        )));
                    }
                }
                Ok(Some(batch)) => {
                    self.next = batch.last + 1;
                    return Ok(Some(Scanned::Batch(batch)));
                }
                Err(fault) => {
                    let gap = progress.gap().filter(|gap| gap.resume > self.next).ok_or(fault)?;
                    self.source = None;
                    let from = std::mem::replace(&mut self.next, gap.resume);
                    return Ok(Some(Scanned::Unreadable(from, gap.resume)));
                }
            }
        }
        Ok(None)
    }
}
