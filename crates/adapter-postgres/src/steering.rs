//! What people change about positions.

use chrono::NaiveDateTime;
use diesel::sql_types::{BigInt, Integer, Json, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tally_ports::passed::GAP;
use tally_ports::{Act, Deed, Fault, Lease, Passed, Standing, Steering, StopKind, Stream};
use uuid::Uuid;

use crate::Postgres;
use crate::acts::note;
use crate::connection::{Session, answer};
use crate::positions::{Pass, begin_pass, lock_last_pass, set_back, taken};

/// Of a lease that was renewed at a time that is still to come nobody knows whether it is alive: a claim finds out.
const STANDINGS: &str = "
    select distinct on (partition) partition, pass, next, updated_at,
        case when clock_timestamp() between updated_at and lease_until then owner end as owner
    from positions
    where flow = $1 and stream = $2
    order by partition, pass desc";

/// The epoch is raised: a commit of an earlier owner that is still under way will be refused.
const GIVE_UP: &str = "
    update positions
    set epoch = epoch + 1, owner = null, lease_until = null, updated_at = clock_timestamp()
    where id = $1";

const MOVE: &str = "update positions set next = $2, cursor = null, label = $3 where id = $1";

const INSERT_ENTRY: &str = "
    insert into batches
        (id, flow, stream, partition, pass, first, last, read, written, superseded, skipped, dead_lettered, quality,
         gap, passed, started_at, committed_at, worker)
    values ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, '{}', $8, $9, clock_timestamp(), clock_timestamp(), $10)";

impl Steering for Postgres {
    async fn standings(&self, flow: &str, stream: &str) -> Result<Vec<Standing>, Fault> {
        let mut session = self.control.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(STANDINGS).bind::<Text, _>(flow).bind::<Text, _>(stream);
        let found: Vec<Found> = answer(limit, query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(Standing::from).collect())
    }

    /// Of a pass that has ended nothing is further on: that is a wrong setting, as is a position below 0.
    async fn set(
        &self,
        stream: &Stream,
        to: i64,
        lease: Option<&Lease>,
        act: &Act,
    ) -> Result<(), Fault> {
        if to < 0 {
            let message = format!("{} has no position {to}: the first one is 0", stream.label);
            return Err(Fault::stop(StopKind::Setting, message));
        }
        let mut session = self.claims.session().await?;
        set_back(&mut session, stream).await?; // also where nothing is set then
        session.run("begin isolation level read committed read write").await?;
        let skipped = set(&mut session, stream, to, lease).await?;
        if skipped.first < to {
            insert_entry(&mut session, stream, &skipped, to - 1, act).await?;
        }
        let deed = Deed { id: Uuid::now_v7(), act: act.clone() };
        note(&mut session, &deed, &act.result).await?;
        session.run("commit").await?;
        session.keep();
        Ok(())
    }
}

/// What was passed without being read: from `first` to where the position was set.
struct Skipped {
    pass: i32,
    first: i64,
}

async fn set(
    session: &mut Session,
    stream: &Stream,
    to: i64,
    lease: Option<&Lease>,
) -> Result<Skipped, Fault> {
    loop {
        let last = lock_last_pass(session, stream).await?;
        check_lease(stream, last.as_ref(), lease)?;
        let Some(last) = last else {
            if begin_pass(session, stream, 1, to).await? {
                return Ok(Skipped { pass: 1, first: 0 });
            }
            continue; // somebody else was faster
        };
        if last.ended_at.is_some() && to > last.next {
            let message =
                format!("{} has ended at {}: there is nothing further on", stream.label, last.next);
            return Err(Fault::stop(StopKind::Setting, message));
        }
        let (connection, limit) = session.parts();
        let query = sql_query(GIVE_UP).bind::<BigInt, _>(last.id);
        answer(limit, query.execute(connection)).await?;
        if to <= last.next {
            let pass = last.number + 1;
            // We hold the last pass, so nobody else has begun this one.
            begin_pass(session, stream, pass, to).await?;
            return Ok(Skipped { pass, first: 0 });
        }
        let (connection, limit) = session.parts();
        let query = sql_query(MOVE)
            .bind::<BigInt, _>(last.id)
            .bind::<BigInt, _>(to)
            .bind::<Text, _>(&stream.label);
        answer(limit, query.execute(connection)).await?;
        return Ok(Skipped { pass: last.number, first: last.next });
    }
}

/// Whether whoever holds `lease`, or none, may move the position.
fn check_lease(stream: &Stream, last: Option<&Pass>, lease: Option<&Lease>) -> Result<(), Fault> {
    match (last, lease) {
        (Some(last), Some(lease)) if (last.id, last.epoch) == (lease.position, lease.epoch) => {
            Ok(())
        }
        (_, Some(lease)) => Err(taken(lease)),
        (Some(Pass { owner: Some(owner), alive: true, .. }), None) => {
            let (label, partition) = (&stream.label, stream.partition);
            let message =
                format!("partition {partition} of {label} is owned by {owner}: stop it first");
            Err(Fault::stop(StopKind::Taken, message))
        }
        (_, None) => Ok(()),
    }
}

async fn insert_entry(
    session: &mut Session,
    stream: &Stream,
    skipped: &Skipped,
    last: i64,
    act: &Act,
) -> Result<(), Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(INSERT_ENTRY)
        .bind::<SqlUuid, _>(Uuid::now_v7())
        .bind::<Text, _>(&stream.flow)
        .bind::<Text, _>(&stream.name)
        .bind::<Integer, _>(stream.partition)
        .bind::<Integer, _>(skipped.pass)
        .bind::<BigInt, _>(skipped.first)
        .bind::<BigInt, _>(last)
        .bind::<Text, _>(&act.reason)
        .bind::<Json, _>(Passed::of(GAP, last - skipped.first + 1).to_json())
        .bind::<Text, _>(&act.who);
    answer(limit, query.execute(connection)).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Timestamptz)]
    updated_at: NaiveDateTime,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
}

impl From<Found> for Standing {
    fn from(found: Found) -> Self {
        let Found { partition, pass, next, updated_at, owner } = found;
        Self { partition, pass, next, owner, updated_at }
    }
}
