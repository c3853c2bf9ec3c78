//! Commits a batch in one transaction.

use std::sync::Arc;

use diesel::sql_types::{BigInt, Bool, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tally_ports::{
    Commit, Committed, DeadLetter, Earlier, Fault, LogRange, Sink, StopKind, failpoint,
    notes_ranges,
};
use tally_queries::earlier::CLOSE_OUTDATED;
use tally_queries::ledger::{RECORDED, Recorded};

use crate::connection::{Session, answer};
use crate::{Postgres, dead_letters, earlier, effect, ledger, outbox};

/// A COMMIT without an answer is an outage: the caller calls again with the same batch, whose update of the position
/// waits until the first transaction has ended and then sees its outcome.
impl Sink for Postgres {
    async fn commit(&self, commit: &Arc<Commit>) -> Result<Committed, Fault> {
        let mut session = self.commits.session().await?;
        let committed = match write(&mut session, commit).await? {
            Some(committed) => committed,
            None => settle(&mut session, commit).await?,
        };
        session.keep();
        Ok(committed)
    }

    async fn earlier(&self, range: &LogRange) -> Result<Earlier, Fault> {
        let mut session = self.commits.session().await?;
        session.run("begin isolation level read committed read only").await?;
        let positions = (range.first, range.last);
        let earlier = earlier::seen(&mut session, &range.origin(), positions).await?;
        session.run("rollback").await?;
        session.keep();
        Ok(earlier)
    }
}

/// Writes the batch; `None`, and nothing, where the position is not at the batch's start in our epoch.
async fn write(session: &mut Session, commit: &Commit) -> Result<Option<Committed>, Fault> {
    session.run(effect::BEGIN).await?;
    let (origin, range) = (commit.origin(), (commit.first, commit.last));
    let is_re_read = commit.pass > 1;
    let earlier =
        if is_re_read { earlier::of(session, &origin, range).await? } else { Earlier::default() };
    let under_keys = earlier::under_keys(session, commit).await?;
    if is_re_read || !under_keys.is_empty() {
        session.run("release savepoint effect; savepoint effect").await?;
    }
    let rows = earlier.without_counted(&commit.rows);
    let outcomes = effect::write(session, &origin, range, &rows).await?;
    let outcomes = Earlier::outcomes(&commit.rows, outcomes);
    earlier::close(session, &origin, &earlier, &commit.rows, &outcomes, CLOSE_OUTDATED).await?;
    earlier::outdate(session, commit, under_keys, &outcomes).await?;
    if notes_ranges(origin.flow) {
        earlier::note_counted(session, &origin, range).await?;
    }
    let (committed, refused) = commit.conclude(&outcomes)?;
    let dead_letters: Vec<&DeadLetter> = commit.dead_letters.iter().chain(&refused).collect();
    let inserted = dead_letters::insert(session, commit, &dead_letters).await?;
    if is_re_read && inserted > 0 {
        earlier::take_over(session, commit).await?;
    }
    let records = commit.to_outbox(&rows, &outcomes)?;
    let at = (commit.lease.position_id, commit.lease.epoch);
    let moved = outbox::insert(session, &origin, at, &records).await?
        && ledger::record(
            session,
            commit,
            &committed,
            dead_letters.len(),
            commit.detail(&outcomes),
        )
        .await?;
    if !moved {
        session.run("rollback").await?;
        return Ok(None);
    }
    if inserted != dead_letters.len() {
        return Err(contradiction(commit, "some of its dead letters are in the table already"));
    }
    failpoint("commit-before");
    session.run("commit").await?;
    Ok(Some(committed))
}

/// Finds out why the position is not at the batch's start: the batch was committed before, or another process owns it.
async fn settle(session: &mut Session, commit: &Commit) -> Result<Committed, Fault> {
    session.run("begin isolation level read committed read write").await?;
    let position = lock_position(session, commit.lease.position_id).await?;
    let recorded = recorded(session, commit).await?;
    session.run("rollback").await?;

    match (recorded, position) {
        (Some(committed), _) => Ok(committed),
        (None, Some(PositionRow { epoch, next, ended: false })) if epoch == commit.lease.epoch => {
            let first = commit.first;
            Err(Fault::outage(format!(
                "postgres: the position is at {next}, not at {first} where the batch begins"
            )))
        }
        (None, _) => Err(commit.lease.taken()),
    }
}

/// Waits out a COMMIT that is still running.
async fn lock_position(session: &mut Session, position: i64) -> Result<Option<PositionRow>, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(
        "select epoch, next, ended_at is not null as ended from positions where id = $1 for update",
    )
    .bind::<BigInt, _>(position);
    answer(limit, async { query.get_result(connection).await.optional() }).await
}

/// The batch's outcome in the ledger.
async fn recorded(session: &mut Session, commit: &Commit) -> Result<Option<Committed>, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(RECORDED).bind::<SqlUuid, _>(commit.id);
    let recorded: Option<Recorded> =
        answer(limit, async { query.get_result(connection).await.optional() }).await?;
    let Some(recorded) = recorded else { return Ok(None) };
    let refused = dead_letters::refused(session, commit.id).await?;
    Ok(Some(recorded.committed(refused)))
}

fn contradiction(commit: &Commit, what: &str) -> Fault {
    let Commit { stream, first, last, pass, .. } = commit;
    let (name, partition) = (&stream.name, stream.partition);
    let batch = format!("{name} partition {partition} pass {pass} from {first} to {last}");
    Fault::stop(StopKind::Data, format!("postgres: the batch {batch} cannot be committed: {what}"))
}

#[derive(QueryableByName)]
struct PositionRow {
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Bool)]
    ended: bool,
}
