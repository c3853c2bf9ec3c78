//! Commits in memory.

use std::sync::Arc;

use chrono::NaiveDateTime;
use tally_ports::{Commit, Committed, Fault, KeyOrder, Outcome, Refusal, Sink, StopKind};

use super::{Entry, MemoryEffect, MemoryStore, State, StoredLetter, Table, outage, takes_one};

impl<F: MemoryEffect> Sink<F> for MemoryStore {
    async fn commit(&self, commit: &Arc<Commit<F>>) -> Result<Committed, Fault> {
        let now = self.now();
        let mut state = self.state();
        if takes_one(&mut state.failing_commits) {
            return Err(outage());
        }
        let committed = state.commit(commit, now)?;
        if takes_one(&mut state.lost_answers) {
            return Err(outage());
        }
        Ok(committed)
    }
}

impl State {
    fn commit<F: MemoryEffect>(
        &mut self,
        commit: &Commit<F>,
        now: NaiveDateTime,
    ) -> Result<Committed, Fault> {
        if let Some(entry) = self.batches.iter().find(|entry| entry.id == commit.id) {
            return Ok(entry.committed.clone());
        }
        match self.place(&commit.lease) {
            None => return Err(Fault::stop(StopKind::Taken, "the position is somebody else's")),
            Some(place) if place.next != commit.first => {
                return Err(Fault::outage("the position does not stand where the batch begins"));
            }
            Some(_) => {}
        }

        let mut table = self.tables.get(F::NAME).cloned().unwrap_or_default();
        let outcomes = self.apply(commit, &mut table);
        let (committed, refused) = commit.conclude(&outcomes)?;
        self.tables.insert(F::NAME, table);
        let letters: Vec<_> = commit.dead_letters.iter().cloned().chain(refused).collect();
        self.batches.push(Entry {
            id: commit.id,
            stream: Arc::clone(&commit.stream),
            pass: commit.pass,
            first: commit.first,
            last: commit.last,
            read: commit.read,
            committed: committed.clone(),
            dead_lettered: letters.len(),
            quality: commit.quality.clone(),
            gap: commit.gap.clone(),
            worker: Arc::clone(&commit.worker),
            committed_at: now,
        });
        self.dead_letters.extend(letters.into_iter().map(|letter| StoredLetter {
            stream: Arc::clone(&commit.stream),
            pass: commit.pass,
            batch_id: commit.id,
            letter,
            failed_at: now,
            published_at: None,
        }));
        if let Some(place) = self.place(&commit.lease) {
            place.next = commit.last + 1;
            place.cursor = commit.cursor.clone();
            place.stats = commit.stats.clone();
            place.lease_until = place.owner.is_some().then(|| now + commit.lease.duration);
            place.updated_at = now;
        }
        Ok(committed)
    }

    fn apply<F: MemoryEffect>(&self, commit: &Commit<F>, table: &mut Table) -> Vec<Outcome> {
        let origin = commit.lease.position;
        let order = KeyOrder::new(&commit.rows, |row| F::key(origin, row));
        let mut refusals = Vec::with_capacity(commit.rows.len());
        for index in order.all() {
            let row = &commit.rows[index];
            let record = F::record(origin, row);
            let code = self.refusals.iter().find_map(|refusal| refusal(F::NAME, &record));
            if code.is_none() {
                table.insert(F::key(origin, row), record);
            }
            refusals.push(code.map(Refusal::new));
        }
        order.outcomes_of_all(&refusals)
    }
}
