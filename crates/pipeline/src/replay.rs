//! Stored records through the stages once more.

use std::sync::Arc;

use tally_domain::Flow;
use tally_ports::{Deed, Enrich, Place, Raw, Replay, Replayed, Reread, Retry, Row, State, Stop};

use crate::Gates;
use crate::inquire::inquire;

/// Takes dead letters through validation and the model into the store, each behind its gate.
///
/// Quality rules judge batches, not records, and so nothing here: whoever replays a record that one of them sorted out
/// lets it pass. Their statistics do not learn either; they have learned from it when it was read.
pub struct Replayer<E, S> {
    enrich: Arc<E>,
    store: Arc<S>,
    gates: Gates,
}

impl<E, S> Replayer<E, S> {
    /// Asks `enrich` and writes to `store`.
    pub const fn new(enrich: Arc<E>, store: Arc<S>, gates: Gates) -> Self {
        Self { enrich, store, gates }
    }

    /// Everything before the store: for each record, with how amounts are written in it, its row, or why it is none
    /// again; in the same order.
    ///
    /// # Errors
    /// When the model stays away.
    pub async fn prepare<F: Flow>(
        &self,
        decoded: Vec<(Place, Reread<F>)>,
    ) -> Result<Vec<Retry<F>>, Stop>
    where
        E: Enrich<F>,
    {
        let mut retries: Vec<Option<Retry<F>>> = Vec::with_capacity(decoded.len());
        let (mut records, mut places) = (Vec::new(), Vec::new());
        for (index, (place, read)) in decoded.into_iter().enumerate() {
            match read.and_then(|(wire, notation)| F::validate(wire, notation)) {
                Ok(record) => {
                    records.push(record);
                    places.push((index, place));
                    retries.push(None);
                }
                Err(reason) => retries.push(Some(Retry { place, result: Err(reason), kept: None })),
            }
        }
        if records.is_empty() {
            return Ok(retries.into_iter().flatten().collect());
        }

        let answers = inquire(&*self.enrich, &self.gates.model, &records).await?;
        for (((index, place), record), answer) in places.into_iter().zip(records).zip(answers) {
            let position = place.position;
            let row = |answer| Row { position, record, answer, raw: Raw::default() };
            retries[index] = Some(Retry { place, result: answer.map(row), kept: None });
        }
        Ok(retries.into_iter().flatten().collect())
    }

    /// What becomes of the dead letter; without `deed` only what would.
    ///
    /// # Errors
    /// When the database stays away, or does not know the dead letter.
    pub async fn commit<F: Flow>(
        &self,
        retry: &Arc<Retry<F>>,
        deed: Option<&Deed>,
    ) -> Result<Replayed, Stop>
    where
        S: Replay<F>,
    {
        let mut calls = 0;
        let replaying = || {
            calls += 1;
            self.store.replay(retry, deed)
        };
        let replayed = self.gates.database.pass(replaying).await?;
        if calls > 1 { Ok(settled(replayed, retry)) } else { Ok(replayed) }
    }
}

/// What is found done after the outcome of an earlier COMMIT was unknown: it was that one. If it was somebody else in
/// between, it is done all the same.
fn settled<F: Flow>(replayed: Replayed, retry: &Retry<F>) -> Replayed {
    match (&replayed, &retry.result) {
        (Replayed::Found(State::Replayed), Ok(_)) => Replayed::Written,
        (Replayed::Found(State::Outdated), Ok(_)) => Replayed::Outdated,
        (Replayed::Found(State::Retried), Err(reason)) => {
            Replayed::FailedAgain { next: retry.place.next_attempt(), reason: reason.clone() }
        }
        _ => replayed,
    }
}
