//! What people change about positions, in memory.

use std::sync::Arc;

use chrono::NaiveDateTime;
use serde_json::Value;
use tally_domain::quality::Report;
use tally_ports::{
    Act, Committed, Fault, Lease, Passed, Standing, Steering, StopKind, Stream, passed,
};
use uuid::Uuid;

use super::positions::taken;
use super::{Entry, MemoryStore, State, StoredAct, is_same};

impl Steering for MemoryStore {
    async fn standings(&self, flow: &str, stream: &str) -> Result<Vec<Standing>, Fault> {
        let now = self.now();
        Ok(self.state().standings(flow, stream, now))
    }

    async fn set(
        &self,
        stream: &Stream,
        to: i64,
        lease: Option<&Lease>,
        act: &Act,
    ) -> Result<(), Fault> {
        let now = self.now();
        let mut state = self.state();
        state.set_back(stream, now);
        let (pass, first) = state.set(stream, to, lease, now)?;
        if first < to {
            state.batches.push(Entry {
                id: Uuid::now_v7(),
                stream: Arc::new(stream.clone()),
                pass,
                first,
                last: to - 1,
                read: 0,
                committed: Committed::default(),
                dead_lettered: 0,
                quality: Report::default(),
                passed: Passed::of(passed::GAP, to - first),
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
    /// The pass that the position is now in, and from where on it was passed.
    fn set(
        &mut self,
        stream: &Stream,
        to: i64,
        lease: Option<&Lease>,
        now: NaiveDateTime,
    ) -> Result<(i32, i64), Fault> {
        if to < 0 {
            return Err(Fault::stop(StopKind::Setting, "the first position is 0"));
        }
        let index = self.places.iter().rposition(|place| is_same(&place.stream, stream));
        let Some(index) = index else {
            if lease.is_some() {
                return Err(taken());
            }
            self.add(stream, 1, to, now);
            return Ok((1, 0));
        };
        let place = &mut self.places[index];
        let may = match lease {
            Some(lease) => lease.epoch == place.epoch && lease.position == id(index),
            None => place.holder(now).is_none(),
        };
        if !may {
            return Err(taken());
        }
        if place.ended_at.is_some() && to > place.next {
            return Err(Fault::stop(StopKind::Setting, "there is nothing after the end"));
        }
        place.epoch += 1;
        place.give_back(now);
        let (pass, next) = (place.pass, place.next);
        if to <= next {
            self.add(stream, pass + 1, to, now);
            return Ok((pass + 1, 0));
        }
        place.next = to;
        place.cursor = Value::Null;
        stream.label.clone_into(&mut place.stream.label);
        Ok((pass, next))
    }

    /// The last pass of each partition.
    pub(super) fn standings(&self, flow: &str, stream: &str, now: NaiveDateTime) -> Vec<Standing> {
        let mut standings: Vec<Standing> = Vec::new();
        for place in self.places.iter().rev() {
            let partition = place.stream.partition;
            let is_asked = place.stream.flow == flow && place.stream.name == stream;
            if !is_asked || standings.iter().any(|standing| standing.partition == partition) {
                continue;
            }
            standings.push(Standing {
                partition,
                pass: place.pass,
                next: place.next,
                owner: place.holder(now).filter(|_| place.updated_at <= now).map(str::to_owned),
                updated_at: place.updated_at,
            });
        }
        standings.sort_by_key(|standing| standing.partition);
        standings
    }
}

fn id(index: usize) -> i64 {
    i64::try_from(index + 1).expect("few")
}
