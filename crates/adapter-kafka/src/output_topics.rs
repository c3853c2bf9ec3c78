//! The topics that flows publish to.

mod progress_record;
mod transactions;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tally_kafka_client::{Delivery, Error, Producer, ProducerSettings};
use tally_ports::{Fault, OutgoingRecord, Progress, Publish, Stream};
use tokio::sync::Mutex;

use self::transactions::ExactlyOnce;
pub use self::transactions::Transactions;
use crate::fault::{fault, setting};
use crate::publisher::undelivered_fault;
use crate::{Cluster, Outgoing};

/// Publishes to any topic of a cluster.
pub struct OutputTopics {
    cluster: Cluster,
    producer: Producer,
    exactly_once: Option<ExactlyOnce>,
}

/// Records on their way to topics.
#[derive(Debug)]
pub struct SendingToTopics {
    topics: Vec<SendingToTopic>,
}

/// Those of one topic.
#[derive(Debug)]
struct SendingToTopic {
    topic: String,
    /// Where they stand among all.
    indices: Vec<usize>,
    delivery: Mutex<Delivery>,
}

impl OutputTopics {
    /// To topics of `cluster`. Does not connect yet.
    pub fn new(cluster: Cluster) -> Self {
        let producer = cluster.client().producer(settings());
        Self { cluster, producer, exactly_once: None }
    }

    /// The same, also in transactions: their ids begin with `prefix`, and the topic `progress` says how far they go.
    #[must_use]
    pub fn in_transactions(mut self, prefix: &str, progress: &str) -> Self {
        self.exactly_once = Some(ExactlyOnce::new(self.cluster.clone(), prefix, progress));
        self
    }

    fn exactly_once(&self) -> Result<&ExactlyOnce, Fault> {
        self.exactly_once.as_ref().ok_or_else(|| setting("transactions have no progress topic"))
    }
}

impl Publish for OutputTopics {
    type Sending = SendingToTopics;
    type Transactions = Transactions;

    async fn limit(&self, topic: &str) -> Result<usize, Fault> {
        // A topic that is missing is told with those of similar names.
        self.cluster.partitions(topic).await?;
        let limit = self.producer.max_batch_bytes(topic).await;
        limit.map_err(|error| unavailable(topic, &error))
    }

    async fn send(&self, records: &[OutgoingRecord]) -> Result<SendingToTopics, Fault> {
        let topics = by_topic(records);
        // All or none: what can fail comes first.
        for topic in topics.keys() {
            let found = self.producer.max_batch_bytes(topic).await;
            found.map_err(|error| unavailable(topic, &error))?;
        }
        let mut sending = Vec::with_capacity(topics.len());
        for (topic, indices) in topics {
            let outgoing = indices.iter().map(|&index| outgoing(&records[index])).collect();
            let sent = self.producer.send(topic, outgoing).await;
            let delivery = Mutex::new(sent.map_err(|error| unavailable(topic, &error))?);
            sending.push(SendingToTopic { topic: topic.to_owned(), indices, delivery });
        }
        Ok(SendingToTopics { topics: sending })
    }

    async fn acknowledged(&self, sending: &SendingToTopics) -> Result<Vec<usize>, Fault> {
        let mut too_large = Vec::new();
        for SendingToTopic { topic, indices, delivery } in &sending.topics {
            let delivered = delivery.lock().await.wait().await;
            let places = delivered
                .map_err(|undelivered| undelivered_fault(&write_to(topic), &undelivered))?;
            too_large.extend(places.into_iter().map(|place| indices[place]));
        }
        too_large.sort_unstable();
        Ok(too_large)
    }

    async fn prepare_transactions(&self, partitions: i32) -> Result<(), Fault> {
        self.exactly_once()?.topic(partitions).await.map(drop)
    }

    async fn begin_transactions(
        &self,
        stream: &Stream,
        timeout: Duration,
    ) -> Result<Transactions, Fault> {
        self.exactly_once()?.begin(stream, timeout).await
    }

    async fn progress(&self, transactions: &Transactions) -> Result<Option<Progress>, Fault> {
        transactions.progress().await
    }

    async fn transact(
        &self,
        transactions: &mut Transactions,
        records: &[OutgoingRecord],
        progress: &Progress,
    ) -> Result<Vec<usize>, Fault> {
        let topic = transactions.progress_topic();
        let limit = self.producer.max_batch_bytes(topic).await;
        let limit = limit.map_err(|error| unavailable(topic, &error))?;
        transactions.commit(records, progress, limit).await
    }
}

/// What is published comes by the thousand at once: brokers take few large batches for less than many small ones.
fn settings() -> ProducerSettings {
    ProducerSettings { batch_bytes: 1 << 20, ..ProducerSettings::default() }
}

/// Where the records of each topic stand among all.
fn by_topic(records: &[OutgoingRecord]) -> BTreeMap<&str, Vec<usize>> {
    let mut topics: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        topics.entry(&record.topic).or_default().push(index);
    }
    topics
}

fn write_to(topic: &str) -> String {
    format!("write to {topic}")
}

fn unavailable(topic: &str, error: &Error) -> Fault {
    fault(&write_to(topic), error)
}

impl fmt::Debug for OutputTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputTopics").finish_non_exhaustive()
    }
}

fn outgoing(record: &OutgoingRecord) -> Outgoing {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_bytes().clone(), value.clone())).collect();
    Outgoing { key: record.key.clone(), value: record.value.clone(), headers }
}
