//! Transactions of one partition, with a record of their progress.

use std::time::Duration;

use tally_kafka_client::{Delivery, Error, TopicRecords, TransactionalProducer};
use tally_ports::{Fault, OutgoingRecord, Progress, Stream, failpoint};
use tokio::sync::OnceCell;

use super::{by_topic, outgoing, progress_record, settings};
use crate::fault::{setting, transaction_fault};
use crate::{Cluster, ProgressTopic};

/// What all transactions of a process have in common.
pub(super) struct ExactlyOnce {
    cluster: Cluster,
    prefix: String,
    topic: String,
    opened: OnceCell<ProgressTopic>,
}

/// Transactions for one partition.
pub struct Transactions {
    producer: TransactionalProducer,
    progress: ProgressTopic,
    topic: String,
    prefix: String,
    /// `FLOW/STREAM/PARTITION`: the key of the progress.
    key: String,
    /// Of the source, and of the progress topic.
    partition: i32,
}

impl ExactlyOnce {
    pub(super) fn new(cluster: Cluster, prefix: &str, topic: &str) -> Self {
        let (prefix, topic) = (prefix.to_owned(), topic.to_owned());
        Self { cluster, prefix, topic, opened: OnceCell::new() }
    }

    /// The progress topic, which is made where it is missing.
    pub(super) async fn topic(&self, partitions: i32) -> Result<&ProgressTopic, Fault> {
        let open = || ProgressTopic::open(&self.cluster, &self.topic, partitions);
        self.opened.get_or_try_init(open).await
    }

    pub(super) async fn begin(
        &self,
        stream: &Stream,
        timeout: Duration,
    ) -> Result<Transactions, Fault> {
        let Stream { flow, name, partition, .. } = stream;
        let progress = self.topic(partition + 1).await?.clone();
        let key = format!("{flow}/{name}/{partition}");
        let id = format!("{}/{key}", self.prefix);
        let begun = self.cluster.client().transactional_producer(settings(), &id, timeout).await;
        let what = format!("begin with the transactional id {id}");
        let producer = begun.map_err(|error| transaction_fault(&what, &error))?;
        let (topic, prefix) = (self.topic.clone(), self.prefix.clone());
        Ok(Transactions { producer, progress, topic, prefix, key, partition: *partition })
    }
}

impl Transactions {
    pub(super) fn progress_topic(&self) -> &str {
        &self.topic
    }

    pub(super) async fn progress(&self) -> Result<Option<Progress>, Fault> {
        let values = self.progress.read(self.partition).await?;
        progress_record::read(&self.topic, &self.key, &self.prefix, &values)
    }

    /// One transaction; aborted where records are too large, whose indices are returned in order. The progress topic takes
    /// `limit` bytes.
    pub(super) async fn commit(
        &mut self,
        records: &[OutgoingRecord],
        progress: &Progress,
        limit: usize,
    ) -> Result<Vec<usize>, Fault> {
        let progress = progress_record::records(&self.key, &self.prefix, progress, limit)?;
        failpoint("produce-before");
        let topics = by_topic(records);
        let mut parts = Vec::with_capacity(topics.len() + 1);
        for (topic, indices) in &topics {
            let records = indices.iter().map(|&index| outgoing(&records[index])).collect();
            parts.push(TopicRecords { topic, partition: None, records });
        }
        let (topic, partition) = (&*self.topic, Some(self.partition));
        parts.push(TopicRecords { topic, partition, records: progress });
        let sent = self.producer.send_all(parts).await;
        let mut deliveries = sent.map_err(|error| self.fault("write", &error))?.into_iter();
        let mut too_large = Vec::new();
        for (indices, mut delivery) in topics.into_values().zip(deliveries.by_ref()) {
            let places = self.delivered(&mut delivery).await?;
            too_large.extend(places.into_iter().map(|place| indices[place]));
        }
        for mut progress in deliveries {
            if !self.delivered(&mut progress).await?.is_empty() {
                let topic = &self.topic;
                return Err(setting(format!(
                    "{topic} does not take records of {limit} bytes: raise its max.message.bytes"
                )));
            }
        }
        failpoint("produce-after");
        if !too_large.is_empty() {
            let aborted = self.producer.abort().await;
            aborted.map_err(|error| self.fault("abort", &error))?;
            too_large.sort_unstable();
            return Ok(too_large);
        }
        failpoint("kafka-commit-before");
        let committed = self.producer.commit().await;
        committed.map_err(|error| self.fault("commit", &error))?;
        failpoint("kafka-commit-after");
        Ok(Vec::new())
    }

    async fn delivered(&self, delivery: &mut Delivery) -> Result<Vec<usize>, Fault> {
        let delivered = delivery.wait().await;
        delivered.map_err(|undelivered| self.fault("write", &undelivered.error))
    }

    fn fault(&self, verb: &str, error: &Error) -> Fault {
        let id = format!("{}/{}", self.prefix, self.key);
        transaction_fault(&format!("{verb} with the transactional id {id}"), error)
    }
}
