//! Replay: stored records through all stages again.

use std::iter;
use std::sync::Arc;

use chrono::Utc;
use tally_domain::{AnsweredColumn, Flow, Incoming, Raw, Reason, Record, publish};
use tally_ports::{
    Attempted, DeadLetterIdentity, DecodedRecord, Enrich, LoggedAct, Origin, Publish, Replay,
    ReplayAttempt, Replayed, Row, State, Stop, Topics,
};

use crate::publish::Check;
use crate::run::ask;
use crate::{Gates, Outputs};

/// Takes dead letters through validation and the model into the store, each behind its gate.
///
/// Quality rules judge batches, not records, so they do not apply here: replaying a quarantined record lets it pass.
/// Their statistics do not change either; they included the record when it was read.
pub struct Replayer<E, P, S> {
    flow: Arc<dyn Flow>,
    enrich: Option<Arc<E>>,
    outputs: Option<Outputs<P>>,
    store: Arc<S>,
    gates: Gates,
}

impl<E: Enrich, P: Publish, S: Replay> Replayer<E, P, S> {
    /// Asks `enrich`, where the flow has a model, and writes to `store`, also what is for `outputs`, where the flow publishes.
    pub fn new(
        flow: Arc<dyn Flow>,
        enrich: Option<Arc<E>>,
        outputs: Option<Outputs<P>>,
        store: Arc<S>,
        gates: Gates,
    ) -> Self {
        Self { flow, enrich, outputs, store, gates }
    }

    /// Runs every stage before the store: for each record, in the same order, its row, or why it failed again.
    ///
    /// # Errors
    /// When the model stays unavailable.
    pub async fn prepare(
        &self,
        decoded: Vec<(DeadLetterIdentity, Raw, DecodedRecord)>,
    ) -> Result<Vec<ReplayAttempt>, Stop> {
        let mut attempts: Vec<Option<ReplayAttempt>> = Vec::with_capacity(decoded.len());
        let (mut records, mut places) = (Vec::new(), Vec::new());
        let topics = self.outputs.as_ref().map_or_else(Topics::default, Outputs::topics);
        let attempt = |identity, result| ReplayAttempt {
            flow: Arc::clone(&self.flow),
            identity,
            result,
            kept: None,
            topics: Arc::clone(&topics),
        };
        for (index, (identity, raw, read)) in decoded.into_iter().enumerate() {
            let read = read.and_then(|(fields, notation)| {
                self.flow.read(Incoming { fields, notation, raw: &raw })
            });
            match read {
                Ok(record) => {
                    records.push(record);
                    places.push((index, identity));
                    attempts.push(None);
                }
                Err(reason) => attempts.push(Some(attempt(identity, Attempted::Failed(reason)))),
            }
        }

        publish::add_processed_at(&*self.flow, records.iter_mut(), Utc::now());
        let answers = ask(self.enrich.as_deref(), &self.gates.model, &records).await?;
        let mut answers = answers.into_iter();
        let columns = AnsweredColumn::all(self.flow.tables());
        for ((index, identity), mut record) in places.into_iter().zip(records) {
            let answer = if record.is_asked { answers.next() } else { None };
            let position = identity.position;
            let row = answer.transpose().map(|answer| {
                record.take_answer(&columns, &answer.unwrap_or_default());
                Row { position, record, raw: Raw::default() }
            });
            let result = match row {
                Ok(row) => self.check(&identity, row).await?,
                Err(reason) => Attempted::Failed(reason),
            };
            attempts[index] = Some(attempt(identity, result));
        }
        Ok(attempts.into_iter().flatten().collect())
    }

    /// The row, or why it failed again: what it publishes is too large.
    async fn check(&self, identity: &DeadLetterIdentity, row: Row) -> Result<Attempted, Stop> {
        let refused = self.refused(identity, &row, true).await?;
        Ok(refused.map_or_else(|| Attempted::Valid(row), Attempted::Failed))
    }

    /// Why a valid record would be a dead letter before it is published, if it were read from a topic.
    ///
    /// # Errors
    /// When the topics that it is published to stay unavailable.
    pub async fn refusal(
        &self,
        identity: &DeadLetterIdentity,
        mut record: Record,
    ) -> Result<Option<Reason>, Stop> {
        publish::add_processed_at(&*self.flow, iter::once(&mut record), Utc::now());
        let row = Row { position: identity.position, record, raw: Raw::default() };
        self.refused(identity, &row, false).await
    }

    async fn refused(
        &self,
        identity: &DeadLetterIdentity,
        row: &Row,
        is_replay: bool,
    ) -> Result<Option<Reason>, Stop> {
        let Some(outputs) = &self.outputs else { return Ok(None) };
        let DeadLetterIdentity { stream, partition, .. } = identity;
        // Only the store knows the log: the id with the longest is the largest.
        let origin =
            Origin { flow: &*self.flow, id: 0, stream, partition: *partition, log: i64::MAX };
        let mut check = Check::new(origin, outputs, &self.gates.publish, is_replay).await?;
        Ok(check.records(row)?.err())
    }

    /// Replays one dead letter; a dry run without `logged_act`.
    ///
    /// # Errors
    /// When the database stays unavailable, or does not know the dead letter.
    pub async fn commit(
        &self,
        attempt: &Arc<ReplayAttempt>,
        logged_act: Option<&LoggedAct>,
    ) -> Result<Replayed, Stop> {
        let mut calls = 0;
        let replaying = || {
            calls += 1;
            self.store.replay(attempt, logged_act)
        };
        let replayed = self.gates.database.pass(replaying).await?;
        if calls > 1 { Ok(settled(replayed, attempt)) } else { Ok(replayed) }
    }
}

/// The outcome when an earlier call's COMMIT was unknown and the dead letter is now closed: that COMMIT succeeded, or another
/// process has replayed or repaired it in between.
fn settled(replayed: Replayed, attempt: &ReplayAttempt) -> Replayed {
    match (&replayed, &attempt.result) {
        (Replayed::NotOpen(State::Replayed), Attempted::Valid(_)) => Replayed::Written,
        (Replayed::NotOpen(State::Outdated), Attempted::Valid(_)) => Replayed::Outdated,
        (Replayed::NotOpen(State::Repaired), Attempted::Repaired(_)) => Replayed::Repaired,
        (Replayed::NotOpen(State::Retried), Attempted::Failed(reason)) => {
            Replayed::FailedAgain { next: attempt.identity.next_attempt(), reason: reason.clone() }
        }
        _ => replayed,
    }
}
