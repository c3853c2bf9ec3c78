//! The stage between the model and the commit: what the batch publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tally_domain::Reason;
use tally_ports::publish::too_large;
use tally_ports::{
    Commit, DeadLetter, Earlier, Enrich, Outbox, OutgoingRecord, Publish, Row, Sink, Stop, Way,
};

use super::stages::Run;
use crate::measure::observe;
use crate::publish::{Check, count, publish};

/// The records that a batch publishes directly, with the positions that they come from.
#[derive(Default)]
pub(super) struct Outgoing {
    records: Vec<OutgoingRecord>,
    positions: Vec<i64>,
}

impl<E: Enrich, P: Publish, S: Sink + Outbox> Run<E, P, S> {
    /// Checks what the rows of the batch publish: those of which something cannot be published become dead letters. Returns
    /// what is to be published before the batch is committed.
    pub(super) async fn prepare_to_publish(&self, commit: &mut Commit) -> Result<Outgoing, Stop> {
        let mut found = Outgoing::default();
        let (Some(outputs), gates) = (&self.pipeline.outputs, &self.pipeline.gates) else {
            return Ok(found);
        };
        let earlier = self.earlier(commit).await?;
        let range = commit.range();
        let check = Check::new(range.origin(), outputs, &gates.publish, false).await?;
        let is_direct = Way::of(&*commit.flow) == Some(Way::Direct);
        let mut refused = BTreeMap::new();
        for row in &commit.rows {
            if earlier.has_counted(row.position) {
                continue;
            }
            match check.records(row)? {
                Err(reason) => drop(refused.insert(row.position, reason)),
                Ok(records) if is_direct => {
                    found.positions.extend(records.iter().map(|_| row.position));
                    found.records.extend(records);
                }
                Ok(_) => {}
            }
        }
        refuse(commit, refused);
        Ok(found)
    }

    /// A first pass has no earlier ones.
    async fn earlier(&self, commit: &Commit) -> Result<Earlier, Stop> {
        if commit.pass == 1 {
            return Ok(Earlier::default());
        }
        let (range, sink) = (commit.range(), &self.pipeline.sink);
        self.pipeline.gates.database.pass(|| sink.earlier(&range)).await
    }

    /// Publishes the records; whether some did not fit their topics after all, so that their rows became dead letters.
    pub(super) async fn publish(
        &self,
        commit: &mut Commit,
        outgoing: Outgoing,
    ) -> Result<bool, Stop> {
        let Outgoing { records, positions } = outgoing;
        let Some(outputs) = self.pipeline.outputs.as_ref().filter(|_| !records.is_empty()) else {
            return Ok(false);
        };
        let began = Instant::now();
        let gate = &self.pipeline.gates.publish;
        let left_out = publish(&**outputs.publisher(), gate, &records).await?;
        observe("publish", began);
        let left_out: BTreeSet<usize> = left_out.into_iter().collect();
        let refused =
            left_out.iter().map(|&index| (positions[index], too_large(&records[index].topic)));
        let refused: BTreeMap<i64, Reason> = refused.collect();
        let published = records.iter().enumerate().filter(|(index, _)| !left_out.contains(index));
        count(self.pipeline.flow.name(), published.map(|(_, record)| record));
        let has_refused = !refused.is_empty();
        refuse(commit, refused);
        Ok(has_refused)
    }
}

/// Turns the rows at these positions into dead letters.
fn refuse(commit: &mut Commit, mut reasons: BTreeMap<i64, Reason>) {
    if reasons.is_empty() {
        return;
    }
    for Row { position, record, raw } in std::mem::take(&mut commit.rows) {
        match reasons.remove(&position) {
            None => commit.rows.push(Row { position, record, raw }),
            Some(reason) => {
                let raw = commit.mask.as_ref().map_or_else(|| raw.clone(), |mask| mask.mask(&raw));
                commit.dead_letters.push(DeadLetter::first(position, reason, raw));
            }
        }
    }
    commit.dead_letters.sort_by_key(|letter| letter.position);
}
