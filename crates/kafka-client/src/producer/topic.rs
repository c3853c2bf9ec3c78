//! The topics that are written to.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

use super::partitioner::partition_of;
use crate::client::Client;
use crate::error::Error;

/// What is known of a topic is read again after this: it may have more partitions, or take larger records.
const KNOWN_FOR: Duration = Duration::from_mins(1);

const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// A broker reads no request over 100 MB by default, and hangs up.
const LARGEST_BATCH: usize = 100_000_000;

pub(super) struct OutputTopics {
    client: Client,
    known: Mutex<HashMap<Arc<str>, Arc<OutputTopic>>>,
}

pub(super) struct OutputTopic {
    pub(super) name: Arc<str>,
    partitions: Vec<i32>,
    /// The most that a batch may take, compressed.
    pub(super) max_batch_bytes: usize,
    /// Counts the calls: records without a key go to another partition in each.
    pub(super) calls: Arc<AtomicUsize>,
    read_at: Instant,
}

impl OutputTopic {
    /// As Java's producer has it; without a key by the number of the call.
    pub(super) fn partition_of(&self, key: Option<&[u8]>, call: usize) -> i32 {
        let count = self.partitions.len();
        self.partitions[key.map_or(call % count, |key| partition_of(key, count))]
    }

    pub(super) fn check(&self, partition: i32) -> Result<(), Error> {
        if self.partitions.contains(&partition) {
            return Ok(());
        }
        let (topic, count) = (self.name.clone(), self.partitions.len());
        Err(Error::MissingPartition { topic, partition, count })
    }
}

impl OutputTopics {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// Where it cannot be read again, what is known stays.
    pub(super) async fn find(&self, name: &str) -> Result<Arc<OutputTopic>, Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(known) = &known
            && known.read_at.elapsed() < KNOWN_FOR
        {
            return Ok(known.clone());
        }
        match (self.read(name).await, known) {
            (Ok(mut read), known) => {
                if let Some(known) = known {
                    read.calls.clone_from(&known.calls);
                }
                let read = Arc::new(read);
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(read.name.clone(), read.clone());
                Ok(read)
            }
            (Err(error), Some(known)) if error.is_retriable() => Ok(known),
            (Err(error), _) => Err(error),
        }
    }

    async fn read(&self, name: &str) -> Result<OutputTopic, Error> {
        let found = self.client.topic(name).await?;
        if found.partitions.is_empty() {
            let (topic, partition) = (found.name, 0);
            return Err(Error::NoLeader { topic, partition });
        }
        let max_batch_bytes = match self.client.topic_setting(name, MAX_MESSAGE_BYTES).await {
            // Then refusals tell.
            Err(error) if error.code() == Some(ResponseError::TopicAuthorizationFailed) => {
                LARGEST_BATCH
            }
            limit => limit?.and_then(|limit| limit.parse().ok()).unwrap_or(LARGEST_BATCH),
        };
        let partitions = found.partitions.iter().map(|led| led.partition).collect();
        let (name, calls, read_at) = (found.name, Arc::default(), Instant::now());
        Ok(OutputTopic { name, partitions, max_batch_bytes, calls, read_at })
    }
}
