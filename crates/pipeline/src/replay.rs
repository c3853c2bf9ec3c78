//! Stored records through the stages once more.

use std::sync::Arc;

use tally_domain::{AnsweredColumn, Flow, Incoming, Raw};
use tally_ports::{
    DecodedRecord, Enrich, LoggedAct, Place, Replay, Replayed, Retry, Row, State, Stop,
};

use crate::Gates;
use crate::run::ask;

/// Takes dead letters through validation and the model into the store, each behind its gate.
///
/// Quality rules judge batches, not records, and so nothing here: whoever replays a record that one of them sorted out
/// lets it pass. Their statistics do not learn either; they have learned from it when it was read.
pub struct Replayer<E, S> {
    flow: Arc<dyn Flow>,
    enrich: Option<Arc<E>>,
    store: Arc<S>,
    gates: Gates,
}

impl<E: Enrich, S: Replay> Replayer<E, S> {
    /// Asks `enrich`, where the flow has a model, and writes to `store`.
    pub fn new(flow: Arc<dyn Flow>, enrich: Option<Arc<E>>, store: Arc<S>, gates: Gates) -> Self {
        Self { flow, enrich, store, gates }
    }

    /// Everything before the store: for each record, with its bytes and how amounts are written in it, its row, or why it
    /// is none again; in the same order.
    ///
    /// # Errors
    /// When the model stays away.
    pub async fn prepare(
        &self,
        decoded: Vec<(Place, Raw, DecodedRecord)>,
    ) -> Result<Vec<Retry>, Stop> {
        let mut retries: Vec<Option<Retry>> = Vec::with_capacity(decoded.len());
        let (mut records, mut places) = (Vec::new(), Vec::new());
        let retry =
            |place, result| Retry { flow: Arc::clone(&self.flow), place, result, kept: None };
        for (index, (place, raw, read)) in decoded.into_iter().enumerate() {
            let read = read.and_then(|(fields, notation)| {
                self.flow.read(Incoming { fields, notation, raw: &raw })
            });
            match read {
                Ok(record) => {
                    records.push(record);
                    places.push((index, place));
                    retries.push(None);
                }
                Err(reason) => retries.push(Some(retry(place, Err(reason)))),
            }
        }

        let answers = ask(self.enrich.as_deref(), &self.gates.model, &records).await?;
        let mut answers = answers.into_iter();
        let columns = AnsweredColumn::all(self.flow.tables());
        for ((index, place), mut record) in places.into_iter().zip(records) {
            let answer = if record.is_asked { answers.next() } else { None };
            let position = place.position;
            let row = answer.transpose().map(|answer| {
                record.take_answer(&columns, &answer.unwrap_or_default());
                Row { position, record, raw: Raw::default() }
            });
            retries[index] = Some(retry(place, row));
        }
        Ok(retries.into_iter().flatten().collect())
    }

    /// What becomes of the dead letter; without `logged_act` only what would.
    ///
    /// # Errors
    /// When the database stays away, or does not know the dead letter.
    pub async fn commit(
        &self,
        retry: &Arc<Retry>,
        logged_act: Option<&LoggedAct>,
    ) -> Result<Replayed, Stop> {
        let mut calls = 0;
        let replaying = || {
            calls += 1;
            self.store.replay(retry, logged_act)
        };
        let replayed = self.gates.database.pass(replaying).await?;
        if calls > 1 { Ok(settled(replayed, retry)) } else { Ok(replayed) }
    }
}

/// What is found done after the outcome of an earlier COMMIT was unknown: it was that one. If it was somebody else in
/// between, it is done all the same.
fn settled(replayed: Replayed, retry: &Retry) -> Replayed {
    match (&replayed, &retry.result) {
        (Replayed::Found(State::Replayed), Ok(_)) => Replayed::Written,
        (Replayed::Found(State::Outdated), Ok(_)) => Replayed::Outdated,
        (Replayed::Found(State::Retried), Err(reason)) => {
            Replayed::FailedAgain { next: retry.place.next_attempt(), reason: reason.clone() }
        }
        _ => replayed,
    }
}
