//! One partition of a topic, asked at its leader.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::api::Call;
use crate::client::Client;
use crate::error::{About, Error};

/// The first pause before a leader is looked for again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// One partition of a topic. What is asked goes to its leader; when that changes, the new one is found.
#[derive(Debug)]
pub struct Partition {
    client: Client,
    topic: Arc<str>,
    id: Option<Uuid>,
    index: i32,
    leader: Mutex<Option<Leader>>,
}

/// Who leads the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    broker: Arc<str>,
    /// So that a broker which has not heard of a change, or knows of a later one, says so.
    pub(crate) epoch: i32,
}

/// A request to the leader.
pub(crate) struct Ask<B, R> {
    /// How long the request itself allows the broker to wait.
    pub(crate) wait: Duration,
    /// The highest version to be used.
    pub(crate) highest: i16,
    /// The request in a version.
    pub(crate) build: B,
    /// What its answer says.
    pub(crate) read: R,
}

impl Partition {
    pub(crate) async fn open(client: Client, topic: &str, partition: i32) -> Result<Self, Error> {
        let topic: Arc<str> = topic.into();
        let mut opened =
            Self { client, topic, id: None, index: partition, leader: Mutex::default() };
        let found = opened.client.topic(&opened.topic).await?;
        if !found.partitions.iter().any(|led| led.partition == partition) {
            let (topic, count) = (opened.topic, found.partitions.len());
            return Err(Error::MissingPartition { topic, partition, count });
        }
        opened.id = found.id;
        Ok(opened)
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's id; none from brokers before Kafka 2.8.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.id
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.index
    }

    pub(crate) fn max_answer_bytes(&self) -> usize {
        self.client.pool().settings().max_answer_bytes
    }

    /// What errors name.
    pub(crate) fn about(&self) -> About {
        About { topic: Some(self.topic.clone()), partition: Some(self.index) }
    }

    /// Asks the leader. Where it may have moved, metadata are read again, for the request timeout at most.
    pub(crate) async fn ask<C: Call, T>(
        &self,
        ask: Ask<impl Fn(i16, &Leader) -> C, impl Fn(&Arc<str>, C::Answer) -> Result<T, Error>>,
    ) -> Result<T, Error> {
        let Ask { wait, highest, build, read } = ask;
        let deadline = Instant::now() + self.client.pool().settings().request_timeout;
        let mut pause = FIRST_PAUSE;
        let mut failed: Option<(Leader, Error)> = None;
        loop {
            let error = match self.find_leader().await {
                Err(error @ Error::NoLeader { .. }) => error,
                Err(error) => return Err(error),
                Ok(leader) => {
                    // Whoever cannot be reached and still leads is what the caller should hear of.
                    if let Some((former, error)) = failed.take_if(|(former, _)| *former == leader) {
                        self.forget(&former);
                        return Err(error);
                    }
                    let broker = leader.broker.clone();
                    let build = |version| build(version, &leader);
                    let call = self.client.pool().call(&broker, wait, highest, build);
                    let error = match call.await.and_then(|answer| read(&broker, answer)) {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    };
                    self.forget(&leader);
                    if !may_have_moved(&error) {
                        return Err(error);
                    }
                    if !has_answered(&error) && Instant::now() < deadline {
                        failed = Some((leader, error));
                        continue;
                    }
                    error
                }
            };
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// As it is known, or as some broker knows it.
    async fn find_leader(&self) -> Result<Leader, Error> {
        let known = self.leader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(leader) = known {
            return Ok(leader);
        }
        let found = self.client.topic(&self.topic).await?;
        if let (Some(was), Some(is)) = (self.id, found.id)
            && was != is
        {
            return Err(Error::Recreated { topic: self.topic.clone(), was, is });
        }
        let led = found.partitions.iter().find(|led| led.partition == self.index);
        let leader = led.and_then(|led| {
            let broker = self.client.address(led.leader?)?;
            Some(Leader { broker, epoch: led.leader_epoch.unwrap_or(-1) })
        });
        let (topic, partition) = (self.topic.clone(), self.index);
        let leader = leader.ok_or(Error::NoLeader { topic, partition })?;
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = Some(leader.clone());
        Ok(leader)
    }

    fn forget(&self, leader: &Leader) {
        let mut known = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        known.take_if(|known| known == leader);
    }
}

/// Whether a broker said it, rather than nobody.
fn has_answered(error: &Error) -> bool {
    matches!(error, Error::Refused { .. })
}

/// Whether another broker may lead by now, or soon.
fn may_have_moved(error: &Error) -> bool {
    match error {
        Error::Connect { .. }
        | Error::ConnectTimeout { .. }
        | Error::Timeout { .. }
        | Error::Lost { .. } => true,
        Error::Refused { code, .. } => matches!(
            code,
            ResponseError::NotLeaderOrFollower
                | ResponseError::LeaderNotAvailable
                | ResponseError::ReplicaNotAvailable
                | ResponseError::BrokerNotAvailable
                | ResponseError::FencedLeaderEpoch
                | ResponseError::UnknownLeaderEpoch
                | ResponseError::OffsetNotAvailable
                | ResponseError::KafkaStorageError
                | ResponseError::UnknownTopicOrPartition
                | ResponseError::UnknownTopicId
                | ResponseError::InconsistentTopicId
        ),
        _ => false,
    }
}
