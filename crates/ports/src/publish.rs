//! Records on their way to topics.

mod id;

use std::convert::Infallible;
use std::fmt::{self, Write};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tally_domain::{ByteString, Flow, Reason, Stage, TableKind, publish};

pub use self::id::PublicationId;
use crate::{DeadLetterIdentity, Fault, Lease, Origin, Progress, Row, Stop, StopKind, Stream};

/// The flow that published the record.
pub const FLOW: &str = "tally.flow";
/// Which record it is: `STREAM/PARTITION/LOG/POSITION/N`, the Nth that the record at that position publishes. The same
/// whenever it is published again, so that readers can tell.
pub const ID: &str = "tally.id";
/// Says that a replay published it: it is out of the order of ids.
const REPLAY: &str = "tally.replay";
/// Says that the record is a dead letter's, corrected and put back into its topic: the dead letter's id.
pub const REPAIRED_FROM: &str = "tally.repaired-from";

/// What Kafka's format takes at most for a batch of one record beside its key, value and headers, and for a header beside
/// its name and value.
const BATCH_BYTES: usize = 61 + 36;
const HEADER_BYTES: usize = 10;

/// So many bytes of ids share their memory.
const IDS_BYTES: usize = 4096;
/// The numbers of an id, and what is between them.
const LONGEST_NUMBERS: usize = 72;

/// Publishes records to topics.
pub trait Publish: Send + Sync + 'static {
    /// Records on their way; given up when it is dropped.
    type Sending: Send + Sync;
    /// The right to publish for one partition in transactions.
    type Transactions: Send;

    /// The greatest [size](OutgoingRecord::size) of a record that the topic takes. [`StopKind::Setting`] where there is no
    /// such topic.
    fn limit(&self, topic: &str) -> impl Future<Output = Result<usize, Fault>> + Send;

    /// Takes `records` on their way, those of one key to one partition and in order. After a fault none is.
    fn send(
        &self,
        records: &[OutgoingRecord],
    ) -> impl Future<Output = Result<Self::Sending, Fault>> + Send;

    /// Returns once all are acknowledged, but for those that are too large for their topics, whose indices it returns in
    /// order. After an outage they are still on their way: the caller calls again, and none is published twice.
    fn acknowledged(
        &self,
        sending: &Self::Sending,
    ) -> impl Future<Output = Result<Vec<usize>, Fault>> + Send;

    /// Makes the progress topic where it is missing, for a stream of so many partitions. [`StopKind::Setting`] where it
    /// is not fit.
    fn prepare_transactions(
        &self,
        partitions: i32,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Begins to publish for a partition in transactions that take `timeout` at most: whoever did so before is fenced, and
    /// what it left open is aborted.
    fn begin_transactions(
        &self,
        stream: &Stream,
        timeout: Duration,
    ) -> impl Future<Output = Result<Self::Transactions, Fault>> + Send;

    /// What the last transaction said that was committed for the partition, whoever committed it.
    fn progress(
        &self,
        transactions: &Self::Transactions,
    ) -> impl Future<Output = Result<Option<Progress>, Fault>> + Send;

    /// Publishes `records` and `progress` in one transaction; or nothing, where some records are too large for their topics:
    /// their indices, in order. Whoever reads only what is committed sees all or none.
    ///
    /// After a fault it may be published: the caller begins again, and looks at the progress.
    fn transact(
        &self,
        transactions: &mut Self::Transactions,
        records: &[OutgoingRecord],
        progress: &Progress,
    ) -> impl Future<Output = Result<Vec<usize>, Fault>> + Send;
}

/// For flows that publish nothing: there is none.
impl Publish for Infallible {
    type Sending = Self;
    type Transactions = Self;

    async fn limit(&self, _: &str) -> Result<usize, Fault> {
        match *self {}
    }

    async fn send(&self, _: &[OutgoingRecord]) -> Result<Infallible, Fault> {
        match *self {}
    }

    async fn acknowledged(&self, _: &Infallible) -> Result<Vec<usize>, Fault> {
        match *self {}
    }

    async fn prepare_transactions(&self, _: i32) -> Result<(), Fault> {
        match *self {}
    }

    async fn begin_transactions(&self, _: &Stream, _: Duration) -> Result<Self, Fault> {
        match *self {}
    }

    async fn progress(&self, _: &Self) -> Result<Option<Progress>, Fault> {
        match *self {}
    }

    async fn transact(
        &self,
        _: &mut Self,
        _: &[OutgoingRecord],
        _: &Progress,
    ) -> Result<Vec<usize>, Fault> {
        match *self {}
    }
}

/// What a store holds of records to publish, by partition and in order.
///
/// A commit of a flow of the [way](Way) `Outbox`, and every replay, adds the records to publish in its transaction, numbered
/// on from all that the partition ever had, through all its passes.
pub trait Outbox: Send + Sync + 'static {
    /// The first records of the lease's partition in order of their numbers, at most `limit` and closed earlier at 4 MiB.
    /// [`StopKind::Taken`] when the lease is no longer the partition's.
    fn outbox(
        &self,
        lease: &Lease,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<OutboxRecord>, Fault>> + Send;

    /// Deletes the records of the lease's partition up to the number `last`, which are published. [`StopKind::Taken`], and
    /// nothing is deleted, when the lease is no longer the partition's.
    fn published(&self, lease: &Lease, last: i64)
    -> impl Future<Output = Result<(), Fault>> + Send;

    /// How many records of the flow are not published yet.
    fn unpublished(&self, flow: &str) -> impl Future<Output = Result<i64, Fault>> + Send;

    /// Claims one of the flow's partitions that have records to publish and no live owner, also where its last pass has
    /// ended; `None` where there is none. The lease is only good to relay: its epoch keeps others from committing, and
    /// whoever holds it releases it.
    fn claim_outbox(
        &self,
        flow: &str,
        owner: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<(Stream, Lease)>, Fault>> + Send;
}

/// How often a record may be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryGuarantee {
    /// Once, but for repeats after a crash, under the same `tally.id`.
    #[default]
    AtLeastOnce,
    /// Once for readers that see only what is committed: in transactions.
    ExactlyOnce,
}

/// Which way a flow publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It only publishes and counts: a batch is published before its transaction begins.
    Direct,
    /// It also writes other tables: what is published stands in the batch's transaction.
    Outbox,
}

impl Way {
    /// By the flow's description; `None` where it does not publish.
    pub fn of(flow: &dyn Flow) -> Option<Self> {
        let only_counts =
            || flow.tables().iter().all(|table| matches!(table.kind, TableKind::Counters { .. }));
        match flow.outputs() {
            [] => None,
            _ if only_counts() => Some(Self::Direct),
            _ => Some(Self::Outbox),
        }
    }
}

/// The topics of a flow's outputs, in the same order.
pub type Topics = Arc<[Arc<str>]>;

/// The topics of the flow's outputs where no setting names others.
pub fn default_topics(flow: &dyn Flow) -> Topics {
    flow.outputs().iter().map(|output| Arc::from(&*output.topic)).collect()
}

/// A record on its way to a topic. Its `Debug` shows no values.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingRecord {
    pub topic: Arc<str>,
    pub key: Option<Bytes>,
    /// `None` for a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<(ByteString, Option<Bytes>)>,
}

impl OutgoingRecord {
    /// Its `tally.id`.
    pub fn id(&self) -> &[u8] {
        let id = self.headers.iter().rev().find(|(name, _)| *name == ID);
        id.and_then(|(_, value)| value.as_deref()).unwrap_or_default()
    }

    /// How many bytes it takes at most in a topic, uncompressed and in a batch of its own.
    pub fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let header =
            |(name, value): &(ByteString, Option<Bytes>)| HEADER_BYTES + name.len() + length(value);
        let headers: usize = self.headers.iter().map(header).sum();
        BATCH_BYTES + length(&self.key) + length(&self.value) + headers
    }
}

impl fmt::Debug for OutgoingRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingRecord").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// A record of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRecord {
    /// Its place in the outbox of its partition.
    pub number: i64,
    pub record: OutgoingRecord,
}

/// Makes records of what rows of one origin publish, with the engine's headers. All share the memory of what is the same in
/// each, and of their ids.
pub struct Outgoing<'a> {
    origin: Origin<'a>,
    topics: &'a Topics,
    is_replay: bool,
    flow: Bytes,
    ids: BytesMut,
}

impl<'a> Outgoing<'a> {
    /// For rows of `origin`, to the topics of the flow's outputs.
    pub fn new(origin: Origin<'a>, topics: &'a Topics, is_replay: bool) -> Self {
        let flow = Bytes::from(origin.flow.name().to_owned());
        Self { origin, topics, is_replay, flow, ids: BytesMut::new() }
    }

    /// What a row publishes.
    ///
    /// # Errors
    /// When it does not fit the flow's description: a bug in the flow.
    pub fn records(&mut self, row: &Row) -> Result<Vec<OutgoingRecord>, Stop> {
        let (topics, position) = (self.topics, row.position);
        let is_named = |output: &usize| topics.get(*output).is_some();
        let mut outputs = row.record.publications.iter().map(|publication| &publication.output);
        let checked = publish::check(self.origin.flow, &row.record);
        if let Some(what) = checked.err().or_else(|| {
            (!outputs.all(is_named)).then(|| "publishes to an output without a topic".to_owned())
        }) {
            let flow = self.origin.flow.name();
            let message = format!("the flow {flow} {what}: the record at {position}");
            return Err(Stop { kind: StopKind::Data, message });
        }
        let publications = (0..).zip(&row.record.publications);
        let records = publications.map(|(n, publication)| {
            let own = publication.headers.iter();
            let mut headers = Vec::with_capacity(own.len() + 2 + usize::from(self.is_replay));
            headers.extend(own.map(|(name, value)| (name.as_str().into(), value.clone())));
            headers.push((ByteString::from_static(FLOW), Some(self.flow.clone())));
            headers.push((ByteString::from_static(ID), Some(self.id(position, n))));
            if self.is_replay {
                headers.push((ByteString::from_static(REPLAY), Some(Bytes::from_static(b"true"))));
            }
            OutgoingRecord {
                topic: Arc::clone(&topics[publication.output]),
                key: publication.key.clone(),
                value: publication.value.clone(),
                headers,
            }
        });
        Ok(records.collect())
    }

    /// The corrected `record` of the dead letter at `identity`, on its way back. Of its headers those of an engine are replaced.
    pub fn repaired(
        &mut self,
        record: &OutgoingRecord,
        identity: &DeadLetterIdentity,
    ) -> OutgoingRecord {
        let mut record = record.clone();
        record.headers.retain(|(name, _)| !name.starts_with(publish::RESERVED_HEADERS));
        for (name, value) in [
            (FLOW, self.flow.clone()),
            (ID, self.id(identity.position, 0)),
            (REPLAY, Bytes::from_static(b"true")),
            (REPAIRED_FROM, identity.id().to_string().into()),
        ] {
            record.headers.push((ByteString::from_static(name), Some(value)));
        }
        record
    }

    fn id(&mut self, position: i64, n: u32) -> Bytes {
        let Origin { stream, partition, log, .. } = self.origin;
        let longest = stream.len() + LONGEST_NUMBERS;
        if self.ids.capacity() < longest {
            self.ids = BytesMut::with_capacity(IDS_BYTES.max(longest));
        }
        let id = PublicationId { stream, partition, log, position, n };
        let _never_fails = write!(self.ids, "{id}");
        self.ids.split().freeze()
    }
}

/// The fault where what a replay publishes has no place, as nothing is known of its partition.
pub fn no_position(origin: &Origin<'_>) -> Fault {
    let Origin { stream, partition, .. } = origin;
    let message = format!(
        "partition {partition} of {stream} has no position, so what the replay publishes has no place in the outbox"
    );
    Fault::stop(StopKind::Data, message)
}

/// Why a record is a dead letter of which something is over the limit of the topic.
pub fn too_large(topic: &str) -> Reason {
    let message = format!("what it publishes to {topic} is larger than the topic takes");
    Reason::new(Stage::Publish, "publish_too_large", message)
}
