//! Publishes for one partition, as often as is guaranteed.

use std::sync::Arc;

use tally_ports::progress::BatchState;
use tally_ports::{
    Commit, DeliveryGuarantee, Earlier, Fault, Lease, OutboxRecord, OutgoingRecord, Positions,
    Progress, Publish, PublishedBatch, PublishedOutbox, Stop, StopKind, Stream, failpoint,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Outputs;
use crate::Gate;

/// Publishes for the owner of a partition.
pub(crate) struct PartitionPublisher<P: Publish, S> {
    outputs: Outputs<P>,
    gate: Arc<Gate>,
    store: Arc<S>,
    stream: Arc<Stream>,
    lease: Lease,
    /// None before the first transaction, and after one that may have failed.
    begun: Mutex<Option<Begun<P::Transactions>>>,
}

struct Begun<T> {
    transactions: T,
    /// What the last transaction that was committed said.
    progress: Progress,
}

/// What of the progress a transaction changes.
enum Change<'a> {
    Batch(&'a PublishedBatch),
    Outbox(&'a PublishedOutbox),
}

impl Change<'_> {
    fn is_in(&self, progress: &Progress) -> bool {
        match self {
            Self::Batch(batch) => progress.batch.as_ref().is_some_and(|last| last.id == batch.id),
            Self::Outbox(outbox) => progress.outbox.as_ref() == Some(outbox),
        }
    }

    fn apply(&self, progress: &mut Progress) {
        match *self {
            Self::Batch(batch) => progress.batch = Some(batch.clone()),
            Self::Outbox(outbox) => progress.outbox = Some(outbox.clone()),
        }
    }

    /// Whether it comes next.
    fn follows(&self, progress: &Progress) -> bool {
        match self {
            Self::Batch(batch) => progress.batch.as_ref().is_none_or(|last| {
                last.state(batch.log, batch.pass, batch.first) == BatchState::Settled
            }),
            Self::Outbox(outbox) => {
                progress.outbox.as_ref().is_none_or(|last| last.last < outbox.first)
            }
        }
    }
}

impl<P: Publish, S: Positions> PartitionPublisher<P, S> {
    /// To `outputs` behind `gate`, while the lease of the partition is that in the `store`.
    pub(crate) fn new(
        outputs: Outputs<P>,
        gate: Arc<Gate>,
        store: Arc<S>,
        stream: Arc<Stream>,
        lease: Lease,
    ) -> Self {
        Self { outputs, gate, store, stream, lease, begun: Mutex::new(None) }
    }

    pub(crate) fn is_exactly_once(&self) -> bool {
        self.outputs.guarantee == DeliveryGuarantee::ExactlyOnce
    }

    /// How far what is published in transactions goes.
    pub(crate) async fn progress(&self) -> Result<Progress, Stop> {
        let progress = || async {
            let mut begun = self.begun.lock().await;
            let current = match begun.take() {
                Some(current) => current,
                None => self.begin().await?,
            };
            Ok(begun.insert(current).progress.clone())
        };
        self.gate.pass(progress).await
    }

    /// Publishes the records of a batch whose model has answered. Returns the indices of those that are too large, in order: in
    /// a transaction, none is published then.
    pub(crate) async fn batch(
        &self,
        records: &[OutgoingRecord],
        commit: &Commit,
        earlier: &Earlier,
    ) -> Result<Vec<usize>, Stop> {
        if !self.is_exactly_once() {
            return self.at_least_once(records).await;
        }
        let batch = PublishedBatch::new(commit, earlier)?;
        self.exactly_once(records, &Change::Batch(&batch)).await
    }

    /// Publishes the first of these records of the outbox, of which there are some; how many. Those that a transaction has
    /// published are not published again.
    ///
    /// # Errors
    /// Also where one is too large.
    pub(crate) async fn outbox(&self, records: &[OutboxRecord]) -> Result<usize, Stop> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(0) };
        if self.is_exactly_once()
            && let Some(published) = self.progress().await?.outbox
            && first.number <= published.last
        {
            let is_first = first.number == published.first;
            if first.number < published.first || (is_first && id(first) != published.first_id) {
                let more = format!("record {} of its outbox is published", published.last);
                return Err(self.ahead(&more, &format!("has another record {}", first.number)));
            }
            return Ok(records.iter().filter(|record| record.number <= published.last).count());
        }
        let outgoing = records.iter().map(|record| record.record.clone()).collect::<Vec<_>>();
        let too_large = if self.is_exactly_once() {
            let first_id = id(first);
            let published = PublishedOutbox { first: first.number, first_id, last: last.number };
            self.exactly_once(&outgoing, &Change::Outbox(&published)).await?
        } else {
            self.at_least_once(&outgoing).await?
        };
        let Some(&index) = too_large.first() else { return Ok(records.len()) };
        let OutboxRecord { number, record } = &records[index];
        let message = format!(
            "record {number} of the outbox of {} of {} is larger than {} takes: raise its max.message.bytes",
            self.of_partition(),
            self.stream.flow,
            record.topic
        );
        Err(Stop { kind: StopKind::Setting, message })
    }

    async fn at_least_once(&self, records: &[OutgoingRecord]) -> Result<Vec<usize>, Stop> {
        let publisher = &self.outputs.publisher;
        failpoint("produce-before");
        let sending = self.gate.pass(|| publisher.send(records)).await?;
        let too_large = self.gate.pass(|| publisher.acknowledged(&sending)).await?;
        failpoint("produce-after");
        Ok(too_large)
    }

    async fn exactly_once(
        &self,
        records: &[OutgoingRecord],
        change: &Change<'_>,
    ) -> Result<Vec<usize>, Stop> {
        self.gate.pass(|| self.transact(records, change)).await
    }

    /// One transaction, unless it is found to be committed. Where its outcome is unknown, or another producer with our id has
    /// begun, it begins again at once: whoever is right about the lease goes on.
    async fn transact(
        &self,
        records: &[OutgoingRecord],
        change: &Change<'_>,
    ) -> Result<Vec<usize>, Fault> {
        let mut begun = self.begun.lock().await;
        let mut is_second = false;
        loop {
            let mut current = match begun.take() {
                Some(current) => current,
                None => self.begin().await?,
            };
            let mut progress = current.progress.clone();
            if change.is_in(&progress) {
                *begun = Some(current);
                return Ok(Vec::new());
            }
            if !change.follows(&progress) {
                return Err(self.ahead(&progress.to_string(), "has something else next").into());
            }
            progress.epoch = self.lease.epoch;
            change.apply(&mut progress);
            let transact =
                self.outputs.publisher.transact(&mut current.transactions, records, &progress);
            let fault = match timeout(self.lease.duration / 2, transact).await {
                Ok(Ok(too_large)) => {
                    if too_large.is_empty() {
                        current.progress = progress;
                    }
                    *begun = Some(current);
                    return Ok(too_large);
                }
                Ok(Err(fault @ Fault::Stop(_))) => return Err(fault),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::outage(format!(
                    "a transaction of {} took longer than half of its lease, {:.1} s: set a longer lease or smaller batches",
                    self.of_partition(),
                    self.lease.duration.as_secs_f64() / 2.0
                )),
            };
            if is_second {
                return Err(fault);
            }
            tracing::debug!("{fault}; beginning again");
            is_second = true;
        }
    }

    /// Fences whoever published before, and looks at what is committed. The lease is ours before, so that no owner is fenced
    /// by one that was, and after, so that nobody has published since.
    async fn begin(&self) -> Result<Begun<P::Transactions>, Fault> {
        self.store.renew(&self.lease).await?;
        let publisher = &self.outputs.publisher;
        let transactions =
            publisher.begin_transactions(&self.stream, self.lease.duration / 2).await?;
        failpoint("takeover");
        let progress = publisher.progress(&transactions).await?.unwrap_or_default();
        self.store.renew(&self.lease).await?;
        if progress.epoch > self.lease.epoch {
            let knows = format!("owns it in epoch {}", self.lease.epoch);
            return Err(self.ahead(&progress.to_string(), &knows).into());
        }
        Ok(Begun { transactions, progress })
    }

    /// From now on nothing is known of the last batch that was published; where another database wrote the progress, of nothing
    /// at all.
    pub(crate) async fn forget(&self) -> Result<(), Stop> {
        let publisher = &self.outputs.publisher;
        let forget = || async {
            self.store.renew(&self.lease).await?;
            let timeout = self.lease.duration / 2;
            let mut transactions = publisher.begin_transactions(&self.stream, timeout).await?;
            let found = publisher.progress(&transactions).await?.unwrap_or_default();
            self.store.renew(&self.lease).await?;
            let epoch = self.lease.epoch;
            let outbox = found.outbox.filter(|_| found.epoch <= epoch);
            let progress = Progress { epoch, batch: None, outbox };
            publisher.transact(&mut transactions, &[], &progress).await.map(drop)
        };
        self.gate.pass(forget).await
    }

    /// The progress topic knows `more` than the database, which `knows` less.
    pub(crate) fn ahead(&self, more: &str, knows: &str) -> Stop {
        let message = format!(
            "the progress topic says of {} that {more}, and the database {knows}: another database publishes for it, or this \
             one was restored. Set a topic's position by positions set, or kafka.progress_topic to a new topic",
            self.of_partition()
        );
        Stop { kind: StopKind::Setting, message }
    }

    fn of_partition(&self) -> String {
        let Stream { flow, name, partition, .. } = &*self.stream;
        format!("{flow}/{name}/{partition}")
    }
}

fn id(record: &OutboxRecord) -> String {
    String::from_utf8_lossy(record.record.id()).into_owned()
}
