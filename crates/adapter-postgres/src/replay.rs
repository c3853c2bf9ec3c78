//! Replay of a dead letter.

use std::sync::Arc;

use diesel::sql_types::{Binary, Json, Nullable, Text, Uuid as SqlUuid};
use diesel::{OptionalExtension, sql_query};
use diesel_async::RunQueryDsl;
use tally_domain::Reason;
use tally_ports::dead_letter::headers_to_json;
use tally_ports::publish::Outgoing;
use tally_ports::{
    Attempted, DeadLetterIdentity, Earlier, Fault, LoggedAct, Outcome, OutgoingRecord, Raw, Replay,
    ReplayAttempt, Replayed, Row, State, Topics,
};
use tally_queries::earlier::{CLOSE_REPAIRED, CLOSE_REPLAYED};
use tally_queries::replay::{FIND, Pass, StateRow};
use uuid::Uuid;

use crate::connection::{Session, answer};
use crate::query::prepared;
use crate::{Postgres, acts, earlier, effect, outbox};

const NEXT_ATTEMPT: &str = "
    insert into dead_letters
        (id, flow, stream, partition, pass, position, attempt, batch_id, key, payload, headers,
         record_timestamp, stage, code, message, failed_at)
    select $2, flow, stream, partition, pass, position, attempt + 1, batch_id, key, payload, headers,
        record_timestamp, $3, $4, $5, clock_timestamp()
    from dead_letters where id = $1";

const KEEP: &str = "update dead_letters set key = $2, payload = $3, headers = $4 where id = $1";

const SET_STATE: &str = "update dead_letters set state = $2 where id = $1";

impl Replay for Postgres {
    async fn replay(
        &self,
        attempt: &Arc<ReplayAttempt>,
        logged_act: Option<&LoggedAct>,
    ) -> Result<Replayed, Fault> {
        let mut session = self.commits.session().await?;
        session.run(effect::BEGIN).await?;
        let replayed = replay(&mut session, attempt).await?;
        match (logged_act, replayed.as_str()) {
            (Some(logged_act), Some(what)) => {
                acts::note(&mut session, logged_act, &logged_act.result_with(what, 1)).await?;
                session.run("commit").await?;
            }
            _ => session.run("rollback").await?,
        }
        session.keep();
        Ok(replayed)
    }
}

async fn replay(session: &mut Session, attempt: &ReplayAttempt) -> Result<Replayed, Fault> {
    let id = attempt.identity.id();
    let (state, pass) = lock(session, attempt).await?;
    if state != State::Open {
        return Ok(Replayed::NotOpen(state));
    }
    let replayed = match &attempt.result {
        Attempted::Valid(row) => write(session, attempt, pass, row).await?,
        Attempted::Failed(reason) => Replayed::again(&attempt.identity, reason.clone()),
        Attempted::Repaired(record) => put_back(session, attempt, pass, record).await?,
    };
    if let Replayed::FailedAgain { next, reason } = &replayed {
        insert_next(session, id, next, reason).await?;
        if let Some(kept) = &attempt.kept {
            keep(session, next.id(), kept).await?;
        }
    }
    let (connection, limit) = session.parts();
    let query =
        sql_query(SET_STATE).bind::<SqlUuid, _>(id).bind::<Text, _>(replayed.state().as_str());
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(replayed)
}

async fn write(
    session: &mut Session,
    attempt: &ReplayAttempt,
    pass: Pass,
    row: &Row,
) -> Result<Replayed, Fault> {
    let origin = pass.origin(attempt)?;
    let (position, rows) = (row.position, std::slice::from_ref(row));
    let earlier = earlier::of(session, &origin, (position, position)).await?;
    let left = &earlier.without_counted(rows)[0];
    let outcomes = Earlier::outcomes(rows, vec![effect::replay(session, &origin, left).await?]);
    earlier::close(session, &origin, &earlier, rows, &outcomes, CLOSE_REPLAYED).await?;
    // Last of all, as a commit locks its position last.
    if outbox::may_have_published(session, &origin, position).await? {
        return Ok(Replayed::ReadAgain);
    }
    if !matches!(outcomes[..], [Outcome::Refused(_)]) {
        let records = Outgoing::new(origin, &attempt.topics, true).records(left)?;
        outbox::insert_replayed(session, &origin, &records).await?;
    }
    Ok(Replayed::of(&attempt.identity, outcomes.into_iter().next().unwrap_or(Outcome::Skipped)))
}

/// Adds the corrected record to the outbox, from where it goes back into its topic.
async fn put_back(
    session: &mut Session,
    attempt: &ReplayAttempt,
    pass: Pass,
    record: &OutgoingRecord,
) -> Result<Replayed, Fault> {
    let (origin, position) = (pass.origin(attempt)?, attempt.identity.position);
    if earlier::of(session, &origin, (position, position)).await?.has_counted(position) {
        return Ok(Replayed::Counted);
    }
    earlier::close_at(session, &origin, position, CLOSE_REPAIRED).await?;
    if outbox::may_have_published(session, &origin, position).await? {
        return Ok(Replayed::ReadAgain);
    }
    let topics = Topics::default();
    let record = Outgoing::new(origin, &topics, true).repaired(record, &attempt.identity);
    outbox::insert_replayed(session, &origin, &[record]).await?;
    Ok(Replayed::Repaired)
}

/// Locks the dead letter: only the session that has locked it may change its state.
async fn lock(session: &mut Session, attempt: &ReplayAttempt) -> Result<(State, Pass), Fault> {
    let (connection, limit) = session.parts();
    let lock = format!("{FIND} for update of d");
    let query = prepared(sql_query(lock).bind::<SqlUuid, _>(attempt.identity.id()));
    let found = answer(limit, async { query.get_result(connection).await.optional() }).await?;
    StateRow::known(found, &attempt.identity)
}

async fn insert_next(
    session: &mut Session,
    id: Uuid,
    next: &DeadLetterIdentity,
    reason: &Reason,
) -> Result<(), Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(NEXT_ATTEMPT)
        .bind::<SqlUuid, _>(id)
        .bind::<SqlUuid, _>(next.id())
        .bind::<Text, _>(reason.stage.as_str())
        .bind::<Text, _>(&*reason.code)
        .bind::<Text, _>(reason.message.as_str());
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}

/// Replaces the bytes of the new attempt by `kept`.
async fn keep(session: &mut Session, id: Uuid, kept: &Raw) -> Result<(), Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(KEEP)
        .bind::<SqlUuid, _>(id)
        .bind::<Nullable<Binary>, _>(kept.key.as_deref())
        .bind::<Nullable<Binary>, _>(kept.payload.as_deref())
        .bind::<Json, _>(headers_to_json(&kept.headers));
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}
