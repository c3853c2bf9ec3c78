//! Who works on a stream, in memory.

use std::sync::MutexGuard;
use std::time::Duration;

use tally_ports::{Fault, Join, Membership, Stream, Worker, Workers};

use super::{MemoryStore, State, WorkerRow, outage, takes_one};

impl Workers for MemoryStore {
    async fn join_stream(&self, worker: &Worker, lease: Duration) -> Result<Join, Fault> {
        let now = self.now();
        let mut state = self.with_workers()?;
        for present in state.workers.iter_mut().filter(|present| present.seen_at > now) {
            present.seen_until = now + (present.seen_until - present.seen_at);
            present.seen_at = now;
        }
        let lives =
            |present: &&WorkerRow| present.worker.id != worker.id && present.seen_until > now;
        let is_other = |present: &&WorkerRow| {
            let Worker { flow, stream, .. } = &present.worker;
            (flow, stream) == (&worker.flow, &worker.stream) && lives(present)
        };
        if state.serves_one
            && let Some(WorkerRow { worker, seen_until, .. }) = state.workers.iter().find(lives)
        {
            return Ok(Join::Full {
                worker: worker.id.to_string(),
                remaining: (*seen_until - now).to_std().expect("later"),
                renewal: *seen_until,
            });
        }
        let live_workers = state.workers.iter().filter(is_other).count() + 1;

        let day = chrono::TimeDelta::days(1);
        state.workers.retain(|present| present.seen_until >= now - day);
        let seen = WorkerRow { worker: worker.clone(), seen_at: now, seen_until: now + lease };
        match state.workers.iter_mut().find(|present| present.worker.id == worker.id) {
            Some(present) => *present = seen,
            None => state.workers.push(seen),
        }
        let partitions = state.partition_states(&worker.flow, &worker.stream, now);
        Ok(Join::Joined(Membership { live_workers, partitions }))
    }

    async fn begin(
        &self,
        worker: &Worker,
        label: &str,
        starts: &[(i32, i64)],
    ) -> Result<(), Fault> {
        let now = self.now();
        let mut state = self.with_workers()?;
        if !state.partition_states(&worker.flow, &worker.stream, now).is_empty() {
            return Ok(());
        }
        for &(partition, next) in starts {
            let (flow, name, label) =
                (worker.flow.clone(), worker.stream.clone(), label.to_owned());
            state.add(&Stream { flow, name, partition, label }, 1, next, now);
        }
        Ok(())
    }

    async fn leave(&self, worker: &Worker) -> Result<(), Fault> {
        self.with_workers()?.workers.retain(|present| present.worker.id != worker.id);
        Ok(())
    }
}

impl MemoryStore {
    fn with_workers(&self) -> Result<MutexGuard<'_, State>, Fault> {
        let mut state = self.state();
        if takes_one(&mut state.failing_workers) { Err(outage()) } else { Ok(state) }
    }
}
