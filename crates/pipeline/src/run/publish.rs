//! The stage between the model and the commit: what the batch publishes.

use std::collections::BTreeMap;
use std::time::Instant;

use tally_domain::Reason;
use tally_ports::publish::too_large;
use tally_ports::{
    Commit, DeadLetter, Earlier, Enrich, Outbox, OutgoingRecord, Positions, Publish, Row, Sink,
    Stop, Way,
};

use super::stages::Run;
use crate::measure::observe;
use crate::publish::{Check, count};

/// The records that a batch publishes directly, with the positions that they come from.
#[derive(Default)]
pub(super) struct Outgoing {
    records: Vec<OutgoingRecord>,
    positions: Vec<i64>,
    /// What earlier passes left.
    earlier: Earlier,
}

impl<E: Enrich, P: Publish, S: Sink + Outbox + Positions> Run<E, P, S> {
    /// Checks what the rows of the batch publish: those of which something cannot be published become dead letters. Returns
    /// what is to be published before the batch is committed.
    pub(super) async fn prepare_to_publish(&self, commit: &mut Commit) -> Result<Outgoing, Stop> {
        let (Some(outputs), gates) = (&self.pipeline.outputs, &self.pipeline.gates) else {
            return Ok(Outgoing::default());
        };
        let earlier = self.earlier(commit).await?;
        let mut found = Outgoing { earlier, ..Outgoing::default() };
        let range = commit.range();
        let mut check = Check::new(range.origin(), outputs, &gates.publish, false).await?;
        let is_direct = Way::of(&*commit.flow) == Some(Way::Direct);
        let mut refused = BTreeMap::new();
        for row in &commit.rows {
            if found.earlier.has_counted(row.position) {
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
    pub(super) async fn earlier(&self, commit: &Commit) -> Result<Earlier, Stop> {
        if commit.pass == 1 {
            return Ok(Earlier::default());
        }
        let (range, sink) = (commit.range(), &self.pipeline.sink);
        self.pipeline.gates.database.pass(|| sink.earlier(&range)).await
    }

    /// Whether the records are published in a transaction, so that their rows must be committed then.
    pub(super) fn is_published_once(&self, outgoing: &Outgoing) -> bool {
        let publisher = self.publisher.as_ref().filter(|_| !outgoing.records.is_empty());
        publisher.is_some_and(|publisher| publisher.is_exactly_once())
    }

    /// Publishes the records; whether some did not fit their topics after all, so that their rows became dead letters.
    pub(super) async fn publish(
        &self,
        commit: &mut Commit,
        outgoing: Outgoing,
    ) -> Result<bool, Stop> {
        let Outgoing { mut records, mut positions, earlier } = outgoing;
        let mut has_refused = false;
        while let Some(publisher) = self.publisher.as_ref().filter(|_| !records.is_empty()) {
            let began = Instant::now();
            let left_out = publisher.batch(&records, commit, &earlier).await?;
            observe("publish", began);
            let refused =
                left_out.iter().map(|&index| (positions[index], too_large(&records[index].topic)));
            let refused: BTreeMap<i64, Reason> = refused.collect();
            has_refused |= !refused.is_empty();
            let are_others_published = refused.is_empty() || !publisher.is_exactly_once();
            if are_others_published {
                let published =
                    (0..records.len()).filter(|index| left_out.binary_search(index).is_err());
                count(self.pipeline.flow.name(), published.map(|index| &records[index]));
                records.clear();
            } else {
                (positions, records) = (positions.into_iter().zip(records))
                    .filter(|(position, _)| !refused.contains_key(position))
                    .unzip();
            }
            refuse(commit, refused);
        }
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
