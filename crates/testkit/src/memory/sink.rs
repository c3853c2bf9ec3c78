//! Commits in memory.

use std::sync::Arc;

use chrono::NaiveDateTime;
use tally_ports::{
    Commit, Committed, Earlier, Fault, LogRange, Sink, State as DeadLetterState, StopKind,
    notes_ranges, outdates_by_key, written_keys,
};

use super::{DeadLetterRow, Entry, MemoryStore, State, effect, outage, takes_one};

impl Sink for MemoryStore {
    async fn commit(&self, commit: &Arc<Commit>) -> Result<Committed, Fault> {
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

    async fn earlier(&self, range: &LogRange) -> Result<Earlier, Fault> {
        Ok(self.state().earlier(range))
    }
}

impl State {
    fn commit(&mut self, commit: &Commit, now: NaiveDateTime) -> Result<Committed, Fault> {
        if let Some(entry) = self.batches.iter().find(|entry| entry.id == commit.id) {
            return Ok(entry.committed.clone());
        }
        match self.position_row(&commit.lease) {
            None => return Err(Fault::stop(StopKind::Taken, "the position is somebody else's")),
            Some(row) if row.next != commit.first => {
                return Err(Fault::outage("the position does not stand where the batch begins"));
            }
            Some(_) => {}
        }

        let mut tables = self.tables.clone();
        let earlier = self.earlier(&commit.range());
        let rows = earlier.without_counted(&commit.rows);
        let outcomes =
            effect::apply(&mut tables, &self.refusals, &self.positions, commit, &rows, now)?;
        let outcomes = Earlier::outcomes(&commit.rows, outcomes);
        let (committed, refused) = commit.conclude(&outcomes)?;
        let records = commit.to_outbox(&rows, &outcomes)?;
        self.tables = tables;
        self.add_to_outbox(commit, records);
        let mut keys = Vec::new();
        if outdates_by_key(&commit.origin()) {
            keys = written_keys(&*commit.flow, &commit.rows, Some(&outcomes));
        }
        self.outdate(commit, &earlier.closed(&commit.rows, &outcomes), &keys);
        if notes_ranges(&*commit.flow) {
            self.note_counted(commit);
        }
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
            passed: commit.passed.clone(),
            detail: commit.detail(&outcomes),
            gap: None,
            worker: Arc::clone(&commit.worker),
            committed_at: now,
        });
        self.dead_letters.extend(letters.into_iter().map(|letter| DeadLetterRow {
            stream: Arc::clone(&commit.stream),
            pass: commit.pass,
            batch_id: commit.id,
            dead_letter: letter,
            state: DeadLetterState::Open,
            outdated_by: None,
            failed_at: now,
            published_at: None,
        }));
        if let Some(row) = self.position_row(&commit.lease) {
            row.next = commit.last + 1;
            row.cursor = commit.cursor.clone();
            row.stats = commit.stats.clone();
            row.lease_until = row.owner.is_some().then(|| now + commit.lease.duration);
            row.updated_at = now;
        }
        Ok(committed)
    }
}
