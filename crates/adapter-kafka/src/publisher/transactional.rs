//! Publishes transactions to a topic.

use std::fmt;
use std::time::Duration;

use tally_kafka_client::{Error, ProducerSettings, TransactionalProducer};
use tally_ports::Fault;
use tokio::sync::Mutex;

use super::{Outgoing, Sending};
use crate::Cluster;
use crate::fault::fault;

/// Appends records to a topic in transactions: those who read only committed records see all of one or none.
pub struct TransactionalPublisher {
    producer: Mutex<TransactionalProducer>,
    topic: String,
    id: String,
}

impl TransactionalPublisher {
    /// A publisher to a topic that exists. Whoever had this transactional id is fenced, and what it left open is aborted. The
    /// broker aborts a transaction that is open for longer than `timeout`.
    ///
    /// # Errors
    /// As [`Cluster::partitions`]; [`tally_ports::StopKind::Setting`] where this user may not use the id, or the broker allows no such
    /// timeout.
    pub async fn open(
        cluster: &Cluster,
        topic: &str,
        id: &str,
        timeout: Duration,
    ) -> Result<Self, Fault> {
        cluster.partitions(topic).await?;
        let settings = ProducerSettings::default();
        let begun = cluster.client().transactional_producer(settings, id, timeout).await;
        let what = format!("begin with the transactional id {id}");
        let producer = Mutex::new(begun.map_err(|error| fault(&what, &error))?);
        Ok(Self { producer, topic: topic.to_owned(), id: id.to_owned() })
    }

    /// As [`Publisher::send`](super::Publisher::send), as part of the transaction.
    pub async fn send(&self, records: Vec<Outgoing>) -> Result<Sending, Fault> {
        let sent = self.producer.lock().await.send(&self.topic, records).await;
        let delivery = Mutex::new(sent.map_err(|error| self.fault("write", &error))?);
        Ok(Sending { delivery, what: self.what("write") })
    }

    /// Returns once all that was sent is committed. After an outage the caller calls again.
    ///
    /// # Errors
    /// [`tally_ports::StopKind::Taken`] where another one has the id by now, or the broker has aborted the transaction.
    pub async fn commit(&self) -> Result<(), Fault> {
        let committed = self.producer.lock().await.commit().await;
        committed.map_err(|error| self.fault("commit", &error))
    }

    /// Returns once none of what was sent since the last commit can be committed any more.
    pub async fn abort(&self) -> Result<(), Fault> {
        let aborted = self.producer.lock().await.abort().await;
        aborted.map_err(|error| self.fault("abort", &error))
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} to {} with the transactional id {}", self.topic, self.id)
    }

    fn fault(&self, verb: &str, error: &Error) -> Fault {
        fault(&self.what(verb), error)
    }
}

impl fmt::Debug for TransactionalPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalPublisher")
            .field("topic", &self.topic)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
