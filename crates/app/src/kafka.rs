//! Brokers, registry and topics from the settings.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tally_adapter_kafka::wire::{DeadLetterTopic, Decoder, Registry};
use tally_adapter_kafka::{Cluster, OutputTopics, Publisher, Sasl, Security};
use tally_domain::Flow;
use tally_pipeline::Outputs;
use tally_ports::{Fault, PublishDeadLetters, RelayedDeadLetter, Stop};

use crate::Settings;
use crate::settings::{Kafka, Mechanism, wrong};

/// How to reach the brokers.
///
/// # Errors
/// When a setting is wrong.
pub fn settings(settings: &Settings) -> Result<tally_adapter_kafka::Settings, Stop> {
    let kafka = &settings.kafka;
    let brokers = kafka.brokers.split(',').map(|broker| address(broker.trim(), kafka.tls));
    let brokers = brokers.collect::<Result<_, _>>()?;
    let mut of_adapter = tally_adapter_kafka::Settings::new(brokers);
    of_adapter.client_id.clone_from(&kafka.client_id);
    of_adapter.linger = kafka.linger.length();
    of_adapter.timeout = kafka.timeout.length();
    of_adapter.max_batch_bytes = kafka.max_batch_bytes;
    of_adapter.security = security(settings)?;
    Ok(of_adapter)
}

/// A broker without the listener's protocol that Kafka's own settings write before it, which must be the one that ours say.
fn address(broker: &str, tls: bool) -> Result<String, Stop> {
    let Some((protocol, address)) = broker.split_once("://") else { return Ok(broker.to_owned()) };
    let is_encrypted = match protocol.to_uppercase().as_str() {
        "PLAINTEXT" | "SASL_PLAINTEXT" => false,
        "SSL" | "SASL_SSL" => true,
        _ => {
            let known = "PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL";
            return Err(wrong(format!(
                "kafka.brokers: {protocol}:// is no protocol of a listener; these are {known}"
            )));
        }
    };
    if is_encrypted != tls {
        return Err(wrong(format!(
            "kafka.brokers: {protocol}:// {} encrypted, and kafka.tls is {tls}",
            if is_encrypted { "is" } else { "is not" }
        )));
    }
    Ok(address.to_owned())
}

fn security(settings: &Settings) -> Result<Security, Stop> {
    let kafka = &settings.kafka;
    let (username, password) =
        (kafka.sasl.username.clone(), kafka.sasl.password.expose().to_owned());
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
    for (name, value) in
        [("username", &*kafka.sasl.username), ("password", kafka.sasl.password.expose())]
    {
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

/// What reads the flow's records; a mask must have the same registry, whose schemas it knows by what was read.
pub fn decoder(settings: &Settings, flow: &dyn Flow, registry: Option<Registry>) -> Decoder {
    let units = settings.columns.iter();
    let units = units.filter_map(|(name, column)| Some((name.clone(), column.unit?))).collect();
    Decoder::new(flow.columns(), &units, flow.envelope(), registry)
}

/// What publishes for a flow of topics, also where it has no outputs: a repaired record goes back into its topic.
///
/// # Errors
/// When a setting of the topics is wrong.
pub fn outputs(all: &Settings, flow: &dyn Flow) -> Result<Outputs<OutputTopics>, Stop> {
    let publisher = OutputTopics::new(Cluster::new(&settings(all)?).map_err(Fault::into_stop)?);
    let Kafka { transactional_id_prefix, progress_topic, delivery, .. } = &all.kafka;
    let publisher = publisher.in_transactions(transactional_id_prefix, progress_topic);
    Ok(Outputs::new(publisher, all.topics(flow), *delivery))
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

impl PublishDeadLetters for DeadLetters {
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
