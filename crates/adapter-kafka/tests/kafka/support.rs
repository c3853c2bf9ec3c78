//! Topics of visits, and sources that read them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tally_adapter_kafka::wire::{Decoder, Registry};
use tally_adapter_kafka::{Cluster, Gap, KafkaSource, PartitionProgress, Settings};
use tally_domain::{Envelope, Flow, TimeUnits};
use tally_harness::kafka::{Broker, Record, record};
use tally_ports::{Batch, Fault, Passed, Source, StopKind};
use tally_testkit::visits::Visits;

/// Longer than any of these tests: for what must not happen by itself.
pub const NEVER: Duration = Duration::from_mins(1);

/// What is awaited comes sooner.
const DEADLINE: Duration = Duration::from_secs(30);

/// One partition of a topic, and how it is read.
pub struct Topic {
    pub name: String,
    pub settings: Settings,
    pub cluster: Cluster,
}

impl Topic {
    pub async fn new(broker: &Broker) -> Self {
        Self::named(broker, broker.topic(1).await)
    }

    pub fn named(broker: &Broker, name: String) -> Self {
        let settings = Settings::new(vec![broker.bootstrap().to_owned()]);
        let cluster = Cluster::new(&settings).unwrap();
        Self { name, settings, cluster }
    }

    /// With other settings.
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.cluster = Cluster::new(&self.settings).unwrap();
        self
    }

    pub fn source(
        &self,
        next: i64,
        cursor: &Value,
        until: Option<i64>,
    ) -> (KafkaSource, Arc<PartitionProgress>) {
        let decoder = Arc::new(decoder(None));
        KafkaSource::new(self.cluster.clone(), decoder, &self.name, 0, next, cursor, until)
    }

    /// All batches from the start up to `until`.
    pub async fn read(&self, until: i64) -> Vec<Batch> {
        read(&mut self.source(0, &Value::Null, Some(until)).0, 0, until).await
    }
}

/// Reads visits.
pub fn decoder(registry: Option<Registry>) -> Decoder {
    Decoder::new(Visits::default().columns(), &TimeUnits::new(), Envelope::Plain, registry)
}

/// A visit as JSON.
pub fn payload(number: usize) -> String {
    format!(r#"{{"who":"visitor {number}","page":"/","at":"2024-01-15 08:30:00"}}"#)
}

pub fn visits(numbers: std::ops::Range<usize>) -> Vec<Record> {
    let visit = |number| record(Some(b"key"), Some(payload(number).as_bytes()));
    numbers.map(visit).collect()
}

/// One record each, so that each is a batch of the log.
pub async fn produce_singly(broker: &Broker, topic: &str, records: Vec<Record>) {
    for record in records {
        broker.produce(topic, 0, vec![record]).await;
    }
}

/// All batches up to the end, which must lie at `until`. They leave no gap and no overlap.
pub async fn read(source: &mut KafkaSource, next: i64, until: i64) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut next = next;
    let deadline = Instant::now() + DEADLINE;
    while let Some(batch) = source.next_batch(1000).await.unwrap() {
        assert!(Instant::now() < deadline, "only up to {next}");
        if !batch.is_idle() {
            check_follows(&batch, next);
            next = batch.last + 1;
            batches.push(batch);
        }
    }
    assert_eq!(next, until);
    assert!(source.next_batch(1000).await.unwrap().is_none(), "the end stays the end");
    batches
}

#[track_caller]
pub fn check_follows(batch: &Batch, next: i64) {
    assert_eq!(batch.first, next);
    let passed = Passed::sum_of(&batch.passed.to_json().to_string()).unwrap();
    let read = i64::try_from(batch.items.len()).unwrap();
    assert_eq!(read + passed, batch.last - batch.first + 1, "{:?}", batch.passed);
    assert!(batch.items.iter().all(|item| (batch.first..=batch.last).contains(&item.position)));
    assert!(batch.items.is_sorted_by(|a, b| a.position < b.position));
}

/// The next batch that passes something.
pub async fn next(source: &mut KafkaSource, limit: usize) -> Batch {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "nothing came");
        let batch = source.next_batch(limit).await.unwrap().unwrap();
        if !batch.is_idle() {
            return batch;
        }
    }
}

pub fn positions(batches: &[Batch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| &batch.items).map(|item| item.position).collect()
}

/// How many offsets were passed, by why.
pub fn passed(batches: &[Batch]) -> Value {
    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    for batch in batches {
        for (why, count) in batch.passed.to_json().as_object().unwrap() {
            *sums.entry(why.clone()).or_default() += count.as_i64().unwrap();
        }
    }
    serde_json::to_value(sums).unwrap()
}

/// The stop of a source that cannot read on, which it repeats, and the range it names.
pub async fn blocked(source: &mut KafkaSource, progress: &PartitionProgress) -> (Gap, String) {
    let deadline = Instant::now() + DEADLINE;
    let message = loop {
        assert!(Instant::now() < deadline, "not blocked");
        match source.next_batch(1000).await {
            Err(Fault::Stop(stop)) => {
                assert_eq!(stop.kind, StopKind::Blocked, "{stop}");
                break stop.message;
            }
            Err(Fault::Outage { .. }) => {}
            Ok(batch) => assert!(batch.unwrap().is_idle(), "not blocked"),
        }
    };
    let again = source.next_batch(1000).await.unwrap_err();
    assert_eq!(again.to_string(), message);
    let gap = progress.gap().unwrap();
    assert!(message.starts_with("kafka at 127.0.0.1:"), "{message}");
    let argument = message.split_once("--accept-gap ").unwrap().1;
    assert_eq!(argument, gap.to_string(), "{message}");
    assert_eq!((gap.partition, argument.parse::<Gap>().unwrap().last), (0, gap.last));
    (gap, message)
}

/// First, last, and where to go on.
pub fn range(gap: &Gap) -> (i64, i64, i64) {
    (gap.first, gap.last, gap.resume)
}
