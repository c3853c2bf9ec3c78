//! Replay of a dead letter.

use std::sync::Arc;

use diesel::sql_types::Text;
use diesel::{OptionalExtension, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::dead_letter::headers_to_json;
use tally_ports::publish::{Outgoing, no_position};
use tally_ports::{
    Attempted, Earlier, Fault, LoggedAct, Outcome, OutgoingRecord, Replay, ReplayAttempt, Replayed,
    Row, State, Topics,
};
use tally_queries::earlier::{CLOSE_REPAIRED, CLOSE_REPLAYED};
use tally_queries::replay::{FIND, Pass, StateRow};

use crate::atomic::transaction;
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite, acts, earlier, effect, outbox};

impl Replay for Sqlite {
    async fn replay(
        &self,
        attempt: &Arc<ReplayAttempt>,
        logged_act: Option<&LoggedAct>,
    ) -> Result<Replayed, Fault> {
        let (attempt, logged_act) = (Arc::clone(attempt), logged_act.cloned());
        self.run(move |connection| {
            let done = transaction(connection, |connection| {
                let replayed = replay(connection, &attempt)?;
                let (Some(logged_act), Some(what)) = (logged_act, replayed.as_str()) else {
                    return Err(NotKept::Tried(Box::new(replayed)));
                };
                acts::note(connection, &logged_act, &logged_act.result_with(what, 1))
                    .map_err(Failure::from)?;
                Ok(replayed)
            });
            match done {
                Ok(replayed) => Ok(replayed),
                Err(NotKept::Tried(replayed)) => Ok(*replayed),
                Err(NotKept::Failed(failure)) => Err(failure),
            }
        })
        .await
    }
}

/// Why a transaction is rolled back.
enum NotKept {
    /// A dry run, or nothing changed.
    Tried(Box<Replayed>),
    Failed(Failure),
}

impl From<Failure> for NotKept {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<diesel::result::Error> for NotKept {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

fn replay(connection: &mut SqliteConnection, attempt: &ReplayAttempt) -> Result<Replayed, Failure> {
    let id = attempt.identity.id();
    let found: Option<StateRow> =
        sql_query(FIND).bind::<Text, _>(id.to_string()).get_result(connection).optional()?;
    let (state, pass) = StateRow::known(found, &attempt.identity)?;
    if state != State::Open {
        return Ok(Replayed::NotOpen(state));
    }
    let replayed = match &attempt.result {
        Attempted::Valid(row) => write(connection, attempt, pass, row)?,
        Attempted::Failed(reason) => Replayed::again(&attempt.identity, reason.clone()),
        Attempted::Repaired(record) => put_back(connection, attempt, pass, record)?,
    };
    if let Replayed::FailedAgain { next, reason } = &replayed {
        let values = [
            next.id().to_string().into(),
            reason.stage.as_str().into(),
            (&*reason.code).into(),
            reason.message.as_str().into(),
            id.to_string().into(),
        ];
        execute::<NextAttempt>(connection, &values)?;
        if let Some(kept) = &attempt.kept {
            let values = [
                kept.key.as_deref().into(),
                kept.payload.as_deref().into(),
                headers_to_json(&kept.headers).to_string().into(),
                next.id().to_string().into(),
            ];
            execute::<Keep>(connection, &values)?;
        }
    }
    let values = [replayed.state().as_str().into(), id.to_string().into()];
    execute::<SetState>(connection, &values)?;
    Ok(replayed)
}

fn write(
    connection: &mut SqliteConnection,
    attempt: &ReplayAttempt,
    pass: Pass,
    row: &Row,
) -> Result<Replayed, Failure> {
    let origin = pass.origin(attempt)?;
    let (position, rows) = (row.position, std::slice::from_ref(row));
    let earlier = earlier::of(connection, &origin, (position, position))?;
    let left = &earlier.without_counted(rows)[0];
    let outcomes = Earlier::outcomes(rows, vec![effect::replay(connection, &origin, left)?]);
    earlier::close(connection, &origin, &earlier, rows, &outcomes, CLOSE_REPLAYED)?;
    if outbox::may_have_published(connection, &origin, position)? {
        return Ok(Replayed::ReadAgain);
    }
    if !matches!(outcomes[..], [Outcome::Refused(_)]) {
        let mut outgoing = Outgoing::new(origin, &attempt.topics, true);
        let records = outgoing.records(left).map_err(Fault::from)?;
        if !outbox::insert_replayed(connection, &origin, &records)? {
            return Err(no_position(&origin).into());
        }
    }
    Ok(Replayed::of(&attempt.identity, outcomes.into_iter().next().unwrap_or(Outcome::Skipped)))
}

/// Adds the corrected record to the outbox, from where it goes back into its topic.
fn put_back(
    connection: &mut SqliteConnection,
    attempt: &ReplayAttempt,
    pass: Pass,
    record: &OutgoingRecord,
) -> Result<Replayed, Failure> {
    let (origin, position) = (pass.origin(attempt)?, attempt.identity.position);
    if earlier::of(connection, &origin, (position, position))?.has_counted(position) {
        return Ok(Replayed::Counted);
    }
    earlier::close_at(connection, &origin, position, CLOSE_REPAIRED)?;
    if outbox::may_have_published(connection, &origin, position)? {
        return Ok(Replayed::ReadAgain);
    }
    let topics = Topics::default();
    let record = Outgoing::new(origin, &topics, true).repaired(record, &attempt.identity);
    if !outbox::insert_replayed(connection, &origin, &[record])? {
        return Err(no_position(&origin).into());
    }
    Ok(Replayed::Repaired)
}

struct NextAttempt;

impl Statement for NextAttempt {
    const SQL: &'static str = "insert into dead_letters \
        (id, flow, stream, partition, pass, position, attempt, batch_id, key, payload, headers, \
        record_timestamp, stage, code, message, failed_at) \
        select ?, flow, stream, partition, pass, position, attempt + 1, batch_id, key, payload, headers, \
        record_timestamp, ?, ?, ?, strftime('%Y-%m-%d %H:%M:%f', 'now') from dead_letters where id = ?";
}

/// Replaces the bytes of the new attempt.
struct Keep;

impl Statement for Keep {
    const SQL: &'static str =
        "update dead_letters set key = ?, payload = ?, headers = ? where id = ?";
}

struct SetState;

impl Statement for SetState {
    const SQL: &'static str = "update dead_letters set state = ? where id = ?";
}
