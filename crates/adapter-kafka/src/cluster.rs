//! The brokers, as this process knows them.

mod start;
mod topics;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;
use tally_kafka_client::{Client, Error, Isolation, Partition};
use tally_ports::Fault;
use tokio::sync::Semaphore;

pub use self::start::Start;
use crate::Security;
use crate::cursor::Cursor;
use crate::fault::fault;

/// An answer may be larger than the largest batch by so much: its other parts.
const ANSWER_BESIDE_BATCH: usize = 1024 * 1024;
/// How long it may take to connect to one broker, at most.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// How to reach the brokers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT` of some of the brokers; they name the others.
    pub brokers: Vec<String>,
    /// The client id in the brokers' logs and quotas.
    pub client_id: String,
    /// Encryption and authentication.
    pub security: Security,
    /// How long a batch waits for more records after its first one.
    pub linger: Duration,
    /// How long one broker may take to answer.
    pub timeout: Duration,
    /// About how many bytes a fetch asks for.
    pub fetch_bytes: i32,
    /// How many bytes the records of one batch of the log may take unpacked. The unpacked batches of all partitions
    /// together take at most twice that, and once more while one is opened.
    pub max_batch_bytes: usize,
}

impl Settings {
    /// The defaults: no encryption, linger 50 ms, timeout 10 s, fetches of 256 KiB, batches of up to 64 MiB.
    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            client_id: "tally".to_owned(),
            security: Security::default(),
            linger: Duration::from_millis(50),
            timeout: Duration::from_secs(10),
            fetch_bytes: 256 * 1024,
            max_batch_bytes: 64 * 1024 * 1024,
        }
    }

    fn client(&self, tls: Option<Arc<ClientConfig>>) -> tally_kafka_client::Settings {
        let fetch_bytes = usize::try_from(self.fetch_bytes).unwrap_or_default();
        tally_kafka_client::Settings {
            client_id: self.client_id.clone(),
            security: tally_kafka_client::Security { tls, sasl: self.security.sasl.clone() },
            connect_timeout: self.timeout.min(LONGEST_CONNECT),
            request_timeout: self.timeout,
            max_answer_bytes: self.max_batch_bytes.max(fetch_bytes) + ANSWER_BESIDE_BATCH,
            ..tally_kafka_client::Settings::new(self.brokers.clone())
        }
    }
}

/// The brokers, as this process knows them. Clones share the connections.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    client: Client,
    /// Bytes of unpacked batches.
    memory: Arc<Semaphore>,
    /// Held while a batch is unpacked that no source hands out.
    comparing: Semaphore,
    /// The partitions whose offsets were looked up.
    asked: Mutex<HashMap<(String, i32), Arc<Partition>>>,
}

impl Cluster {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`tally_ports::StopKind::Setting`] when no brokers are named, or not each by a host and a port, and when the CA
    /// file cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, Fault> {
        let tls = settings.security.tls_config()?;
        let client = Client::new(settings.client(tls));
        let client = client.map_err(|error| fault("connect to kafka", &error))?;
        let (settings, asked) = (settings.clone(), Mutex::default());
        let memory = Arc::new(Semaphore::new(settings.max_batch_bytes * 2));
        let comparing = Semaphore::new(1);
        Ok(Self { shared: Arc::new(Shared { settings, client, memory, comparing, asked }) })
    }

    /// The topic's partitions, ascending. Never creates a topic.
    ///
    /// # Errors
    /// An outage when no broker answers; [`tally_ports::StopKind::Setting`] when address, certificates or password are
    /// wrong, and for a topic that does not exist; the message lists those with similar names.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, Fault> {
        topics::partitions(self, topic).await
    }

    /// Where to begin in order to read from `at` on. The end is the last stable offset, before which all transactions
    /// are decided; for a time after all records it is that, too.
    pub async fn offset(&self, topic: &str, partition: i32, at: Start) -> Result<i64, Fault> {
        let what = format!("ask for offsets of {topic}/{partition}");
        let offset = match self.offset_of_known(topic, partition, at).await {
            // What is known of it is that of the former one.
            Err(Error::Recreated { .. }) => {
                self.asked(|asked| asked.remove(&(topic.to_owned(), partition)));
                self.offset_of_known(topic, partition, at).await
            }
            answer => answer,
        };
        offset.map_err(|error| fault(&what, &error))
    }

    async fn offset_of_known(&self, topic: &str, partition: i32, at: Start) -> Result<i64, Error> {
        let key = (topic.to_owned(), partition);
        let known = self.asked(|asked| asked.get(&key).cloned());
        let log = if let Some(known) = known {
            known
        } else {
            let opened = Arc::new(self.client().partition(topic, partition).await?);
            self.asked(|asked| asked.insert(key, Arc::clone(&opened)));
            opened
        };
        let isolation = Isolation::ReadCommitted;
        match at {
            Start::Earliest => log.earliest().await,
            Start::Latest => log.latest(isolation).await,
            Start::At(time) => match log.at(time.timestamp_millis(), isolation).await? {
                Some(found) => Ok(found),
                None => log.latest(isolation).await,
            },
        }
    }

    /// The cursor of a position in the topic as it is now, before any record was read.
    pub async fn cursor(&self, topic: &str) -> Result<Value, Fault> {
        let found = self.client().topic(topic).await;
        let found = found.map_err(|error| fault(&format!("look up {topic}"), &error))?;
        Ok(Cursor { topic_id: found.id, last: None }.to_json())
    }

    /// Commits the group's offsets in Kafka: for each partition the next offset to be read. Nothing here reads them.
    pub async fn report_offsets(
        &self,
        group: &str,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), Fault> {
        let reported = self.client().commit_offsets(group, topic, offsets).await;
        reported.map_err(|error| fault(&format!("report offsets of {topic} to {group}"), &error))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    pub(crate) fn memory(&self) -> &Arc<Semaphore> {
        &self.shared.memory
    }

    pub(crate) fn comparing(&self) -> &Semaphore {
        &self.shared.comparing
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        format!("kafka at {}", self.shared.settings.brokers.join(","))
    }

    fn asked<T>(&self, work: impl FnOnce(&mut HashMap<(String, i32), Arc<Partition>>) -> T) -> T {
        work(&mut self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
