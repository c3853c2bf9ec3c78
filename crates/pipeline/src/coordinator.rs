//! Gives each live worker a fair share of a stream's partitions.
//!
//! Every worker regularly registers as alive, and is told how many others are and the state of each partition. From that
//! alone each one decides: a worker with less than its share claims free partitions, one with more releases the surplus
//! once what is in flight is committed. A live lease is never taken, so it does no harm when two workers see different
//! numbers for a moment.

mod assignment;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tally_ports::{
    Begin, Claim, Fault, Join, Lease, Membership, PositionAdmin, Positions, Stop, StopKind, Stream,
    Worker, Workers, metric,
};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::assignment::{Assignment, Blocked};
use crate::ownership::Waiting;
use crate::{Ended, Gates, Heartbeat, Partition, Status};

/// How often a worker checks for changes, unless a third of the lease is shorter.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the partitions are listed.
const LIST_EVERY: Duration = Duration::from_secs(5);
/// How often a blocked partition is logged.
const SAID_EVERY: Duration = Duration::from_secs(10);
/// How long releasing a lease may take; it expires by itself.
const GRACE: Duration = Duration::from_secs(1);

/// The partitions of a stream, and the work on one of them.
pub trait Partitions: Send + Sync + 'static {
    /// The current partitions.
    fn list(&self) -> impl Future<Output = Result<Vec<i32>, Fault>> + Send;

    /// Where a partition of a new stream begins.
    fn start(&self, partition: i32) -> impl Future<Output = Result<i64, Fault>> + Send;

    /// The first position of a partition that was added later.
    fn first(&self, partition: i32) -> impl Future<Output = Result<i64, Fault>> + Send;

    /// The position at which a partition's work ends; `None` when it never does.
    fn end(&self, partition: i32) -> Option<i64>;

    /// Works on an owned partition until its end or until `stop` is cancelled. What is in flight then is
    /// committed before this returns.
    fn work(
        &self,
        partition: Partition,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<Ended, Stop>> + Send;

    /// Called when a partition is no longer ours.
    fn let_go(&self, partition: i32);
}

/// One of the workers of a stream.
pub struct Coordinator<S, P> {
    /// Holds positions and workers.
    pub store: Arc<S>,
    /// The partitions to work on.
    pub partitions: Arc<P>,
    /// This process.
    pub worker: Worker,
    /// The stream's label.
    pub label: String,
    /// How long a worker may be silent before others take over.
    pub lease: Duration,
    /// The gates of the dependencies.
    pub gates: Gates,
    /// What `/ready` says.
    pub status: Arc<Status>,
}

/// How many partitions a worker may hold.
pub const fn fair_share(partitions: usize, live_workers: usize) -> usize {
    if live_workers == 0 { partitions } else { partitions.div_ceil(live_workers) }
}

impl<S: Positions + Workers + PositionAdmin, P: Partitions> Coordinator<S, P> {
    /// Holds a fair share of the partitions until `stop` is cancelled or all of them have reached their ends, by this worker
    /// or others. Releases everything it holds.
    ///
    /// # Errors
    /// The first [`Stop`] of a partition, once all others have committed what they had in flight. A lost lease is not an
    /// error: the partition is let go. A [`StopKind::Blocked`] partition stays held and only ends a run that has an end,
    /// after the others reached theirs. [`StopKind::Taken`] when the store serves one worker and another one is alive.
    pub async fn run(self, stop: &CancellationToken) -> Result<Ended, Stop> {
        let list = self.gates.source.pass(|| self.partitions.list());
        let listed = tokio::select! {
            listed = list => listed?,
            () = stop.cancelled() => return Ok(Ended::Interrupted),
        };
        let mut assignment = Assignment::begin(Arc::new(self), stop.child_token());
        let result = assignment.work(listed, stop).await;
        let drained = assignment.give_back().await;
        let result = result.and_then(|ended| drained.map(|()| ended));
        assignment.coordinator.leave().await;
        result
    }

    /// The live workers; `None` when a stop was requested.
    async fn join_stream(&self, stop: &CancellationToken) -> Result<Option<Membership>, Stop> {
        let mut waiting: Option<Waiting> = None;
        loop {
            let joining =
                self.gates.database.pass(|| self.store.join_stream(&self.worker, self.lease));
            let joined = tokio::select! {
                joined = joining => joined?,
                () = stop.cancelled() => return Ok(None),
            };
            let (other, remaining, renewal) = match joined {
                Join::Joined(membership) => return Ok(Some(membership)),
                Join::Full { worker, remaining, renewal } => (worker, remaining, renewal),
            };
            let waiting = waiting.get_or_insert_with(|| {
                tracing::warn!("{other} is using this store, waiting until it ends");
                Waiting::begin(renewal)
            });
            if waiting.finds_alive(renewal, self.lease) {
                let message = format!(
                    "{other} is using this store and is alive; the store serves one process"
                );
                return Err(Stop { kind: StopKind::Taken, message });
            }
            tokio::select! {
                () = sleep(remaining.clamp(Duration::from_millis(20), self.lease)) => {}
                () = stop.cancelled() => return Ok(None),
            }
        }
    }

    /// The partitions' states, without registering as alive; `None` when a stop was requested.
    async fn watch(&self, stop: &CancellationToken) -> Result<Option<Membership>, Stop> {
        let look = || self.store.partition_states(&self.worker.flow, &self.worker.stream);
        tokio::select! {
            partition_states = self.gates.database.pass(look) => {
                Ok(Some(Membership { live_workers: 0, partitions: partition_states? }))
            }
            () = stop.cancelled() => Ok(None),
        }
    }

    async fn leave(&self) {
        let _expires_by_itself = timeout(GRACE, self.store.leave(&self.worker)).await;
    }

    /// Begins a stream that was never read, all partitions at once: a partition that is added later is read from its first
    /// position on, wherever the others began. Waits until each start is known.
    async fn begin(&self, partitions: &[i32]) -> Result<(), Stop> {
        let mut starts = Vec::with_capacity(partitions.len());
        for &number in partitions {
            let at = self.gates.source.pass(|| self.partitions.start(number)).await?;
            starts.push((number, at));
        }
        let begin = || self.store.begin(&self.worker, &self.label, &starts);
        self.gates.database.pass(begin).await
    }

    async fn claim(&self, partition: i32, was_read: bool) -> Result<Option<Partition>, Stop> {
        let mut begin = Begin::default();
        if !was_read {
            match self.partitions.first(partition).await {
                Ok(at) => begin.at = at,
                Err(Fault::Stop(stop)) => return Err(stop),
                Err(Fault::Outage { message, .. }) => {
                    tracing::debug!(partition, "not claimed: {message}");
                    return Ok(None);
                }
            }
        }
        let stream = Arc::new(Stream {
            flow: self.worker.flow.clone(),
            name: self.worker.stream.clone(),
            partition,
            label: self.label.clone(),
        });
        let claim = || self.store.claim(&stream, &self.worker.id, self.lease, begin);
        match self.gates.database.pass(claim).await? {
            Claim::Owned(position) => {
                tracing::info!(partition, next = position.next, "owned");
                let worker = Arc::clone(&self.worker.id);
                Ok(Some(Partition { stream, worker, position }))
            }
            Claim::Held { owner, .. } => {
                tracing::debug!(partition, "held by {owner}");
                Ok(None)
            }
            Claim::Finished(_) => Ok(None),
        }
    }

    /// Works on a partition, then releases its lease.
    async fn hold(
        &self,
        partition: Partition,
        stop: CancellationToken,
        blocked: &Blocked,
    ) -> Result<Ended, Stop> {
        let (number, lease) = (partition.stream.partition, partition.position.lease);
        let mut heartbeat = Heartbeat::start(Arc::clone(&self.store), lease);
        let worked = tokio::select! {
            worked = self.partitions.work(partition, stop.clone()) => worked,
            lost = heartbeat.lost() => Err(lost),
        };
        let result = match worked {
            Err(reason) if reason.kind == StopKind::Blocked => {
                blocked.lock().insert(number, reason.clone());
                let stayed = self.stay(number, &reason, &stop, &mut heartbeat).await;
                blocked.lock().remove(&number);
                stayed
            }
            other => other,
        };
        drop(heartbeat);
        self.partitions.let_go(number);
        self.release(&lease).await;
        tracing::info!(partition = number, "let go");
        result
    }

    /// Holds a blocked partition, and logs it regularly, until a stop is requested.
    async fn stay(
        &self,
        number: i32,
        reason: &Stop,
        stop: &CancellationToken,
        heartbeat: &mut Heartbeat,
    ) -> Result<Ended, Stop> {
        let is_blocked = gauge!(metric::PARTITION_BLOCKED, "partition" => number.to_string());
        is_blocked.set(1.0);
        self.status.block(number, &reason.message);
        let say = async {
            let mut said = interval(SAID_EVERY);
            loop {
                said.tick().await;
                tracing::error!(partition = number, "stopped: {reason}");
            }
        };
        let result = tokio::select! {
            () = say => Ok(Ended::Interrupted),
            () = stop.cancelled() => Ok(Ended::Interrupted),
            lost = heartbeat.lost() => Err(lost),
        };
        self.status.unblock(number);
        is_blocked.set(0.0);
        result
    }

    async fn release(&self, lease: &Lease) {
        let _expires_by_itself = timeout(GRACE, self.store.release(lease)).await;
    }
}
