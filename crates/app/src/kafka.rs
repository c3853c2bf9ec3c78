//! Brokers, registry and topics from the settings.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tally_adapter_kafka::wire::{DeadLetterTopic, Registry};
use tally_adapter_kafka::{Cluster, Publisher, Sasl, Security};
use tally_ports::{Fault, Publish, RelayedDeadLetter, Stop};

use crate::Settings;
use crate::settings::{Mechanism, wrong};

/// How to reach the brokers.
///
/// # Errors
/// When a setting is wrong.
pub fn settings(settings: &Settings) -> Result<tally_adapter_kafka::Settings, Stop> {
    let kafka = &settings.kafka;
    let brokers = kafka.brokers.split(',').map(|broker| broker.trim().to_owned()).collect();
    let mut of_adapter = tally_adapter_kafka::Settings::new(brokers);
    of_adapter.client_id.clone_from(&kafka.client_id);
    of_adapter.linger = kafka.linger.length();
    of_adapter.timeout = kafka.timeout.length();
    of_adapter.max_batch_bytes = kafka.max_batch_bytes;
    of_adapter.security = security(settings)?;
    Ok(of_adapter)
}

fn security(settings: &Settings) -> Result<Security, Stop> {
    let kafka = &settings.kafka;
    let (username, password) = (kafka.sasl.username.clone(), kafka.sasl.password.clone());
    let mechanism = match kafka.sasl.mechanism {
        Mechanism::None => None,
        Mechanism::Plain => Some(tally_adapter_kafka::Mechanism::Plain),
        Mechanism::ScramSha256 => Some(tally_adapter_kafka::Mechanism::ScramSha256),
        Mechanism::ScramSha512 => Some(tally_adapter_kafka::Mechanism::ScramSha512),
    };
    let sasl = mechanism.map(|mechanism| Sasl { mechanism, username, password });
    if sasl.is_some() && kafka.sasl.username.is_empty() {
        return Err(wrong("kafka.sasl.username is empty"));
    }
    for (name, value) in [("username", &kafka.sasl.username), ("password", &kafka.sasl.password)] {
        if sasl.is_none() && !value.is_empty() {
            return Err(wrong(format!(
                "kafka.sasl.{name} is set and kafka.sasl.mechanism is none"
            )));
        }
    }
    if kafka.sasl.mechanism == Mechanism::Plain && !kafka.tls {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!(
                "kafka.sasl.mechanism is plain and kafka.tls is not set: the password is sent in clear text"
            );
        });
    }
    let ca_file = Some(&kafka.ca_file).filter(|path| !path.is_empty()).map(Into::into);
    if ca_file.is_some() && !kafka.tls {
        return Err(wrong("kafka.ca_file is set and kafka.tls is not"));
    }
    Ok(Security { tls: kafka.tls, ca_file, sasl })
}

/// The schema registry, if there is one.
///
/// # Errors
/// When its address is invalid.
pub fn registry(settings: &Settings) -> Result<Option<Registry>, Stop> {
    let url = settings.kafka.registry_url.expose();
    if url.is_empty() {
        return Ok(None);
    }
    Registry::new(url, settings.kafka.timeout.length()).map(Some).map_err(Fault::into_stop)
}

/// The dead-letter topic; looked up when the first one is published, so that it may be unavailable at the start.
pub(crate) struct DeadLetters {
    cluster: Cluster,
    registry: Option<Registry>,
    topic: String,
    service: &'static str,
    /// Taken out during a call: a cancelled call drops its connections, as they may hang.
    opened: Mutex<Option<DeadLetterTopic>>,
}

impl DeadLetters {
    pub(crate) fn new(all: &Settings, service: &'static str) -> Result<Self, Stop> {
        Ok(Self {
            cluster: Cluster::new(&settings(all)?).map_err(Fault::into_stop)?,
            registry: registry(all)?,
            topic: all.kafka.dlq_topic.clone(),
            service,
            opened: Mutex::default(),
        })
    }

    fn opened(&self) -> MutexGuard<'_, Option<DeadLetterTopic>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<DeadLetterTopic, Fault> {
        let publisher = Publisher::open(&self.cluster, &self.topic).await?;
        Ok(DeadLetterTopic::new(publisher, &self.topic, self.service, self.registry.clone()))
    }
}

impl Publish for DeadLetters {
    async fn publish(&self, letters: &[RelayedDeadLetter]) -> Result<(), Fault> {
        let opened = self.opened().take();
        let topic = match opened {
            Some(topic) => topic,
            None => self.open().await?,
        };
        let published = topic.publish(letters).await;
        *self.opened() = Some(topic);
        published
    }
}
