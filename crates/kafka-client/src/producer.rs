//! Writes records: each once and in order, whatever breaks in between.

mod lane;
mod pack;
mod partitioner;
mod requests;
mod sender;
mod topic;
mod transaction;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use self::lane::Entry;
use self::sender::{Call, Command, Outcome, Sender};
use self::topic::{OutputTopic, OutputTopics};
pub use self::transaction::TransactionalProducer;
use crate::client::Client;
use crate::compression::Codec;
use crate::error::Error;

/// How a producer writes.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// How batches are compressed.
    pub codec: Codec,
    /// A batch is sent once it has about this many bytes, before compression.
    pub batch_bytes: usize,
    /// A batch that is smaller waits so long for more records.
    pub linger: Duration,
    /// How many bytes of records may be on their way; [`Producer::send`] waits until there is room.
    pub buffer_bytes: u32,
    /// How long a partition may fail before [`Delivery::wait`] says so.
    pub patience: Duration,
}

impl Default for ProducerSettings {
    /// lz4, batches of 256 KiB that wait for nothing, 32 MiB on their way, five seconds of patience.
    fn default() -> Self {
        Self {
            codec: Codec::Lz4,
            batch_bytes: 256 * 1024,
            linger: Duration::ZERO,
            buffer_bytes: 32 << 20,
            patience: Duration::from_secs(5),
        }
    }
}

/// A record to be written. Its `Debug` shows only lengths.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Records of one key go to one partition, in order.
    pub key: Option<Bytes>,
    /// Its content; none for a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Records of one topic, to be written together with those of others.
#[derive(Clone, Debug)]
pub struct TopicRecords<'a> {
    /// Where they go.
    pub topic: &'a str,
    /// To this partition; else each by its key.
    pub partition: Option<i32>,
    /// In order.
    pub records: Vec<ProducerRecord>,
}

/// An idempotent producer. Clones share it, and their records go together.
///
/// The records of one call, and of calls after each other, keep their order in each partition. A record is written once,
/// whatever breaks: batches carry sequence numbers, by which brokers leave out what they have. Only where a broker lost what it had acknowledged,
/// or where a call was given up, may a record be there twice.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ProducerSettings,
    commands: mpsc::UnboundedSender<Command>,
    topics: OutputTopics,
    memory: Arc<Semaphore>,
    deliveries: AtomicU64,
}

/// Records of a topic with their partitions.
struct Assigned {
    topic: Arc<OutputTopic>,
    records: Vec<(i32, ProducerRecord)>,
}

/// Records on their way.
#[derive(Debug)]
pub struct Delivery {
    outcomes: watch::Receiver<Option<Outcome>>,
}

impl Delivery {
    /// Returns once all in-sync replicas have all records, except those that are larger than the topic takes, whose indices it
    /// returns in order.
    ///
    /// # Errors
    /// Where records are still on their way, the caller waits again, or gives them up by dropping this. What is final is
    /// answered again.
    pub async fn wait(&mut self) -> Result<Vec<usize>, Undelivered> {
        let is_over = self.outcomes.changed().await.is_err();
        let outcome = self.outcomes.borrow_and_update().clone();
        let is_final = |outcome: &Outcome| outcome.as_ref().err().is_none_or(|e| !e.is_on_its_way);
        let abandoned = Undelivered { error: Error::Abandoned, is_on_its_way: false };
        outcome.filter(|outcome| !is_over || is_final(outcome)).unwrap_or(Err(abandoned))
    }
}

/// Why records are not written, or not yet.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Undelivered {
    /// What was in the way last.
    pub error: Error,
    /// They are sent again until it goes well. Otherwise some of them may be written.
    pub is_on_its_way: bool,
}

impl Producer {
    /// Starts a task that ends when the last clone is dropped and nothing is on its way. Does not connect yet.
    fn start(client: Client, settings: ProducerSettings, kind: Kind) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let topics = OutputTopics::new(client.clone());
        tokio::spawn(Sender::new(client, settings.clone(), kind, received).run());
        let memory = Arc::new(Semaphore::new(settings.buffer_bytes.max(1) as usize));
        let deliveries = AtomicU64::new(0);
        let shared = Shared { settings, commands, topics, memory, deliveries };
        Self { shared: Arc::new(shared) }
    }

    /// Takes records on their way to a topic, once there is room for them. A record with a key goes where Java's producer would
    /// send it; those without a key go to one partition, in the next call to the next one.
    ///
    /// # Errors
    /// Where the topic cannot be looked up. Nothing was sent.
    pub async fn send(&self, topic: &str, records: Vec<ProducerRecord>) -> Result<Delivery, Error> {
        let assigned = self.assign(TopicRecords { topic, partition: None, records }).await?;
        let mut deliveries = self.send_assigned(vec![assigned]).await;
        deliveries.pop().ok_or(Error::Abandoned)
    }

    /// The most bytes that a batch of the topic may take, compressed: its `max.message.bytes`, or about as much as a broker
    /// reads at once where this user may not know that.
    pub async fn max_batch_bytes(&self, topic: &str) -> Result<usize, Error> {
        Ok(self.shared.topics.find(topic).await?.max_batch_bytes)
    }

    async fn assign(&self, records: TopicRecords<'_>) -> Result<Assigned, Error> {
        let TopicRecords { topic, partition, records } = records;
        let topic = self.shared.topics.find(topic).await?;
        let records = records.into_iter();
        let records = if let Some(partition) = partition {
            topic.check(partition)?;
            records.map(|record| (partition, record)).collect()
        } else {
            let call = topic.calls.fetch_add(1, Ordering::Relaxed);
            let partition_of =
                |record: &ProducerRecord| topic.partition_of(record.key.as_deref(), call);
            records.map(|record| (partition_of(&record), record)).collect()
        };
        Ok(Assigned { topic, records })
    }

    /// All at once, so that they share requests; the deliveries are in the same order.
    async fn send_assigned(&self, assigned: Vec<Assigned>) -> Vec<Delivery> {
        let shared = &self.shared;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let (mut bytes, mut calls, mut deliveries) = (0, Vec::new(), Vec::new());
        for Assigned { topic, records } in assigned {
            let delivery = shared.deliveries.fetch_add(1, Ordering::Relaxed);
            let entries = records.into_iter().enumerate().map(|(index, (partition, record))| {
                let size = pack::size(&record);
                bytes += size;
                (partition, Entry { delivery, index, record, time, size })
            });
            let entries = entries.collect();
            let (outcomes, received) = watch::channel(None);
            let (topic, max_batch_bytes) = (topic.name.clone(), topic.max_batch_bytes);
            calls.push(Call { topic, max_batch_bytes, delivery, entries, outcomes, permit: None });
            deliveries.push(Delivery { outcomes: received });
        }
        let permit = self.room(bytes).await.map(Arc::new);
        for call in &mut calls {
            call.permit.clone_from(&permit);
        }
        // Where the task has ended, so has its end of the channels.
        let _ = shared.commands.send(Command::Send(calls));
        deliveries
    }

    /// What is larger than the whole buffer takes all of it.
    async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let most = self.shared.settings.buffer_bytes.max(1);
        let bytes = u32::try_from(bytes).unwrap_or(most).min(most);
        self.shared.memory.clone().acquire_many_owned(bytes).await.ok()
    }
}

impl Client {
    /// A producer that writes each record once.
    pub fn producer(&self, settings: ProducerSettings) -> Producer {
        Producer::start(self.clone(), settings, Kind::Idempotent)
    }
}

/// Whose batches these are, for a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// How a producer comes to its identity.
#[derive(Clone, Debug)]
enum Kind {
    /// By any broker.
    Idempotent,
    /// By its transactional id, at its coordinator.
    Transactional(Arc<str>),
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for ProducerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map(Bytes::len);
        f.debug_struct("ProducerRecord")
            .field("key_bytes", &length(&self.key))
            .field("value_bytes", &length(&self.value))
            .field("headers", &self.headers.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_content() {
        let secret = Some(Bytes::from_static(b"secret"));
        let headers = vec![(Bytes::from_static(b"secret"), secret.clone())];
        let record = ProducerRecord { key: secret.clone(), value: secret, headers };
        let shown = format!("{record:?}");
        assert!(!shown.contains("secret") && shown.contains('6'), "{shown}");
    }
}
