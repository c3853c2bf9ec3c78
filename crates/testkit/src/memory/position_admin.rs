//! Showing and setting positions in memory.

use std::sync::Arc;

use chrono::NaiveDateTime;
use tally_domain::quality::Report;
use tally_ports::{
    Act, Committed, Fault, Lease, OnSet, PartitionState, Passed, PositionAdmin, SetTo, Stream,
    passed,
};
use uuid::Uuid;

use super::positions::index;
use super::{Entry, MemoryStore, State, StoredAct};

impl PositionAdmin for MemoryStore {
    async fn partition_states(
        &self,
        flow: &str,
        stream: &str,
    ) -> Result<Vec<PartitionState>, Fault> {
        let now = self.now();
        Ok(self.state().partition_states(flow, stream, now))
    }

    async fn set(
        &self,
        stream: &Stream,
        to: SetTo,
        lease: Option<&Lease>,
        act: &Act,
    ) -> Result<(), Fault> {
        let now = self.now();
        let mut state = self.state();
        state.set_back(stream, now);
        let (pass, first) = state.set(stream, &to, lease, now)?.passed();
        if first < to.next {
            state.batches.push(Entry {
                id: Uuid::now_v7(),
                stream: Arc::new(stream.clone()),
                pass,
                first,
                last: to.next - 1,
                read: 0,
                committed: Committed::default(),
                dead_lettered: 0,
                quality: Report::default(),
                passed: Passed::of(passed::GAP, to.next - first),
                detail: None,
                gap: Some(act.reason.clone()),
                worker: act.who.as_str().into(),
                committed_at: now,
            });
        }
        state.acts.push(StoredAct { id: Uuid::now_v7(), at: now, act: act.clone() });
        Ok(())
    }
}

impl State {
    fn set(
        &mut self,
        stream: &Stream,
        to: &SetTo,
        lease: Option<&Lease>,
        now: NaiveDateTime,
    ) -> Result<OnSet, Fault> {
        let last = self.last_pass(stream, now);
        let decision = OnSet::decide(stream, last, to, lease)?;
        if let Some(position) = last.map(|last| last.position) {
            let row = &mut self.positions[index(position)];
            row.epoch += 1;
            row.give_back(now);
        }
        match decision {
            OnSet::Begin { number } => {
                let added = self.add(stream, number, to.next, now);
                let row = &mut self.positions[added];
                row.log += i64::from(to.is_recreated && number > 1);
                row.cursor.clone_from(&to.cursor);
            }
            OnSet::Advance { position, .. } => {
                let row = &mut self.positions[index(position)];
                row.next = to.next;
                row.cursor.clone_from(&to.cursor);
                stream.label.clone_into(&mut row.stream.label);
            }
        }
        Ok(decision)
    }

    /// The last pass of each partition.
    pub(super) fn partition_states(
        &self,
        flow: &str,
        stream: &str,
        now: NaiveDateTime,
    ) -> Vec<PartitionState> {
        let mut partition_states: Vec<PartitionState> = Vec::new();
        for row in self.positions.iter().rev() {
            let partition = row.stream.partition;
            let is_asked = row.stream.flow == flow && row.stream.name == stream;
            if !is_asked || partition_states.iter().any(|state| state.partition == partition) {
                continue;
            }
            partition_states.push(PartitionState {
                partition,
                pass: row.pass,
                next: row.next,
                cursor: row.cursor.clone(),
                owner: row.holder(now).filter(|_| row.updated_at <= now).map(str::to_owned),
                updated_at: row.updated_at,
            });
        }
        partition_states.sort_by_key(|state| state.partition);
        partition_states
    }
}
