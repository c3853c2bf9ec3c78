//! Publishes records to a topic.

mod transactional;

use std::fmt;

use tally_kafka_client::{Delivery, Producer, ProducerSettings, Undelivered};
use tally_ports::{Fault, StopKind};
use tokio::sync::Mutex;

use crate::Cluster;
use crate::fault::fault;

pub use self::transactional::TransactionalPublisher;
/// A record to be published.
pub use tally_kafka_client::ProducerRecord as Outgoing;

/// Appends records to a topic: each that is [sent](Self::send) once and in order within its partition, whatever breaks meanwhile.
pub struct Publisher {
    producer: Producer,
    topic: String,
}

/// Records on their way to a topic. They go on while nobody waits, and are given up when this is dropped.
#[derive(Debug)]
pub struct Sending {
    delivery: Mutex<Delivery>,
    what: String,
}

impl Publisher {
    /// A publisher to a topic that exists. Never creates one.
    ///
    /// # Errors
    /// As [`Cluster::partitions`].
    pub async fn open(cluster: &Cluster, topic: &str) -> Result<Self, Fault> {
        cluster.partitions(topic).await?;
        let producer = cluster.client().producer(ProducerSettings::default());
        Ok(Self { producer, topic: topic.to_owned() })
    }

    /// Takes `records` on their way once there is room for them. A record with a key goes where Java's producer would send it;
    /// those without a key go to one partition, in the next call to the next one.
    pub async fn send(&self, records: Vec<Outgoing>) -> Result<Sending, Fault> {
        let what = format!("write to {}", self.topic);
        let sent = self.producer.send(&self.topic, records).await;
        let delivery = Mutex::new(sent.map_err(|error| fault(&what, &error))?);
        Ok(Sending { delivery, what })
    }

    /// [`send`](Self::send) and [`acknowledged`](Sending::acknowledged): after a fault some records may be there.
    pub async fn publish(&self, records: &[Outgoing]) -> Result<Vec<usize>, Fault> {
        self.send(records.to_vec()).await?.acknowledged().await
    }
}

impl Sending {
    /// Returns once all in-sync replicas have all of the records, except single ones over the topic's limit, whose indices it
    /// returns in order.
    ///
    /// After an outage they are still on their way: the caller calls again, and none is written twice.
    pub async fn acknowledged(&self) -> Result<Vec<usize>, Fault> {
        let delivered = self.delivery.lock().await.wait().await;
        delivered.map_err(|undelivered| undelivered_fault(&self.what, &undelivered))
    }
}

/// What failed for good is no outage, which the caller would wait for.
pub(crate) fn undelivered_fault(what: &str, undelivered: &Undelivered) -> Fault {
    match fault(what, &undelivered.error) {
        Fault::Outage { message, .. } if !undelivered.is_on_its_way => {
            Fault::stop(StopKind::Unavailable, message)
        }
        other => other,
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.topic).finish_non_exhaustive()
    }
}
