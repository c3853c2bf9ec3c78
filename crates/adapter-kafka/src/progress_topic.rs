//! The topic that says how far what was published in transactions goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tally_kafka_client::{
    Answer, Broken, Error, Fetch, Fetched, Isolation, Partition, Passed, Piece, ResponseError, Why,
};
use tally_ports::{Fault, StopKind};
use tokio::time::{Instant, sleep};

use crate::Cluster;
use crate::fault::{fault, setting};

/// A new topic has at least so many, as the topics whose progress it holds may grow.
const FEWEST_PARTITIONS: i32 = 16;
const CLEANUP_POLICY: &str = "cleanup.policy";
const COMPACT: &str = "compact";
/// Small segments that are soon compacted keep reading short: the last one never is, and all others may be outdated by a
/// tenth only.
const SETTINGS: [(&str, &str); 3] = [
    (CLEANUP_POLICY, COMPACT),
    ("segment.bytes", "16777216"),
    ("min.cleanable.dirty.ratio", "0.1"),
];
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The compacted topic that says how far what was published in transactions goes. Clones share the connections.
#[derive(Clone, Debug)]
pub struct ProgressTopic {
    cluster: Cluster,
    name: Arc<str>,
}

impl ProgressTopic {
    /// Creates the topic where it is missing, compacted and with at least `partitions` partitions and 16, and checks one that
    /// exists. Without the right to read its settings it is believed to be compacted, and a warning is logged.
    ///
    /// # Errors
    /// [`StopKind::Setting`] where it has fewer partitions, is not only compacted, or this user may neither find nor create it;
    /// an outage where the brokers are unavailable.
    pub async fn open(cluster: &Cluster, name: &str, partitions: i32) -> Result<Self, Fault> {
        let topic = Self { cluster: cluster.clone(), name: name.into() };
        let found = topic.find_or_create(partitions).await?;
        if found < partitions {
            return Err(topic.too_few(found, partitions));
        }
        topic.check_compaction().await?;
        Ok(topic)
    }

    /// The newest committed value under each key of a partition, up to its end as it is now. Waits until no transaction is open
    /// before that end; a key whose newest record is a tombstone is left out.
    ///
    /// # Errors
    /// An outage where a transaction stays open for longer than [`Settings::timeout`](crate::Settings::timeout);
    /// [`StopKind::Setting`] where there is no such partition or this user may not read it; [`StopKind::Data`] where a batch
    /// cannot be decoded.
    pub async fn read(&self, partition: i32) -> Result<BTreeMap<Bytes, Bytes>, Fault> {
        let log = match self.cluster.client().partition(&self.name, partition).await {
            Err(Error::MissingPartition { count: found, .. }) => {
                return Err(self.too_few(count(found), partition.saturating_add(1)));
            }
            opened => opened.map_err(|error| self.unreadable(partition, &error))?,
        };
        let end = self.decided_end(&log).await?;
        let mut newest = BTreeMap::new();
        let earliest = log.earliest().await;
        let mut next = earliest.map_err(|error| self.unreadable(partition, &error))?;
        let mut pauses = self.pauses();
        // Also where it is empty, so that a missing right is told at once.
        loop {
            let Fetched::Answer(answer) = self.fetch(&log, next).await? else { continue };
            let before = next;
            next = self.take(&log, *answer, before, end, &mut newest).await?;
            if next >= end {
                return Ok(newest);
            }
            if next > before {
                pauses = self.pauses();
            } else if !pauses.pause().await {
                let (cluster, name) = (self.cluster.name(), &self.name);
                return Err(Fault::outage(format!(
                    "{cluster}: {name}/{partition} gives nothing from offset {next} on, although it ends at {end}"
                )));
            }
        }
    }

    /// How many partitions it has.
    async fn find_or_create(&self, partitions: i32) -> Result<i32, Fault> {
        match self.cluster.client().topic(&self.name).await {
            Ok(found) if !found.partitions.is_empty() => return Ok(count(found.partitions.len())),
            Ok(_) => {}
            Err(Error::MissingTopic { .. }) => {
                self.create(partitions.max(FEWEST_PARTITIONS)).await?;
            }
            Err(error) => return Err(self.fault("find", "Describe", &error)),
        }
        self.wait_until_known(partitions).await
    }

    /// Creates it, unless another process does.
    async fn create(&self, partitions: i32) -> Result<(), Fault> {
        let name = &*self.name;
        let created = self.cluster.client().create_topic(name, partitions, &SETTINGS).await;
        let Err(error) = created else {
            tracing::info!(topic = name, partitions, "the progress topic is created");
            return Ok(());
        };
        if error.code() == Some(ResponseError::TopicAlreadyExists) {
            return Ok(());
        }
        match self.fault("create", "Create", &error) {
            Fault::Stop(stop) => Err(setting(format!(
                "{stop}; or create it: kafka-topics --create --topic {name} --partitions {partitions} \
                 --config {CLEANUP_POLICY}={COMPACT}"
            ))),
            outage @ Fault::Outage { .. } => Err(outage),
        }
    }

    /// Brokers hear of a new topic one after the other. After a while what is there counts.
    async fn wait_until_known(&self, partitions: i32) -> Result<i32, Fault> {
        let mut pauses = self.pauses();
        loop {
            let found = self.cluster.client().topic(&self.name).await;
            let (led, error) = match found {
                Ok(found) => {
                    let led = found.partitions.iter().filter(|led| led.leader.is_some()).count();
                    let is_led = led > 0 && led == found.partitions.len();
                    (is_led.then(|| count(led)), None)
                }
                Err(error @ Error::MissingTopic { .. }) => (None, Some(error)),
                Err(error) => return Err(self.fault("find", "Describe", &error)),
            };
            if let Some(led) = led.filter(|led| *led >= partitions) {
                return Ok(led);
            }
            if !pauses.pause().await {
                let unknown = || {
                    let why = error.map_or("it has no leaders yet".to_owned(), |e| e.to_string());
                    Fault::outage(format!("cannot use {}: {why}", self.what()))
                };
                return led.ok_or_else(unknown);
            }
        }
    }

    /// What another policy deletes is progress.
    async fn check_compaction(&self) -> Result<(), Fault> {
        let name = &*self.name;
        let mut pauses = self.pauses();
        let found = loop {
            match self.cluster.client().topic_setting(name, CLEANUP_POLICY).await {
                // The asked broker has not heard of a new topic.
                Err(error)
                    if error.code() == Some(ResponseError::UnknownTopicOrPartition)
                        && pauses.pause().await => {}
                found => break found,
            }
        };
        match found {
            Ok(Some(policy)) if policy == COMPACT => Ok(()),
            Ok(policy) => {
                let policy = policy.as_deref().unwrap_or("unknown");
                Err(setting(format!(
                    "{} has {CLEANUP_POLICY}={policy} and must only be compacted, as Kafka would delete progress: set \
                     it by kafka-configs --alter --entity-type topics --entity-name {name} --add-config \
                     {CLEANUP_POLICY}={COMPACT}, or set kafka.progress_topic to another topic",
                    self.what()
                )))
            }
            Err(error) if error.code() == Some(ResponseError::TopicAuthorizationFailed) => {
                tracing::warn!(
                    topic = name,
                    "cannot check that the progress topic is compacted ({CLEANUP_POLICY}={COMPACT}): this user lacks the right \
                     DescribeConfigs on it"
                );
                Ok(())
            }
            Err(error) => Err(self.fault("read the settings of", "DescribeConfigs", &error)),
        }
    }

    /// The end of the log as it is now, once all transactions before it have ended.
    async fn decided_end(&self, log: &Partition) -> Result<i64, Fault> {
        let partition = log.partition();
        let latest = async |isolation| {
            let end = log.latest(isolation).await;
            end.map_err(|error| self.unreadable(partition, &error))
        };
        let end = latest(Isolation::ReadUncommitted).await?;
        let mut pauses = self.pauses();
        while latest(Isolation::ReadCommitted).await? < end {
            if !pauses.pause().await {
                return Err(Fault::outage(format!(
                    "{}: another transaction is open in {}/{partition} since before offset {end}; waiting for its end",
                    self.cluster.name(),
                    self.name
                )));
            }
        }
        Ok(end)
    }

    async fn fetch(&self, log: &Partition, from: i64) -> Result<Fetched, Fault> {
        let settings = self.cluster.settings();
        let fetch = Fetch {
            isolation: Isolation::ReadCommitted,
            max_wait: Duration::ZERO,
            max_bytes: settings.fetch_bytes,
            max_batch_bytes: settings.max_batch_bytes,
            ..Fetch::from(from)
        };
        log.fetch(fetch).await.map_err(|error| match error {
            // Records were deleted meanwhile, or an unclean election took them back.
            Error::OutOfRange { .. } => {
                Fault::outage(format!("cannot read {}/{}: {error}", self.name, log.partition()))
            }
            error => self.unreadable(log.partition(), &error),
        })
    }

    /// Takes over what an answer holds before the end, and returns the next offset.
    async fn take(
        &self,
        log: &Partition,
        mut answer: Answer,
        mut next: i64,
        end: i64,
        newest: &mut BTreeMap<Bytes, Bytes>,
    ) -> Result<i64, Fault> {
        // One unpacked batch at a time.
        let _one = self.cluster.comparing().acquire().await;
        while next < end
            && let Some(piece) = answer.batches.next()
        {
            next = piece.last() + 1;
            match piece {
                Piece::Passed(Passed { first, last, why: Why::Undecodable(broken) }) => {
                    return Err(self.undecodable(log.partition(), first, last, &broken));
                }
                Piece::Passed(_) => {}
                Piece::Records(batch) => {
                    for record in batch.records() {
                        // Copies, as slices would keep the whole batch.
                        let copy = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
                        match (record.key, record.value) {
                            (Some(key), Some(value)) => {
                                newest.insert(copy(key), copy(value));
                            }
                            (Some(key), None) => {
                                newest.remove(&key);
                            }
                            (None, _) => {}
                        }
                    }
                }
            }
        }
        Ok(next)
    }

    fn undecodable(&self, partition: i32, first: i64, last: i64, broken: &Broken) -> Fault {
        let message = format!(
            "cannot read {}/{partition}: the batch of offsets {first} to {last} cannot be decoded: {broken}",
            self.name
        );
        match broken {
            Broken::TooLarge { .. } | Broken::Unread { .. } => {
                setting(format!("{message}: raise kafka.max_batch_bytes to read it"))
            }
            _ => Fault::stop(StopKind::Data, message),
        }
    }

    fn too_few(&self, found: i32, needed: i32) -> Fault {
        setting(format!(
            "{} has too few partitions, {found}, and {needed} are needed, one for each partition that is read: add them by \
             kafka-topics --alter --topic {} --partitions {needed}, or set kafka.progress_topic to another topic",
            self.what(),
            self.name
        ))
    }

    fn unreadable(&self, partition: i32, error: &Error) -> Fault {
        if matches!(error, Error::Damaged { .. }) {
            let message = format!("cannot read {}/{partition}: {error}", self.name);
            return Fault::stop(StopKind::Data, message);
        }
        self.fault(&format!("read partition {partition} of"), "Read", error)
    }

    /// The fault for `error`; where this user lacks a right, it names that.
    fn fault(&self, tried: &str, right: &str, error: &Error) -> Fault {
        let tried = format!("{tried} {}", self.what());
        match error.code() {
            Some(
                ResponseError::TopicAuthorizationFailed | ResponseError::ClusterAuthorizationFailed,
            ) => setting(format!(
                "cannot {tried}: {error}: give this user the right {right} on it, or set kafka.progress_topic to another topic"
            )),
            _ => fault(&tried, error),
        }
    }

    fn what(&self) -> String {
        format!("the progress topic {}", self.name)
    }

    fn pauses(&self) -> Pauses {
        let deadline = Instant::now() + self.cluster.settings().timeout;
        Pauses { next: FIRST_PAUSE, deadline }
    }
}

/// Pauses between questions, each twice as long as the one before.
struct Pauses {
    next: Duration,
    deadline: Instant,
}

impl Pauses {
    /// False, at once, when the time is over.
    async fn pause(&mut self) -> bool {
        if Instant::now() + self.next > self.deadline {
            return false;
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}
