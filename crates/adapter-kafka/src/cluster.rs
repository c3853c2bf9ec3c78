//! The brokers, as this process reaches them.

mod partition;
mod start;
mod topics;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::error::Error;
use rskafka::client::partition::OffsetAt;
use rskafka::client::{Client, ClientBuilder};
use rustls::ClientConfig;
use tally_ports::Fault;
use tokio::time::timeout;

pub(crate) use self::partition::{Answer, Partition, Refused};
pub use self::start::Start;
use crate::Security;
use crate::fault::{fault, setting};

/// How long the client itself retries.
const CLIENT_TRIES_FOR: Duration = Duration::from_secs(2);
const LONGEST_PAUSE_OF_CLIENT: Duration = Duration::from_secs(1);

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
    /// How long any call may take.
    pub timeout: Duration,
    /// About how many bytes a fetch asks for; a source holds a few times as much.
    pub fetch_bytes: i32,
}

impl Settings {
    /// The defaults: no encryption, linger 50 ms, timeout 10 s, fetches of 256 KiB.
    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            client_id: "tally".to_owned(),
            security: Security::default(),
            linger: Duration::from_millis(50),
            timeout: Duration::from_secs(10),
            fetch_bytes: 256 * 1024,
        }
    }

    /// [`tally_ports::StopKind::Setting`] unless brokers are named, each by a host and a port.
    pub fn check(&self) -> Result<(), Fault> {
        let is_address = |broker: &str| {
            broker.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        if self.brokers.is_empty() {
            return Err(setting("no kafka broker is named"));
        }
        match self.brokers.iter().find(|broker| !is_address(broker)) {
            Some(broker) => Err(setting(format!("{broker:?} is not a kafka broker's HOST:PORT"))),
            None => Ok(()),
        }
    }
}

/// The brokers, as this process reaches them. Clones share the client.
///
/// Every call ends within the timeout of the settings. The client has no timeouts of its own, and a frozen broker would
/// block every call that shares its connection: so after an outage the client is replaced by a new one.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    tls: Option<Arc<ClientConfig>>,
    current: Mutex<Current>,
    /// Held while a client is built, so that only one is.
    building: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    /// How many clients were replaced.
    generation: u64,
    client: Option<Arc<Client>>,
    /// The partitions whose offsets were looked up.
    asked: HashMap<(String, i32), Arc<Partition>>,
}

impl Cluster {
    /// Connects to one of the brokers.
    ///
    /// # Errors
    /// An outage when none answers; [`tally_ports::StopKind::Setting`] when the address, the certificates or the
    /// password are wrong.
    pub async fn connect(settings: &Settings) -> Result<Self, Fault> {
        settings.check()?;
        let tls = settings.security.tls_config()?;
        let (settings, current) = (settings.clone(), Mutex::default());
        let shared = Shared { settings, tls, current, building: tokio::sync::Mutex::default() };
        let cluster = Self { shared: Arc::new(shared) };
        cluster.within(cluster.generation(), "connect", cluster.client()).await??;
        Ok(cluster)
    }

    /// The topic's partitions, ascending. Never creates a topic.
    ///
    /// # Errors
    /// [`tally_ports::StopKind::Setting`] for a topic that does not exist; the message lists those with similar names.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, Fault> {
        let generation = self.generation();
        let looking_up = async {
            let (client, generation) = self.client().await?;
            topics::partitions(self, &client, generation, topic, setting).await
        };
        self.within(generation, "list the topics", looking_up).await?
    }

    /// Where to begin in order to read from `at` on. The end is the last stable offset, before which all transactions
    /// are decided; for a time after all records it is that, too.
    pub async fn offset(&self, topic: &str, partition: i32, at: Start) -> Result<i64, Fault> {
        let generation = self.generation();
        let asking = async {
            let key = (topic.to_owned(), partition);
            let known = self.current().asked.get(&key).cloned();
            let asked = match known {
                Some(asked) => asked,
                None => Arc::new(Partition::open(self, topic, partition, setting).await?),
            };
            let answer = match at {
                Start::Earliest => asked.offset(OffsetAt::Earliest).await?,
                Start::Latest => asked.offset(OffsetAt::Latest).await?,
                Start::At(time) => match asked.offset(OffsetAt::Timestamp(time)).await? {
                    -1 => asked.offset(OffsetAt::Latest).await?,
                    found => found,
                },
            };
            let mut current = self.current();
            if current.generation == asked.generation() {
                current.asked.insert(key, asked);
            }
            Ok(answer)
        };
        self.within(generation, &format!("ask for offsets of {topic}/{partition}"), asking).await?
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        format!("kafka at {}", self.shared.settings.brokers.join(","))
    }

    /// The result of `work`, within the timeout. `generation` is that of the client which does the work.
    pub(crate) async fn within<T>(
        &self,
        generation: u64,
        what: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Fault> {
        let limit = self.shared.settings.timeout;
        if let Ok(answer) = timeout(limit, work).await {
            return Ok(answer);
        }
        self.give_up(generation);
        Err(Fault::outage(format!("{}: cannot {what}: no answer within {limit:?}", self.name())))
    }

    /// The fault for `error`.
    fn fault(&self, generation: u64, what: &str, error: &Error) -> Fault {
        let fault = fault(&self.shared.settings.brokers.join(","), what, error);
        if matches!(fault, Fault::Outage { .. }) {
            self.give_up(generation);
        }
        fault
    }

    /// The client and its generation.
    async fn client(&self) -> Result<(Arc<Client>, u64), Fault> {
        let _only_one = self.shared.building.lock().await;
        let generation = {
            let current = self.current();
            if let Some(client) = &current.client {
                return Ok((Arc::clone(client), current.generation));
            }
            current.generation
        };
        let settings = &self.shared.settings;
        let mut builder = ClientBuilder::new(settings.brokers.clone())
            .client_id(settings.client_id.as_str())
            .backoff_config(BackoffConfig {
                deadline: Some(CLIENT_TRIES_FOR),
                max_backoff: LONGEST_PAUSE_OF_CLIENT,
                ..BackoffConfig::default()
            });
        if let Some(tls) = &self.shared.tls {
            builder = builder.tls_config(Arc::clone(tls));
        }
        if let Some(sasl) = settings.security.sasl_config() {
            builder = builder.sasl_config(sasl);
        }
        // Boxed, like all of the client's calls of several round trips: its futures are large.
        let client = Box::pin(builder.build()).await;
        let client = Arc::new(client.map_err(|error| self.fault(generation, "connect", &error))?);
        let mut current = self.current();
        if current.generation == generation {
            current.client = Some(Arc::clone(&client));
        }
        Ok((client, generation))
    }

    /// The next call builds a new client, unless that happened already.
    fn give_up(&self, generation: u64) {
        let mut current = self.current();
        if current.generation == generation {
            *current = Current { generation: generation + 1, ..Current::default() };
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.current().generation
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
