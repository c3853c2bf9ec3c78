//! What a worker holds, and how that changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_ports::{Membership, PositionAdmin, Positions, Stop, StopKind, Workers};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Coordinator, LIST_EVERY, LOOK_EVERY, Partitions, fair_share};
use crate::Ended;

/// The blocked partitions.
#[derive(Clone, Default)]
pub(super) struct Blocked(Arc<Mutex<BTreeMap<i32, Stop>>>);

impl Blocked {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Stop>> {
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
pub(super) struct Assignment<S, P> {
    pub(super) coordinator: Arc<Coordinator<S, P>>,
    held: Held,
    tasks: JoinSet<(i32, Result<Ended, Stop>)>,
    /// Whether we are registered as alive. A worker whose work has an end and that has nothing left to get is not, so that the
    /// others share all partitions.
    is_present: bool,
}

impl<S: Positions + Workers + PositionAdmin, P: Partitions> Assignment<S, P> {
    /// A worker without partitions; `stop` makes it release whatever it holds.
    pub(super) fn begin(coordinator: Arc<Coordinator<S, P>>, stop: CancellationToken) -> Self {
        Self { coordinator, held: Held::new(stop), tasks: JoinSet::new(), is_present: true }
    }

    /// Holds a fair share of `listed` until all is done or `stop` is cancelled.
    pub(super) async fn work(
        &mut self,
        listed: Vec<i32>,
        stop: &CancellationToken,
    ) -> Result<Ended, Stop> {
        let (sender, listed) = watch::channel(listed);
        let _listing =
            AbortOnDropHandle::new(tokio::spawn(list(Arc::clone(&self.coordinator), sender)));
        let mut look = interval(LOOK_EVERY.min(self.coordinator.lease / 3));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Interrupted),
                Some(ended) = self.tasks.join_next() => self.note(ended)?,
                _ = look.tick() => {}
            }
            let looked = if self.is_present {
                self.coordinator.join_stream(stop).await?
            } else {
                self.coordinator.watch(stop).await?
            };
            let Some(membership) = looked else { return Ok(Ended::Interrupted) };
            let partitions = listed.borrow().clone();
            if let Some(ended) = self.ended(&partitions, &membership) {
                return ended;
            }
            if !self.is_present {
                let is_anything_free = self.free(&partitions, &membership).next().is_some();
                self.is_present = is_anything_free;
                continue;
            }
            if membership.partitions.is_empty() {
                tokio::select! {
                    begun = self.coordinator.begin(&partitions) => begun?,
                    () = stop.cancelled() => return Ok(Ended::Interrupted),
                }
                look.reset_immediately();
                continue;
            }
            let share = fair_share(partitions.len(), membership.live_workers);
            self.give_surplus(share);
            // A claim whose answer is not waited for expires by itself.
            tokio::select! {
                claimed = self.claim_free(share, &partitions, &membership) => claimed?,
                () = stop.cancelled() => return Ok(Ended::Interrupted),
            }
            if self.has_nothing_to_get(&partitions, &membership) {
                self.coordinator.leave().await;
                self.is_present = false;
            }
        }
    }

    /// Whether the work has an end, we hold nothing, nothing is free, and no worker has a surplus for us.
    ///
    /// An owner of a lease counts here, even if it has not renewed for a while: it may still do so.
    fn has_nothing_to_get(&self, partitions: &[i32], membership: &Membership) -> bool {
        let mut shares = BTreeMap::<&str, usize>::new();
        for owner in membership.partitions.iter().filter_map(|state| state.owner.as_deref()) {
            *shares.entry(owner).or_default() += 1;
        }
        let share = fair_share(partitions.len(), membership.live_workers.max(shares.len() + 1));
        partitions.iter().all(|number| self.coordinator.partitions.end(*number).is_some())
            && self.held.partitions.is_empty()
            && self.free(partitions, membership).next().is_none()
            && shares.values().all(|count| *count <= share)
    }

    /// Those of `partitions` without an owner that are not at their ends, and whether they were ever read.
    fn free<'a>(
        &'a self,
        partitions: &'a [i32],
        membership: &'a Membership,
    ) -> impl Iterator<Item = (i32, bool)> + 'a {
        partitions.iter().filter_map(move |&number| {
            let state = membership.partitions.iter().find(|state| state.partition == number);
            let is_others = state
                .and_then(|state| state.owner.as_deref())
                .is_some_and(|owner| owner != &*self.coordinator.worker.id);
            let is_done = state.is_some_and(|state| {
                self.coordinator.partitions.end(number).is_some_and(|end| state.next >= end)
            });
            let is_free = !is_others && !is_done && !self.held.partitions.contains_key(&number);
            is_free.then_some((number, state.is_some()))
        })
    }

    /// Releases what exceeds the share, blocked partitions last.
    fn give_surplus(&self, share: usize) {
        let mut kept = self.held.kept();
        let surplus = kept.len().saturating_sub(share);
        kept.sort_by_key(|number| (!self.held.blocked.lock().contains_key(number), *number));
        for number in kept.into_iter().rev().take(surplus) {
            tracing::info!(partition = number, share, "more than the share, releasing it");
            self.held.partitions[&number].cancel();
        }
    }

    /// Claims what is free, up to the share.
    async fn claim_free(
        &mut self,
        share: usize,
        partitions: &[i32],
        membership: &Membership,
    ) -> Result<(), Stop> {
        let free: Vec<_> = self.free(partitions, membership).collect();
        for (number, was_read) in free {
            if self.held.kept().len() >= share || self.held.stop.is_cancelled() {
                return Ok(());
            }
            if let Some(partition) = self.coordinator.claim(number, was_read).await? {
                let stop = self.held.stop.child_token();
                self.held.partitions.insert(number, stop.clone());
                let (coordinator, blocked) =
                    (Arc::clone(&self.coordinator), self.held.blocked.clone());
                self.tasks.spawn(async move {
                    (number, coordinator.hold(partition, stop, &blocked).await)
                });
            }
        }
        Ok(())
    }

    /// How the run ended, if every partition has reached its end or is blocked.
    fn ended(&self, partitions: &[i32], membership: &Membership) -> Option<Result<Ended, Stop>> {
        let blocked = self.held.blocked.lock();
        let mut next = 0;
        for &number in partitions {
            let end = self.coordinator.partitions.end(number)?;
            let state = membership.partitions.iter().find(|state| state.partition == number);
            next = state.map_or(i64::MIN, |state| state.next);
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

    /// Records that a partition is no longer held.
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

    /// Releases everything once what is in flight is committed.
    pub(super) async fn give_back(&mut self) -> Result<(), Stop> {
        self.held.stop.cancel();
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            first = first.and(self.note(ended));
        }
        first
    }
}

/// Lists the partitions regularly. While they cannot be listed, the known ones stay.
async fn list<S, P: Partitions>(
    coordinator: Arc<Coordinator<S, P>>,
    listed: watch::Sender<Vec<i32>>,
) {
    loop {
        sleep(LIST_EVERY).await;
        match coordinator.partitions.list().await {
            Ok(now) => {
                listed.send_if_modified(|known| {
                    let is_new = *known != now;
                    if is_new {
                        tracing::info!("{} has {} partitions now", coordinator.label, now.len());
                        *known = now;
                    }
                    is_new
                });
            }
            Err(fault) => tracing::debug!("the partitions cannot be listed: {fault}"),
        }
    }
}
