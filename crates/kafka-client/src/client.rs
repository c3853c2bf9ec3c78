//! The brokers of one Kafka cluster.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::MetadataResponse;

use crate::api::Call;
use crate::connection::Pool;
use crate::coordinator::Coordinated;
use crate::error::Error;
use crate::metadata::{self, Brokers, Topic};
use crate::partition::Partition;
use crate::security::Security;

/// How to reach the brokers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT` of some of the brokers; they name the others.
    pub brokers: Vec<String>,
    /// What the brokers' logs and quotas call us.
    pub client_id: String,
    /// Encryption and authentication.
    pub security: Security,
    /// How long it may take to connect to one broker, to encrypt and to log in.
    pub connect_timeout: Duration,
    /// How long one broker may take to answer, beyond the time that a request itself allows it. How long a call goes
    /// on asking for a leader that moves, too.
    pub request_timeout: Duration,
    /// The most that is read of an answer. A broker sends a batch whole, so it should exceed the topics'
    /// `max.message.bytes`, and what a fetch asks for: a batch that is larger is passed as
    /// [`Broken::Unread`](crate::Broken::Unread). Any other answer that is larger is an error.
    pub max_answer_bytes: usize,
}

impl Settings {
    /// The defaults: no encryption, five seconds to connect, ten to answer, answers up to 64 MiB.
    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            client_id: env!("CARGO_PKG_NAME").to_owned(),
            security: Security::default(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            max_answer_bytes: 64 << 20,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let is_address = |broker: &str| {
            broker.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        if self.brokers.is_empty() {
            return Err(Error::Setting("no kafka broker is named".to_owned()));
        }
        match self.brokers.iter().find(|broker| !is_address(broker)) {
            Some(broker) => {
                Err(Error::Setting(format!("{broker:?} is not a kafka broker's HOST:PORT")))
            }
            None => Ok(()),
        }
    }
}

/// The brokers of one cluster. Clones share the connections.
///
/// Every call may be dropped at any time: its connection goes with it, and no other call sees anything of it.
/// Connections are made when they are needed, one for each call that runs at the same time.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    bootstrap: Vec<Arc<str>>,
    /// As the last answer named them.
    known: Mutex<Arc<Brokers>>,
    /// The brokers that keep the offsets of groups and the states of transactions.
    coordinators: Mutex<HashMap<Coordinated, Arc<str>>>,
}

impl Client {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`Error::Setting`] where no broker is named, or one not as `HOST:PORT`.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let bootstrap = settings.brokers.iter().map(|broker| broker.as_str().into()).collect();
        let (pool, known, coordinators) = (Pool::new(settings), Mutex::default(), Mutex::default());
        let shared = Shared { pool, bootstrap, known, coordinators };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// One topic, as some broker knows it. Never creates it.
    ///
    /// # Errors
    /// [`Error::MissingTopic`] where there is none, or where this user may not know of it.
    pub async fn topic(&self, name: &str) -> Result<Topic, Error> {
        let (broker, answer) = self.metadata(Some(name)).await?;
        metadata::one_topic(&broker, name, &answer)
    }

    /// All topics that this user may know of, by name.
    pub async fn topics(&self) -> Result<Vec<Topic>, Error> {
        let (_, answer) = self.metadata(None).await?;
        Ok(metadata::all_topics(&answer))
    }

    /// One partition of a topic, to read from. It stays bound to the topic as it is now: if that is deleted and
    /// created again, [`Error::Recreated`] says so.
    ///
    /// # Errors
    /// [`Error::MissingTopic`], [`Error::MissingPartition`].
    pub async fn partition(&self, topic: &str, partition: i32) -> Result<Partition, Error> {
        Partition::open(self.clone(), topic, partition).await
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Where the broker of that number is, as the last answer named it.
    pub(crate) fn address(&self, id: i32) -> Option<Arc<str>> {
        self.known().address(id)
    }

    fn known(&self) -> Arc<Brokers> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn coordinators(&self) -> MutexGuard<'_, HashMap<Coordinated, Arc<str>>> {
        self.shared.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn metadata(&self, topic: Option<&str>) -> Result<(Arc<str>, MetadataResponse), Error> {
        let (broker, answer) = self.ask_anyone(|_| metadata::request(topic)).await?;
        let named = Arc::new(Brokers::of(&answer));
        *self.shared.known.lock().unwrap_or_else(PoisonError::into_inner) = named;
        Ok((broker, answer))
    }

    /// Asks the brokers in turn until one answers: first those to which a connection is open, then the others that an
    /// answer has named, then those of the settings.
    pub(crate) async fn ask_anyone<C: Call>(
        &self,
        build: impl Fn(i16) -> C,
    ) -> Result<(Arc<str>, C::Answer), Error> {
        let mut candidates = self.pool().connected();
        let known = self.known();
        for broker in known.addresses().chain(&self.shared.bootstrap) {
            if !candidates.contains(broker) {
                candidates.push(broker.clone());
            }
        }
        let mut tried = Vec::new();
        for broker in candidates {
            match self.pool().call(&broker, Duration::ZERO, i16::MAX, &build).await {
                Ok(answer) => return Ok((broker, answer)),
                Err(error) => tried.push(error),
            }
        }
        match tried.pop() {
            Some(only) if tried.is_empty() => Err(only),
            last => {
                tried.extend(last);
                Err(Error::NoBroker { tried })
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", self.pool().settings()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_named_by_host_and_port() {
        let found = |brokers: &[&str]| {
            let brokers = brokers.iter().map(|&broker| broker.to_owned()).collect();
            Client::new(Settings::new(brokers)).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(found(&["kafka:9092", "[::1]:9092"]), Ok(()));
        assert_eq!(found(&[]), Err("no kafka broker is named".to_owned()));
        let refused = r#""kafka" is not a kafka broker's HOST:PORT"#.to_owned();
        assert_eq!(found(&["kafka:9092", "kafka"]), Err(refused));
        for broker in [":9092", "kafka:", "kafka:0", "kafka:99999"] {
            assert!(found(&[broker]).is_err(), "{broker}");
        }
    }
}
