//! One partition, as seen by its leader.

use std::time::Duration;

use rskafka::client::error::{Error, ProtocolError, RequestError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::{Record, RecordAndOffset};
use tally_ports::Fault;

use super::{Cluster, topics};

/// One partition over its own connection. Must be reopened after any fault.
pub(crate) struct Partition {
    cluster: Cluster,
    client: PartitionClient,
    generation: u64,
}

/// The log from an offset on.
pub(crate) enum Answer {
    /// The records of the batches that were sent, and the high watermark.
    Records { records: Vec<RecordAndOffset>, high: i64 },
    /// One of the batches ends a transaction; all of them are lost.
    Marker,
    /// One of the batches cannot be decoded, for this reason; all of them are lost.
    Undecodable(String),
    /// The offset is out of range.
    OutOfRange,
}

/// Why records were not appended.
pub(crate) enum Refused {
    /// Together they are over the topic's limit.
    TooLarge,
    Fault(Fault),
}

impl Partition {
    /// Where there is no such topic or partition, the fault is what `missing` makes of a message.
    pub(crate) async fn open(
        cluster: &Cluster,
        topic: &str,
        partition: i32,
        missing: fn(String) -> Fault,
    ) -> Result<Self, Fault> {
        let what = format!("open {topic}/{partition}");
        let opening = async {
            let (client, generation) = cluster.client().await?;
            let known = topics::partitions(cluster, &client, generation, topic, missing).await?;
            if !known.contains(&partition) {
                let name = cluster.name();
                return Err(missing(format!("{name}: topic {topic} has no partition {partition}")));
            }
            let unknown = UnknownTopicHandling::Error;
            let client = Box::pin(client.partition_client(topic, partition, unknown)).await;
            let client = client.map_err(|error| cluster.fault(generation, &what, &error))?;
            Ok(Self { cluster: cluster.clone(), client, generation })
        };
        cluster.within(cluster.generation(), &what, opening).await?
    }

    /// What the log holds at `offset`: whole batches, at least one where there is any, of up to `limit` bytes. Waits
    /// up to `wait` for something new.
    pub(crate) async fn fetch(
        &self,
        offset: i64,
        limit: i32,
        wait: Duration,
    ) -> Result<Answer, Fault> {
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let fetching =
            Box::pin(self.client.fetch_records(offset, 1..limit.saturating_add(1), wait));
        match self.within("read", fetching).await? {
            Ok((records, high)) => Ok(Answer::Records { records, high }),
            Err(error) => match unusable(&error) {
                Some(answer) => Ok(answer),
                None => Err(self.fault("read", &error)),
            },
        }
    }

    pub(crate) async fn offset(&self, at: OffsetAt) -> Result<i64, Fault> {
        let asking = Box::pin(self.client.get_offset(at));
        let answer = self.within("ask for offsets of", asking).await?;
        answer.map_err(|error| self.fault("ask for offsets of", &error))
    }

    /// Appends `records`, all in one batch; acknowledged by all in-sync replicas.
    pub(crate) async fn produce(&self, records: Vec<Record>) -> Result<(), Refused> {
        let producing = Box::pin(self.client.produce(records, Compression::Lz4));
        match self.within("write to", producing).await.map_err(Refused::Fault)? {
            Ok(_) => Ok(()),
            Err(Error::ServerError {
                protocol_error: ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge,
                ..
            }) => Err(Refused::TooLarge),
            Err(error) => Err(Refused::Fault(self.fault("write to", &error))),
        }
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    async fn within<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Fault> {
        self.cluster.within(self.generation, &self.tried(what), work).await
    }

    fn fault(&self, what: &str, error: &Error) -> Fault {
        self.cluster.fault(self.generation, &self.tried(what), error)
    }

    fn tried(&self, what: &str) -> String {
        format!("{what} {}/{}", self.client.topic(), self.client.partition())
    }
}

/// What an error of a fetch says about the log, if anything.
fn unusable(error: &Error) -> Option<Answer> {
    match error {
        Error::ServerError { protocol_error: ProtocolError::OffsetOutOfRange, .. } => {
            Some(Answer::OutOfRange)
        }
        Error::Request(
            error @ (RequestError::ReadVersionedError(_)
            | RequestError::ReadError(_)
            | RequestError::TooMuchData { .. }),
        ) => {
            let text = error.to_string();
            // The client misreads the record of every control batch, and reports this for nothing else: it takes the
            // first two bytes of its frame, a length that is never 0 and attributes, for a version that must be 0.
            // The cleaner may leave a control batch without its record.
            let is_marker = text.contains("Unknown control batch record version")
                || text.contains("Expected 1 control record but got 0");
            Some(if is_marker { Answer::Marker } else { Answer::Undecodable(text) })
        }
        // A timestamp out of range.
        Error::InvalidResponse(text) if text.contains("imestamp") => {
            Some(Answer::Undecodable(text.clone()))
        }
        _ => None,
    }
}
