//! Logs and metrics while the topic is read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::gauge;
use tally_adapter_kafka::{Cluster, PartitionProgress, Start};
use tally_pipeline::Totals;
use tally_ports::metric;
use tokio::time::{MissedTickBehavior, interval};

const MEASURED_EVERY: Duration = Duration::from_secs(1);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Logs and metrics while the topic is read.
pub(super) struct Progress {
    topic: String,
    began: Instant,
    /// Records committed.
    read: AtomicI64,
    /// The partitions held.
    partitions: Mutex<BTreeMap<i32, Arc<PartitionProgress>>>,
    /// The counts of partitions that are no longer held.
    totals: Mutex<Totals>,
}

impl Progress {
    /// Nothing yet.
    pub(super) fn new(topic: String) -> Self {
        let (partitions, totals) = (Mutex::default(), Mutex::default());
        Self { topic, began: Instant::now(), read: AtomicI64::new(0), partitions, totals }
    }

    /// Shows an owned partition until [`end`](Self::end).
    pub(super) fn begin(&self, partition: i32, progress: Arc<PartitionProgress>) {
        self.partitions().insert(partition, progress);
    }

    /// Stops showing a partition: another worker measures it from now on.
    pub(super) fn end(&self, partition: i32) {
        if self.partitions().remove(&partition).is_some() {
            self.export(partition, 0, Duration::ZERO);
        }
    }

    /// Counts committed records.
    pub(super) fn add(&self, read: i64) {
        self.read.fetch_add(read, Ordering::Relaxed);
    }

    /// Adds the counts of a partition's reader.
    pub(super) fn merge(&self, totals: Totals) {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).merge(totals);
    }

    /// Logs and measures until dropped.
    pub(super) async fn show(self: Arc<Self>, cluster: Cluster) {
        let mut measured = interval(MEASURED_EVERY);
        measured.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut said, mut said_at) = (0, Instant::now());
        loop {
            measured.tick().await;
            let partitions: Vec<_> = self
                .partitions()
                .iter()
                .map(|(number, progress)| (*number, Arc::clone(progress)))
                .collect();
            for (partition, progress) in &partitions {
                // While the broker is unavailable the last known end stays.
                if let Ok(end) = cluster.offset(&self.topic, *partition, Start::Latest).await {
                    progress.saw_end(end);
                }
            }
            let lag = self.measure();
            let read = self.read.load(Ordering::Relaxed);
            if said_at.elapsed() >= LINE_EVERY && read > said {
                let rate = rate(read - said, said_at.elapsed());
                tracing::info!("{read} records, {rate} records/s, {lag} behind");
                (said, said_at) = (read, Instant::now());
            }
        }
    }

    /// Logs the summary.
    pub(super) fn summarize(&self) {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let Totals { read, written, superseded, skipped, dead_lettered, dead_letters, .. } =
            &*totals;
        tracing::info!(
            "{read} records read in {:.2} s: {written} written, {superseded} superseded, {skipped} skipped, {dead_lettered} dead letters {dead_letters:?}",
            self.began.elapsed().as_secs_f64(),
        );
    }

    /// Exports each partition's lag; returns the sum.
    fn measure(&self) -> i64 {
        let mut sum = 0;
        for (partition, progress) in &*self.partitions() {
            let lag = progress.lag();
            sum += lag.records;
            self.export(*partition, lag.records, lag.oldest.unwrap_or_default());
        }
        sum
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 records")]
    fn export(&self, partition: i32, records: i64, oldest: Duration) {
        let labels = [("topic", self.topic.clone()), ("partition", partition.to_string())];
        gauge!(metric::KAFKA_LAG_RECORDS, &labels).set(records as f64);
        gauge!(metric::KAFKA_OLDEST_UNPROCESSED, &labels).set(oldest.as_secs_f64());
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<PartitionProgress>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "for people")]
fn rate(count: i64, took: Duration) -> i64 {
    (count as f64 / took.as_secs_f64().max(0.001)) as i64
}
