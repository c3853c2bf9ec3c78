//! The client that writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use tally_kafka_client::{Mechanism, Sasl};
use tally_ports::Fault;
use tokio::time::timeout;

use super::fault::fault;
use crate::Cluster;

/// How long the client itself retries.
const CLIENT_TRIES_FOR: Duration = Duration::from_secs(2);
const LONGEST_PAUSE_OF_CLIENT: Duration = Duration::from_secs(1);

/// The client that writes to the cluster. It has no timeouts of its own, and a frozen broker would block every call that
/// shares its connection: so after an outage it is replaced by a new one.
#[derive(Clone)]
pub(super) struct Writer {
    cluster: Cluster,
    current: Arc<Mutex<Current>>,
    /// Held while a client is built, so that only one is.
    building: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Current {
    /// How many clients were replaced.
    generation: u64,
    client: Option<Arc<Client>>,
}

/// One partition over its own connection. Must be reopened after any fault.
pub(super) struct Log {
    writer: Writer,
    client: PartitionClient,
    generation: u64,
}

/// Why records were not appended.
pub(super) enum Refused {
    /// Together they are over the topic's limit.
    TooLarge,
    Fault(Fault),
}

impl Writer {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, current: Arc::default(), building: Arc::default() }
    }

    /// A partition of a topic that existed: if it is gone, it may be about to be recreated.
    pub(super) async fn open(&self, topic: &str, partition: i32) -> Result<Log, Fault> {
        // The writing client's own request for the metadata of a topic creates it where brokers create topics by
        // themselves.
        let what = format!("open {topic}/{partition}");
        let found = self.cluster.client().topic(topic).await;
        let found = found.map_err(|error| crate::fault::fault(&what, &error))?;
        if !found.partitions.iter().any(|led| led.partition == partition) {
            return Err(Fault::outage(format!("cannot {what}: there is no such partition now")));
        }
        let opening = async {
            let (client, generation) = self.client().await?;
            let client = client.partition_client(topic, partition, UnknownTopicHandling::Error);
            let client = Box::pin(client).await;
            let client = client.map_err(|error| self.fault(generation, &what, &error))?;
            Ok(Log { writer: self.clone(), client, generation })
        };
        let generation = self.current().generation;
        self.within(generation, &what, opening).await?
    }

    /// The result of `work`, within the timeout. `generation` is that of the client which does the work.
    async fn within<T>(
        &self,
        generation: u64,
        what: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Fault> {
        let limit = self.cluster.settings().timeout;
        if let Ok(answer) = timeout(limit, work).await {
            return Ok(answer);
        }
        self.give_up(generation);
        let name = self.cluster.name();
        Err(Fault::outage(format!("{name}: cannot {what}: no answer within {limit:?}")))
    }

    fn fault(&self, generation: u64, what: &str, error: &Error) -> Fault {
        let fault = fault(&self.cluster.name(), what, error);
        if matches!(fault, Fault::Outage { .. }) {
            self.give_up(generation);
        }
        fault
    }

    /// The client and its generation.
    async fn client(&self) -> Result<(Arc<Client>, u64), Fault> {
        let _only_one = self.building.lock().await;
        let generation = {
            let current = self.current();
            if let Some(client) = &current.client {
                return Ok((Arc::clone(client), current.generation));
            }
            current.generation
        };
        let settings = self.cluster.settings();
        let mut builder = ClientBuilder::new(settings.brokers.clone())
            .client_id(settings.client_id.as_str())
            .backoff_config(BackoffConfig {
                deadline: Some(CLIENT_TRIES_FOR),
                max_backoff: LONGEST_PAUSE_OF_CLIENT,
                ..BackoffConfig::default()
            });
        if let Some(tls) = self.cluster.tls() {
            builder = builder.tls_config(tls);
        }
        if let Some(sasl) = &settings.security.sasl {
            builder = builder.sasl_config(sasl_config(sasl));
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
            *current = Current { generation: generation + 1, client: None };
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Appends `records`, all in one batch; acknowledged by all in-sync replicas.
    pub(super) async fn produce(&self, records: Vec<Record>) -> Result<(), Refused> {
        let what = format!("write to {}/{}", self.client.topic(), self.client.partition());
        let producing = Box::pin(self.client.produce(records, Compression::Lz4));
        let produced = self.writer.within(self.generation, &what, producing).await;
        match produced.map_err(Refused::Fault)? {
            Ok(_) => Ok(()),
            Err(Error::ServerError {
                protocol_error: ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge,
                ..
            }) => Err(Refused::TooLarge),
            Err(error) => Err(Refused::Fault(self.writer.fault(self.generation, &what, &error))),
        }
    }
}

fn sasl_config(sasl: &Sasl) -> SaslConfig {
    let credentials = Credentials::new(sasl.username.clone(), sasl.password.clone());
    match sasl.mechanism {
        Mechanism::Plain => SaslConfig::Plain(credentials),
        Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
        Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
    }
}
