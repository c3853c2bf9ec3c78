//! Dead letters and acts, in whichever store it is.

use std::sync::Arc;

use tally_ports::{
    Acts, Change, Count, DeadLetterIdentity, DeadLetterSummary, DeadLetters, Fault, Filter,
    LoggedAct, Replay, ReplayAttempt, Replayed, StoredDeadLetter,
};
use uuid::Uuid;

use super::Store;

impl DeadLetters for Store {
    async fn list(
        &self,
        filter: &Filter,
        after: Option<&DeadLetterIdentity>,
        limit: usize,
    ) -> Result<Vec<DeadLetterSummary>, Fault> {
        on_store!(self, store => store.list(filter, after, limit))
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<StoredDeadLetter>, Fault> {
        on_store!(self, store => store.fetch(ids))
    }

    async fn count(&self, filter: &Filter) -> Result<Vec<Count>, Fault> {
        on_store!(self, store => store.count(filter))
    }

    async fn change(
        &self,
        ids: &[Uuid],
        change: Change,
        logged_act: &LoggedAct,
    ) -> Result<i64, Fault> {
        on_store!(self, store => store.change(ids, change, logged_act))
    }
}

impl Acts for Store {
    async fn note(&self, logged_act: &LoggedAct) -> Result<(), Fault> {
        on_store!(self, store => store.note(logged_act))
    }
}

impl Replay for Store {
    async fn replay(
        &self,
        attempt: &Arc<ReplayAttempt>,
        logged_act: Option<&LoggedAct>,
    ) -> Result<Replayed, Fault> {
        on_store!(self, store => store.replay(attempt, logged_act))
    }
}
