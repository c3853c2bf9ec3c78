//! A fair share of a stream's partitions, among all the workers that live.
//!
//! Every worker says again and again that it lives, and is told who else does and where each partition stands. From
//! that alone each one decides: who holds fewer than the share claims what is free, who holds more gives the surplus
//! back once what is in flight is committed. Nobody takes a lease that is alive, so it is of no harm when two of them
//! see different numbers for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::NaiveDateTime;
use metrics::gauge;
use tally_ports::{
    Attendance, Begin, Claim, Crew as Living, Fault, Lease, Positions, Stop, StopKind, Stream,
    Worker, Workers, metric,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Ended, Gates, Heartbeat, Partition, Status};

/// How often a worker looks what has changed, unless a third of the lease is shorter.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked which partitions there are.
const LIST_EVERY: Duration = Duration::from_secs(5);
/// How often it is said which partition is blocked.
const SAID_EVERY: Duration = Duration::from_secs(10);
/// How long giving a lease back may take; it expires by itself.
const GRACE: Duration = Duration::from_secs(1);

/// The partitions of a stream, and the work on one of them.
pub trait Partitions: Send + Sync + 'static {
    /// Which there are now.
    fn list(&self) -> impl Future<Output = Result<Vec<i32>, Fault>> + Send;

    /// The first position of one that was never read.
    fn begin(&self, partition: i32) -> impl Future<Output = Result<i64, Fault>> + Send;

    /// The position at which the work on it ends; `None` when it never does.
    fn end(&self, partition: i32) -> Option<i64>;

    /// Works on a partition that is ours until its end or until `stop` is cancelled. What is in flight then is
    /// committed before this returns.
    fn work(
        &self,
        partition: Partition,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<Ended, Stop>> + Send;
}

/// A worker among others.
pub struct Crew<S, P> {
    /// Where positions and workers are noted.
    pub store: Arc<S>,
    /// What is worked on.
    pub partitions: Arc<P>,
    /// Who we are.
    pub worker: Worker,
    /// What people call the stream.
    pub label: String,
    /// How long a sign of life lasts.
    pub lease: Duration,
    /// The gates of the dependencies.
    pub gates: Gates,
    /// What `/ready` says.
    pub status: Arc<Status>,
}

/// How many partitions a worker may hold.
pub const fn fair_share(partitions: usize, living: usize) -> usize {
    if living == 0 { partitions } else { partitions.div_ceil(living) }
}

impl<S: Positions + Workers, P: Partitions> Crew<S, P> {
    /// Holds a fair share of the partitions until `stop` is cancelled or all of them are at their ends, whoever brought
    /// them there. Everything held is given back.
    ///
    /// # Errors
    /// The first [`Stop`] of a partition, once all others have committed what they had in flight. A lost lease is none:
    /// the partition is let go. A [`StopKind::Blocked`] partition stays held and only ends a run that has an end, after
    /// the others came to theirs. [`StopKind::Taken`] when the store serves one worker and another one lives.
    pub async fn run(self, stop: &CancellationToken) -> Result<Ended, Stop> {
        let list = self.gates.source.pass(|| self.partitions.list());
        let listed = tokio::select! {
            listed = list => listed?,
            () = stop.cancelled() => return Ok(Ended::Interrupted),
        };
        let held = Held::new(stop.child_token());
        let mut shift = Shift { crew: Arc::new(self), held, tasks: JoinSet::new() };
        let result = shift.work(listed, stop).await;
        let drained = shift.give_back().await;
        let result = result.and_then(|ended| drained.map(|()| ended));
        let _expires_by_itself = timeout(GRACE, shift.crew.store.leave(&shift.crew.worker)).await;
        result
    }

    /// Who lives; `None` when a stop was asked for.
    async fn attend(&self, stop: &CancellationToken) -> Result<Option<Living>, Stop> {
        let mut waiting: Option<(Instant, NaiveDateTime)> = None;
        loop {
            let attending =
                self.gates.database.pass(|| self.store.attend(&self.worker, self.lease));
            let attendance = tokio::select! {
                attendance = attending => attendance?,
                () = stop.cancelled() => return Ok(None),
            };
            let (other, remaining, renewal) = match attendance {
                Attendance::Present(living) => return Ok(Some(living)),
                Attendance::Full { worker, remaining, renewal } => (worker, remaining, renewal),
            };
            let (since, first_renewal) = *waiting.get_or_insert_with(|| {
                tracing::warn!("{} is worked on by {other}, waiting for its end", self.label);
                (Instant::now(), renewal)
            });
            if since.elapsed() >= 2 * self.lease && renewal > first_renewal {
                let message = format!(
                    "{} is worked on by {other}, which is alive, and this store serves one process",
                    self.label
                );
                return Err(Stop { kind: StopKind::Taken, message });
            }
            tokio::select! {
                () = sleep(remaining.clamp(Duration::from_millis(20), self.lease)) => {}
                () = stop.cancelled() => return Ok(None),
            }
        }
    }

    async fn claim(&self, partition: i32, was_read: bool) -> Result<Option<Partition>, Stop> {
        let mut begin = Begin::default();
        if !was_read {
            match self.partitions.begin(partition).await {
                Ok(at) => begin.at = at,
                Err(Fault::Stop(stop)) => return Err(stop),
                Err(Fault::Outage { message, .. }) => {
                    tracing::debug!(partition, "not claimed: {message}");
                    return Ok(None);
                }
            }
        }
        let stream = Arc::new(Stream {
            flow: self.worker.flow,
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
            Claim::Finished { .. } => Ok(None),
        }
    }

    /// Works on a partition and gives its lease back.
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
        self.release(&lease).await;
        tracing::info!(partition = number, "let go");
        result
    }

    /// Holds a partition that cannot be read on, and says so, until a stop is asked for.
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

/// The partitions that cannot be read on.
#[derive(Clone, Default)]
struct Blocked(Arc<Mutex<BTreeMap<i32, Stop>>>);

impl Blocked {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Stop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What we hold.
struct Held {
    /// Stops all of them.
    stop: CancellationToken,
    /// Stops each of them.
    partitions: BTreeMap<i32, CancellationToken>,
    blocked: Blocked,
}

impl Held {
    fn new(stop: CancellationToken) -> Self {
        Self { stop, partitions: BTreeMap::new(), blocked: Blocked::default() }
    }

    /// Those that we mean to keep.
    fn kept(&self) -> Vec<i32> {
        let kept = self.partitions.iter().filter(|(_, stop)| !stop.is_cancelled());
        kept.map(|(number, _)| *number).collect()
    }
}

/// A worker at work.
struct Shift<S, P> {
    crew: Arc<Crew<S, P>>,
    held: Held,
    tasks: JoinSet<(i32, Result<Ended, Stop>)>,
}

impl<S: Positions + Workers, P: Partitions> Shift<S, P> {
    async fn work(&mut self, listed: Vec<i32>, stop: &CancellationToken) -> Result<Ended, Stop> {
        let (sender, listed) = watch::channel(listed);
        let _listing = AbortOnDropHandle::new(tokio::spawn(list(Arc::clone(&self.crew), sender)));
        let mut look = interval(LOOK_EVERY.min(self.crew.lease / 3));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Interrupted),
                Some(ended) = self.tasks.join_next() => self.note(ended)?,
                _ = look.tick() => {}
            }
            let Some(living) = self.crew.attend(stop).await? else {
                return Ok(Ended::Interrupted);
            };
            let partitions = listed.borrow().clone();
            if let Some(ended) = self.ended(&partitions, &living) {
                return ended;
            }
            let share = fair_share(partitions.len(), living.living);
            self.give_surplus(share);
            // A claim whose answer is not waited for expires by itself.
            tokio::select! {
                claimed = self.claim_free(share, &partitions, &living) => claimed?,
                () = stop.cancelled() => return Ok(Ended::Interrupted),
            }
        }
    }

    /// Gives up what is more than the share, those first that can be read.
    fn give_surplus(&self, share: usize) {
        let mut kept = self.held.kept();
        let surplus = kept.len().saturating_sub(share);
        kept.sort_by_key(|number| (!self.held.blocked.lock().contains_key(number), *number));
        for number in kept.into_iter().rev().take(surplus) {
            tracing::info!(partition = number, share, "more than the share, giving it back");
            self.held.partitions[&number].cancel();
        }
    }

    /// Claims what is free, up to the share.
    async fn claim_free(
        &mut self,
        share: usize,
        partitions: &[i32],
        living: &Living,
    ) -> Result<(), Stop> {
        let alive: BTreeSet<i32> = living
            .partitions
            .iter()
            .filter(|standing| {
                standing.owner.as_deref().is_some_and(|owner| owner != &*self.crew.worker.id)
            })
            .map(|standing| standing.partition)
            .collect();
        for &number in partitions {
            if self.held.kept().len() >= share || self.held.stop.is_cancelled() {
                return Ok(());
            }
            let is_free = !alive.contains(&number) && !self.held.partitions.contains_key(&number);
            let standing = living.partitions.iter().find(|standing| standing.partition == number);
            let is_done = standing.is_some_and(|standing| {
                self.crew.partitions.end(number).is_some_and(|end| standing.next >= end)
            });
            if !is_free || is_done {
                continue;
            }
            if let Some(partition) = self.crew.claim(number, standing.is_some()).await? {
                let stop = self.held.stop.child_token();
                self.held.partitions.insert(number, stop.clone());
                let (crew, blocked) = (Arc::clone(&self.crew), self.held.blocked.clone());
                self.tasks
                    .spawn(async move { (number, crew.hold(partition, stop, &blocked).await) });
            }
        }
        Ok(())
    }

    /// How the run ended, if every partition is at its end or cannot get there.
    fn ended(&self, partitions: &[i32], living: &Living) -> Option<Result<Ended, Stop>> {
        let blocked = self.held.blocked.lock();
        let mut next = 0;
        for &number in partitions {
            let end = self.crew.partitions.end(number)?;
            let standing = living.partitions.iter().find(|standing| standing.partition == number);
            next = standing.map_or(i64::MIN, |standing| standing.next);
            let is_at_end = next >= end && !self.held.partitions.contains_key(&number);
            if !is_at_end && !blocked.contains_key(&number) {
                return None;
            }
        }
        Some(match blocked.values().next() {
            Some(stop) => Err(stop.clone()),
            None => Ok(Ended::AtEnd { next }),
        })
    }

    /// Takes note of a partition that is no longer held.
    fn note(
        &mut self,
        ended: Result<(i32, Result<Ended, Stop>), tokio::task::JoinError>,
    ) -> Result<(), Stop> {
        let (number, result) = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.held.partitions.remove(&number);
        match result {
            Err(stop) if stop.kind == StopKind::Taken => {
                tracing::warn!(partition = number, "stepping down: {stop}");
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    /// Lets go of everything once what is in flight is committed.
    async fn give_back(&mut self) -> Result<(), Stop> {
        self.held.stop.cancel();
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            first = first.and(self.note(ended));
        }
        first
    }
}

/// Asks again and again which partitions there are. While that cannot be answered, those known stay.
async fn list<S, P: Partitions>(crew: Arc<Crew<S, P>>, listed: watch::Sender<Vec<i32>>) {
    loop {
        sleep(LIST_EVERY).await;
        match crew.partitions.list().await {
            Ok(now) => {
                listed.send_if_modified(|known| {
                    let is_new = *known != now;
                    if is_new {
                        tracing::info!("{} has {} partitions now", crew.label, now.len());
                        *known = now;
                    }
                    is_new
                });
            }
            Err(fault) => tracing::debug!("the partitions cannot be listed: {fault}"),
        }
    }
}
