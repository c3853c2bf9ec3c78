//! Claims and leases in memory.

use std::time::Duration;

use chrono::NaiveDateTime;
use serde_json::Value;
use tally_ports::{
    Begin, Claim, Fault, Finished, LastPass, Lease, OnClaim, Position, Positions, Stream, Tolerance,
};

use super::{Entry, MemoryStore, PositionRow, State, is_same, outage, takes_one};

impl Positions for MemoryStore {
    async fn claim(
        &self,
        stream: &Stream,
        owner: &str,
        lease: Duration,
        begin: Begin,
    ) -> Result<Claim, Fault> {
        let now = self.now();
        let mut state = self.reachable()?;
        state.set_back(stream, now);
        let index = match OnClaim::decide(state.last_pass(stream, now), owner, begin) {
            OnClaim::Begin { number, next } => state.add(stream, number, next, now),
            OnClaim::Take(position) => index(position),
            OnClaim::Answer(claim) => return Ok(claim),
            OnClaim::Finished { position, at, is_rejected } => {
                let (read, dead_lettered) = state.sums(index(position));
                return Ok(Claim::Finished(Finished { at, read, dead_lettered, is_rejected }));
            }
        };

        let row = &mut state.positions[index];
        row.epoch += 1;
        row.owner = Some(owner.to_owned());
        row.lease_until = Some(now + lease);
        row.updated_at = now;
        stream.label.clone_into(&mut row.stream.label);
        Ok(Claim::Owned(Position {
            lease: Lease { position_id: id(index), epoch: row.epoch, duration: lease },
            pass: row.pass,
            log: row.log,
            next: row.next,
            cursor: row.cursor.clone(),
            stats: row.stats.clone(),
        }))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Fault> {
        let now = self.now();
        let mut state = self.reachable()?;
        let row = state
            .position_row(lease)
            .filter(|row| row.owner.is_some())
            .ok_or_else(|| lease.taken())?;
        row.lease_until = Some(now + lease.duration);
        row.updated_at = now;
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), Fault> {
        let now = self.now();
        let mut state = self.reachable()?;
        if let Some(row) = state.position_row(lease) {
            row.give_back(now);
        }
        Ok(())
    }

    async fn finish(
        &self,
        lease: &Lease,
        next: i64,
        tolerance: Tolerance,
    ) -> Result<Option<Finished>, Fault> {
        let now = self.now();
        let mut state = self.reachable()?;
        state.position_row(lease).filter(|row| row.next == next).ok_or_else(|| lease.taken())?;
        let has_ended = state.positions[index(lease.position_id)].ended_at.is_some();
        if !has_ended && state.holds_records(lease) {
            return Ok(None);
        }
        let (read, dead_lettered) = state.sums(index(lease.position_id));
        let row = &mut state.positions[index(lease.position_id)];
        if row.ended_at.is_none() {
            row.rejected_at = tolerance.is_exceeded(read, dead_lettered).then_some(now);
        }
        let at = *row.ended_at.get_or_insert(now);
        row.give_back(now);
        let is_rejected = row.rejected_at.is_some();
        Ok(Some(Finished { at, read, dead_lettered, is_rejected }))
    }
}

impl MemoryStore {
    fn reachable(&self) -> Result<std::sync::MutexGuard<'_, State>, Fault> {
        let mut state = self.state();
        if takes_one(&mut state.failing_positions) { Err(outage()) } else { Ok(state) }
    }
}

impl State {
    /// The row of a lease that is still good.
    pub(super) fn position_row(&mut self, lease: &Lease) -> Option<&mut PositionRow> {
        let index = usize::try_from(lease.position_id - 1).ok()?;
        self.positions.get_mut(index).filter(|row| row.epoch == lease.epoch)
    }

    /// The last pass over the stream's partition.
    pub(super) fn last_pass(&self, stream: &Stream, now: NaiveDateTime) -> Option<LastPass<'_>> {
        let index = self.positions.iter().rposition(|row| is_same(&row.stream, stream))?;
        let row = &self.positions[index];
        let remaining = row.lease_until.and_then(|until| (until - now).to_std().ok());
        Some(LastPass {
            position: id(index),
            epoch: row.epoch,
            number: row.pass,
            log: row.log,
            next: row.next,
            ended_at: row.ended_at,
            is_rejected: row.rejected_at.is_some(),
            holder: row.holder(now).zip(remaining),
            updated_at: row.updated_at,
        })
    }

    /// When the clock went back: the lease of the last pass counts from now on.
    pub(super) fn set_back(&mut self, stream: &Stream, now: NaiveDateTime) {
        let last = self.positions.iter_mut().rfind(|row| is_same(&row.stream, stream));
        if let Some(row) = last.filter(|row| row.updated_at > now) {
            row.lease_until = row.lease_until.map(|until| now + (until - row.updated_at));
            row.updated_at = now;
        }
    }

    /// How many records the pass at `index` read by the ledger, and how many of them became dead letters.
    fn sums(&self, index: usize) -> (i64, i64) {
        let PositionRow { stream, pass, .. } = &self.positions[index];
        let is_its = |entry: &&Entry| is_same(&entry.stream, stream) && entry.pass == *pass;
        let entries = self.batches.iter().filter(is_its);
        entries.fold((0, 0), |(read, dead_lettered), entry| {
            let letters = i64::try_from(entry.dead_lettered).expect("few");
            (read + entry.read, dead_lettered + letters)
        })
    }

    /// Adds a pass without an owner, over the same log as the previous one, whose epoch and outbox it
    /// continues;
    /// returns its index.
    pub(super) fn add(
        &mut self,
        stream: &Stream,
        pass: i32,
        next: i64,
        now: NaiveDateTime,
    ) -> usize {
        let before = self.positions.iter().rfind(|row| is_same(&row.stream, stream));
        let (log, epoch, outbox_next) =
            before.map_or((1, 0, 0), |row| (row.log, row.epoch, row.outbox_next));
        self.positions.push(PositionRow {
            stream: stream.clone(),
            pass,
            log,
            next,
            cursor: Value::Null,
            stats: Value::Null,
            epoch,
            outbox_next,
            owner: None,
            lease_until: None,
            ended_at: None,
            rejected_at: None,
            updated_at: now,
        });
        self.positions.len() - 1
    }
}

impl PositionRow {
    /// Whose lease is alive.
    pub(super) fn holder(&self, now: NaiveDateTime) -> Option<&str> {
        self.owner.as_deref().filter(|_| self.lease_until.is_some_and(|until| until > now))
    }

    pub(super) fn give_back(&mut self, now: NaiveDateTime) {
        self.owner = None;
        self.lease_until = None;
        self.updated_at = now;
    }
}

/// The row of a position in `positions`.
pub(super) fn id(index: usize) -> i64 {
    i64::try_from(index + 1).expect("few")
}

/// Where the row with this id is.
pub(super) fn index(id: i64) -> usize {
    usize::try_from(id - 1).expect("ids are from 1")
}
