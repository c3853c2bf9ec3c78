//! Fetches from a partition.

mod look_back;
mod start;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

pub(crate) use self::start::FetchAnswer;

use crate::api::{Api, Call};
use crate::batch::{AbortedTransaction, Batches, Reading};
use crate::error::Error;
use crate::offsets::Isolation;
use crate::partition::{Ask, Leader, Partition};

/// From this version on a topic is asked for by its id.
const BY_ID: i16 = 13;

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    /// The first offset that is wanted.
    pub from: i64,
    /// Which records.
    pub isolation: Isolation,
    /// How long the broker may wait until there are `min_bytes`.
    pub max_wait: Duration,
    /// How many bytes are worth an answer before `max_wait` is over; 1 is any.
    pub min_bytes: i32,
    /// About how many bytes are wanted. The first batch comes whole, however large it is, unless the answer is over
    /// [`Settings::max_answer_bytes`](crate::Settings::max_answer_bytes): then it is [`Broken::Unread`](crate::Broken::Unread).
    pub max_bytes: i32,
    /// How many bytes the records of one batch may take unpacked.
    pub max_batch_bytes: usize,
}

impl Fetch {
    /// The defaults: committed records; half a second, 1 byte; 1 MiB; batches of up to 64 MiB.
    pub fn from(from: i64) -> Self {
        Self {
            from,
            isolation: Isolation::ReadCommitted,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_batch_bytes: 64 << 20,
        }
    }
}

/// What came of a fetch.
#[derive(Debug)]
pub enum Fetched {
    /// What lies in the log, perhaps nothing.
    Answer(Box<Answer>),
    /// A quota is used up: the broker will not answer before so long. The next call waits for that by itself, beyond
    /// the timeouts.
    Throttled(Duration),
}

/// What lies in a log from the wanted offset on.
#[derive(Debug)]
pub struct Answer {
    /// The end of what all replicas have.
    pub high_watermark: i64,
    /// The first offset of the first transaction that is still open, or the high watermark: with
    /// [`Isolation::ReadCommitted`] nothing from here on is read.
    pub last_stable_offset: i64,
    /// The first offset that the log still has.
    pub log_start: i64,
    /// The batches. Where they give nothing although there is something behind the wanted offset, ask again.
    pub batches: Batches,
}

impl Partition {
    /// What the log holds from an offset on. By the topic's id, where the broker speaks Fetch version 13 (Kafka 3.1).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where the log does not have that offset; [`Error::Recreated`] where the topic is not the
    /// one that this partition was opened from; [`Error::MissingTopic`] where it is deleted; [`Error::Damaged`] where
    /// the broker cannot read its own log, and the offsets before do not show what is wrong with it.
    pub async fn fetch(&self, fetch: Fetch) -> Result<Fetched, Error> {
        match self.fetch_at(fetch.from, fetch).await {
            Ok(Fetched::Answer(answer)) if answer.lacks_a_batch(fetch) => {
                let found = self.look_back(fetch).await?;
                Ok(found.unwrap_or(Fetched::Answer(answer)))
            }
            Err(error) if look_back::may_be_damage(&error) => {
                self.look_back(fetch).await?.ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// Asks for what the log holds from `at` on, which is not above the wanted offset.
    async fn fetch_at(&self, at: i64, fetch: Fetch) -> Result<Fetched, Error> {
        let highest = if self.topic_id().is_some() { FetchRequest::VERSIONS.1 } else { BY_ID - 1 };
        let build = |version, leader: &Leader| self.request(at, fetch, version, leader);
        let read = |broker: &Arc<str>, answer| self.fetched(at, fetch, broker, answer);
        self.ask(Ask { wait: fetch.max_wait, highest, build, read }).await
    }

    fn request(&self, at: i64, fetch: Fetch, version: i16, leader: &Leader) -> FetchRequest {
        let partition = FetchPartition::default()
            .with_partition(self.partition())
            .with_current_leader_epoch(leader.epoch)
            .with_fetch_offset(at)
            .with_partition_max_bytes(fetch.max_bytes);
        let topic = FetchTopic::default().with_partitions(vec![partition]);
        let topic = match self.topic_id() {
            Some(id) if version >= BY_ID => topic.with_topic_id(id),
            _ => topic.with_topic(TopicName(StrBytes::from_string(self.topic().to_owned()))),
        };
        FetchRequest::default()
            .with_max_wait_ms(i32::try_from(fetch.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(fetch.min_bytes)
            .with_max_bytes(fetch.max_bytes)
            .with_isolation_level(fetch.isolation.level())
            .with_topics(vec![topic])
    }

    fn fetched(
        &self,
        at: i64,
        fetch: Fetch,
        broker: &Arc<str>,
        answer: FetchAnswer,
    ) -> Result<Fetched, Error> {
        let throttle = FetchRequest::throttle(&answer);
        let FetchAnswer { response, is_cut } = answer;
        self.accept(broker, response.error_code)?;
        let mut found = response.responses.into_iter().flat_map(|topic| topic.partitions);
        let Some(found) = found.find(|found| found.partition_index == self.partition()) else {
            if !throttle.is_zero() {
                return Ok(Fetched::Throttled(throttle));
            }
            let (broker, api) = (broker.clone(), Api::Fetch);
            let reason = "the partition is not in it".to_owned();
            return Err(Error::Garbled { broker, api, reason });
        };
        match ResponseError::try_from_code(found.error_code) {
            Some(ResponseError::OffsetOutOfRange) => {
                let (broker, about) = (broker.clone(), self.about());
                return Err(Error::OutOfRange { broker, about, offset: at });
            }
            Some(code) if look_back::tells_of_damage(code) => {
                let (broker, about) = (broker.clone(), self.about());
                return Err(Error::Damaged { broker, about, offset: at, code });
            }
            _ => self.accept(broker, found.error_code)?,
        }
        let mut answer = answer_of(fetch, found);
        if is_cut {
            answer.batches = answer.batches.cut_at(self.max_answer_bytes());
        }
        Ok(Fetched::Answer(Box::new(answer)))
    }

    fn accept(&self, broker: &Arc<str>, code: i16) -> Result<(), Error> {
        let Some(code) = ResponseError::try_from_code(code) else { return Ok(()) };
        let (broker, about) = (broker.clone(), self.about());
        Err(Error::Refused { broker, api: Api::Fetch, about, code })
    }
}

fn answer_of(fetch: Fetch, found: PartitionData) -> Answer {
    let aborted = match (fetch.isolation, found.aborted_transactions) {
        (Isolation::ReadCommitted, Some(aborted)) => aborted,
        _ => Vec::new(),
    };
    let aborted = aborted.iter().map(|transaction| AbortedTransaction {
        producer_id: transaction.producer_id.0,
        first_offset: transaction.first_offset,
    });
    let reading = Reading {
        from: fetch.from,
        high_watermark: found.high_watermark,
        max_batch_bytes: fetch.max_batch_bytes,
        aborted: aborted.collect(),
    };
    Answer {
        high_watermark: found.high_watermark,
        last_stable_offset: found.last_stable_offset,
        log_start: found.log_start_offset,
        batches: Batches::new(found.records.unwrap_or_default(), reading),
    }
}
