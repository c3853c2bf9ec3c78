//! Dead letters and acts, in whichever store it is.

use std::sync::Arc;

use tally_ports::{
    Acts, Change, Choice, Count, DeadLetters, Deed, Fault, Listed, Place, Replay, Replayed, Retry,
    Stored,
};
use uuid::Uuid;

use super::Store;

impl DeadLetters for Store {
    async fn list(
        &self,
        choice: &Choice,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Listed>, Fault> {
        on_store!(self, store => store.list(choice, after, limit))
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Stored>, Fault> {
        on_store!(self, store => store.fetch(ids))
    }

    async fn count(&self, choice: &Choice) -> Result<Vec<Count>, Fault> {
        on_store!(self, store => store.count(choice))
    }

    async fn change(&self, ids: &[Uuid], change: Change, deed: &Deed) -> Result<i64, Fault> {
        on_store!(self, store => store.change(ids, change, deed))
    }
}

impl Acts for Store {
    async fn note(&self, deed: &Deed) -> Result<(), Fault> {
        on_store!(self, store => store.note(deed))
    }
}

impl Replay for Store {
    async fn replay(&self, retry: &Arc<Retry>, deed: Option<&Deed>) -> Result<Replayed, Fault> {
        on_store!(self, store => store.replay(retry, deed))
    }
}
