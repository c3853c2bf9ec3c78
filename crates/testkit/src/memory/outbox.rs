//! Records to publish, in memory.

use std::time::Duration;

use tally_ports::{Commit, Fault, Lease, Outbox, OutboxRecord, OutgoingRecord, Stream};

use super::positions::{id, index};
use super::{MemoryStore, State, is_same, takes_one};

const BYTES: usize = 4 * 1024 * 1024;

/// A record of a partition's outbox.
pub(super) struct OutboxRow {
    pub(super) stream: Stream,
    pub(super) record: OutboxRecord,
}

impl Outbox for MemoryStore {
    async fn outbox(&self, lease: &Lease, limit: usize) -> Result<Vec<OutboxRecord>, Fault> {
        let state = self.state();
        let stream = state.partition_of(lease)?;
        let rows = state.outbox.iter().filter(|row| is_same(&row.stream, &stream));
        let mut bytes = 0;
        let fit = rows.take(limit).enumerate().take_while(|(place, row)| {
            bytes += row.record.record.size();
            *place == 0 || bytes <= BYTES
        });
        Ok(fit.map(|(_, row)| row.record.clone()).collect())
    }

    async fn published(&self, lease: &Lease, last: i64) -> Result<(), Fault> {
        let mut state = self.state();
        if takes_one(&mut state.failing_deletes) {
            return Err(Fault::outage("published records cannot be deleted"));
        }
        let stream = state.partition_of(lease)?;
        state.outbox.retain(|row| !is_same(&row.stream, &stream) || row.record.number > last);
        Ok(())
    }

    async fn unpublished(&self, flow: &str) -> Result<i64, Fault> {
        let state = self.state();
        let rows = state.outbox.iter().filter(|row| row.stream.flow == flow);
        Ok(i64::try_from(rows.count()).expect("few"))
    }

    async fn claim_outbox(
        &self,
        flow: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<(Stream, Lease)>, Fault> {
        let now = self.now();
        let mut state = self.state();
        let streams = state.outbox.iter().map(|row| &row.stream);
        let mut streams = streams.filter(|stream| stream.flow == flow);
        let is_free = |last: &tally_ports::LastPass<'_>| last.holder.is_none();
        let free = streams.find_map(|stream| {
            state.last_pass(stream, now).filter(is_free).map(|last| last.position)
        });
        let Some(position) = free else { return Ok(None) };
        let row = &mut state.positions[index(position)];
        row.epoch += 1;
        row.owner = Some(owner.to_owned());
        row.lease_until = Some(now + lease);
        row.updated_at = now;
        let lease = Lease { position_id: position, epoch: row.epoch, duration: lease };
        Ok(Some((row.stream.clone(), lease)))
    }
}

impl State {
    /// The partition whose last pass the lease is of.
    fn partition_of(&self, lease: &Lease) -> Result<Stream, Fault> {
        let row = &self.positions[index(lease.position_id)];
        let last = self.positions.iter().rposition(|other| is_same(&other.stream, &row.stream));
        let is_good = row.epoch == lease.epoch && last.map(id) == Some(lease.position_id);
        if is_good { Ok(row.stream.clone()) } else { Err(lease.taken()) }
    }

    /// Adds what a batch publishes.
    pub(super) fn add_to_outbox(&mut self, commit: &Commit, records: Vec<OutgoingRecord>) {
        for record in records {
            let row = &mut self.positions[index(commit.lease.position_id)];
            let number = row.outbox_next;
            row.outbox_next += 1;
            let record = OutboxRecord { number, record };
            self.outbox.push(OutboxRow { stream: row.stream.clone(), record });
        }
    }

    /// Whether the partition of the lease has records to publish.
    pub(super) fn holds_records(&self, lease: &Lease) -> bool {
        let stream = &self.positions[index(lease.position_id)].stream;
        self.outbox.iter().any(|row| is_same(&row.stream, stream))
    }
}
