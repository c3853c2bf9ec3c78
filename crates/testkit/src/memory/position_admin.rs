//! What people change about positions, in memory.

use std::sync::Arc;

use chrono::NaiveDateTime;
use serde_json::Value;
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
        let (pass, first) = state.set(stream, to, lease, now)?.passed();
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
        to: SetTo,
        lease: Option<&Lease>,
        now: NaiveDateTime,
    ) -> Result<OnSet, Fault> {
        let last = self.last_pass(stream, now);
        let decision = OnSet::decide(stream, last, to, lease)?;
        if let Some(position) = last.map(|last| last.position) {
            let place = &mut self.places[index(position)];
            place.epoch += 1;
            place.give_back(now);
        }
        match decision {
            OnSet::Begin { number, is_other_log } => {
                let added = self.add(stream, number, to.next, now);
                self.places[added].log += i64::from(is_other_log);
            }
            OnSet::Advance { position, .. } => {
                let place = &mut self.places[index(position)];
                place.next = to.next;
                place.cursor = Value::Null;
                stream.label.clone_into(&mut place.stream.label);
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
        for place in self.places.iter().rev() {
            let partition = place.stream.partition;
            let is_asked = place.stream.flow == flow && place.stream.name == stream;
            if !is_asked || partition_states.iter().any(|standing| standing.partition == partition)
            {
                continue;
            }
            partition_states.push(PartitionState {
                partition,
                pass: place.pass,
                next: place.next,
                owner: place.holder(now).filter(|_| place.updated_at <= now).map(str::to_owned),
                updated_at: place.updated_at,
            });
        }
        partition_states.sort_by_key(|standing| standing.partition);
        partition_states
    }
}
