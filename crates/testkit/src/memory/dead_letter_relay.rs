//! Committed dead letters on their way to a topic, in memory. As on a server, two that relay at once hand out different
//! ones.

use tally_ports::{DeadLetterRelay, Fault, PublishDeadLetters, RelayedDeadLetter};
use uuid::Uuid;

use super::{DeadLetterRow, MemoryStore, State, outage, takes_one};

const BYTES: usize = 4 * 1024 * 1024;

impl DeadLetterRelay for MemoryStore {
    async fn relay<P: PublishDeadLetters>(
        &self,
        flow: &str,
        limit: usize,
        publisher: &P,
    ) -> Result<usize, Fault> {
        let letters = self.state().take(flow, limit);
        if letters.is_empty() {
            return Ok(0);
        }
        let locked = Locked { store: self, ids: letters.iter().map(|letter| letter.id).collect() };
        publisher.publish(&letters).await?;

        let now = self.now();
        let mut state = self.state();
        if takes_one(&mut state.lost_marks) {
            drop(state);
            return Err(outage());
        }
        for stored in &mut state.dead_letters {
            if locked.ids.contains(&stored.id()) {
                stored.published_at = Some(now);
            }
        }
        drop(state);
        Ok(letters.len())
    }

    async fn backlog(&self, flow: &str) -> Result<i64, Fault> {
        let state = self.state();
        let waiting = state.dead_letters.iter().filter(|stored| stored.is_waiting(flow));
        Ok(i64::try_from(waiting.count()).expect("few"))
    }
}

/// Dead letters that no other call is handed until this is dropped.
struct Locked<'a> {
    store: &'a MemoryStore,
    ids: Vec<Uuid>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.store.state().locked.retain(|id| !self.ids.contains(id));
    }
}

impl State {
    /// Locks and returns the oldest free dead letters.
    fn take(&mut self, flow: &str, limit: usize) -> Vec<RelayedDeadLetter> {
        let mut bytes = 0;
        let mut letters: Vec<RelayedDeadLetter> = Vec::new();
        for stored in self.dead_letters.iter().filter(|stored| stored.is_waiting(flow)) {
            if self.locked.contains(&stored.id()) {
                continue;
            }
            let raw = &stored.dead_letter.raw;
            bytes += [&raw.key, &raw.payload]
                .into_iter()
                .flatten()
                .map(bytes::Bytes::len)
                .sum::<usize>();
            if letters.len() == limit || (bytes > BYTES && !letters.is_empty()) {
                break;
            }
            letters.push(stored.relayed());
        }
        self.locked.extend(letters.iter().map(|letter| letter.id));
        letters
    }
}

impl DeadLetterRow {
    fn id(&self) -> Uuid {
        self.dead_letter.id(&self.stream, self.pass)
    }

    fn is_waiting(&self, flow: &str) -> bool {
        self.stream.flow == flow && self.published_at.is_none()
    }

    fn relayed(&self) -> RelayedDeadLetter {
        let reason = &self.dead_letter.reason;
        RelayedDeadLetter {
            id: self.id(),
            flow: self.stream.flow.clone(),
            stream: self.stream.name.clone(),
            partition: self.stream.partition,
            pass: self.pass,
            position: self.dead_letter.position,
            attempt: self.dead_letter.attempt,
            raw: self.dead_letter.raw.clone(),
            stage: reason.stage.to_string(),
            code: reason.code.to_string(),
            message: reason.message.clone(),
            failed_at: self.failed_at,
        }
    }
}
