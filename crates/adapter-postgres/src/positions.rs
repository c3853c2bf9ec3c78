//! Claims and leases.

use std::time::Duration;

use chrono::NaiveDateTime;
use diesel::sql_types::{BigInt, Bool, Integer, Json, Nullable, Text, Timestamptz};
use diesel::{OptionalExtension, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use tally_ports::{
    Begin, Claim, Fault, Finished, LastPass, Lease, OnClaim, Position, Positions, SetTo, Stream,
    Tolerance,
};
use tally_queries::ledger::{SUMS, Sums, Verdict};

use crate::connection::{Session, answer};
use crate::query::prepared;
use crate::{Postgres, outbox};

/// The last pass over a partition, locked until the transaction ends. After waiting for another transaction it is the pass
/// that was last before that one.
const LAST_PASS: &str = "
    select id, epoch, pass as number, log, next, ended_at,
        rejected_at is not null as is_rejected, owner, updated_at,
        owner is not null and coalesce(lease_until > clock_timestamp(), false) as alive,
        (extract(epoch from lease_until - clock_timestamp()) * 1000)::bigint as remaining,
        case when updated_at > clock_timestamp() then (extract(epoch from lease_until - updated_at) * 1000)::bigint end
            as ahead
    from positions
    where flow = $1 and stream = $2 and partition = $3
    order by pass desc
    limit 1
    for update";

/// Over the log of the previous pass, or the next one if $7 is 1; continues its epoch and its outbox. Does nothing if another process has begun it.
const BEGIN_PASS: &str = "
    insert into positions (flow, stream, partition, pass, log, label, next, cursor, epoch, outbox_next, updated_at)
    select $1, $2, $3, $4, coalesce(before.log + $7, 1), $5, $6, $8, coalesce(before.epoch, 0),
        coalesce(before.outbox_next, 0), clock_timestamp()
    from (select 1) as one left join (
        select p.log, p.epoch, p.outbox_next from positions p where p.flow = $1 and p.stream = $2 and p.partition = $3
        order by p.pass desc limit 1
    ) as before on true
    on conflict do nothing";

const TAKE: &str = "
    update positions
    set epoch = epoch + 1, owner = $2, label = $3, lease_until = clock_timestamp() + $4 * interval '1 millisecond',
        updated_at = clock_timestamp()
    where id = $1
    returning epoch, pass, log, next, cursor, stats";

const RENEW: &str = "
    update positions
    set lease_until = clock_timestamp() + $3 * interval '1 millisecond', updated_at = clock_timestamp()
    where id = $1 and epoch = $2 and owner is not null";

const RELEASE: &str = "
    update positions
    set owner = null, lease_until = null, updated_at = clock_timestamp()
    where id = $1 and epoch = $2";

/// Waits for a commit in flight, so that the sums that follow include its entry.
const LOCK_TO_FINISH: &str =
    "select id from positions where id = $1 and epoch = $2 and next = $3 for update";

/// The verdict of the first call stays.
const FINISH: &str = "
    update positions
    set ended_at = coalesce(ended_at, statement_timestamp()),
        rejected_at = case when ended_at is not null then rejected_at when $2 then statement_timestamp() end,
        owner = null, lease_until = null, updated_at = clock_timestamp()
    where id = $1
    returning ended_at, rejected_at is not null as is_rejected";

impl Positions for Postgres {
    async fn claim(
        &self,
        stream: &Stream,
        owner: &str,
        lease: Duration,
        begin: Begin,
    ) -> Result<Claim, Fault> {
        let mut session = self.claims.session().await?;
        session.run("begin isolation level read committed read write").await?;
        let claim = claim(&mut session, stream, owner, lease, begin).await?;
        session.run("commit").await?;
        session.keep();
        Ok(claim)
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Fault> {
        let mut session = self.control.session().await?;
        let Lease { position_id: position, epoch, duration } = *lease;
        let renewed = renew(&mut session, position, epoch, milliseconds(duration)).await?;
        session.keep();
        if renewed { Ok(()) } else { Err(lease.taken()) }
    }

    async fn release(&self, lease: &Lease) -> Result<(), Fault> {
        let mut session = self.control.session().await?;
        let (connection, limit) = session.parts();
        let query =
            sql_query(RELEASE).bind::<BigInt, _>(lease.position_id).bind::<BigInt, _>(lease.epoch);
        answer(limit, query.execute(connection)).await?;
        session.keep();
        Ok(())
    }

    async fn finish(
        &self,
        lease: &Lease,
        next: i64,
        tolerance: Tolerance,
    ) -> Result<Option<Finished>, Fault> {
        let mut session = self.control.session().await?;
        session.run("begin isolation level read committed read write").await?;
        let finished = finish(&mut session, lease, next, tolerance).await?;
        session.run("commit").await?;
        session.keep();
        Ok(finished)
    }
}

/// Whether there was something to renew.
async fn renew(
    session: &mut Session,
    position: i64,
    epoch: i64,
    milliseconds: i64,
) -> Result<bool, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(RENEW)
        .bind::<BigInt, _>(position)
        .bind::<BigInt, _>(epoch)
        .bind::<BigInt, _>(milliseconds);
    let renewed = answer(limit, prepared(query).execute(connection)).await?;
    Ok(renewed == 1)
}

/// When the clock went back, the lease of the last pass counts from now on, whoever holds it; otherwise it would live for
/// as long as the clock was ahead.
pub(crate) async fn set_back(session: &mut Session, stream: &Stream) -> Result<(), Fault> {
    if let Some(LastPassRow { id, epoch, ahead: Some(length), .. }) =
        last_pass(session, stream).await?
    {
        renew(session, id, epoch, length).await?;
    }
    Ok(())
}

async fn claim(
    session: &mut Session,
    stream: &Stream,
    owner: &str,
    lease: Duration,
    begin: Begin,
) -> Result<Claim, Fault> {
    set_back(session, stream).await?;
    loop {
        let last = lock_last_pass(session, stream).await?;
        match OnClaim::decide(last.as_ref().map(LastPassRow::last), owner, begin) {
            OnClaim::Begin { number, next } => {
                begin_pass(session, stream, number, &next.into()).await?;
            }
            OnClaim::Take(position) => return take(session, position, stream, owner, lease).await,
            OnClaim::Answer(claim) => return Ok(claim),
            OnClaim::Finished { position, at, is_rejected } => {
                let Sums { read, dead_lettered } = sums(session, position).await?;
                return Ok(Claim::Finished(Finished { at, read, dead_lettered, is_rejected }));
            }
        }
    }
}

async fn take(
    session: &mut Session,
    position: i64,
    stream: &Stream,
    owner: &str,
    lease: Duration,
) -> Result<Claim, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(TAKE)
        .bind::<BigInt, _>(position)
        .bind::<Text, _>(owner)
        .bind::<Text, _>(&stream.label)
        .bind::<BigInt, _>(milliseconds(lease));
    let ClaimedRow { epoch, pass, log, next, cursor, stats } =
        answer(limit, query.get_result(connection)).await?;
    Ok(Claim::Owned(Position {
        lease: Lease { position_id: position, epoch, duration: lease },
        pass,
        log,
        next,
        cursor: cursor.unwrap_or_default(),
        stats: stats.unwrap_or_default(),
    }))
}

async fn finish(
    session: &mut Session,
    lease: &Lease,
    next: i64,
    tolerance: Tolerance,
) -> Result<Option<Finished>, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(LOCK_TO_FINISH)
        .bind::<BigInt, _>(lease.position_id)
        .bind::<BigInt, _>(lease.epoch)
        .bind::<BigInt, _>(next);
    if answer(limit, query.execute(connection)).await? == 0 {
        return Err(lease.taken());
    }
    if outbox::holds_any(session, lease.position_id).await? {
        return Ok(None);
    }
    let Sums { read, dead_lettered } = sums(session, lease.position_id).await?;
    let (connection, limit) = session.parts();
    let query = sql_query(FINISH)
        .bind::<BigInt, _>(lease.position_id)
        .bind::<Bool, _>(tolerance.is_exceeded(read, dead_lettered));
    let Verdict { ended_at, is_rejected } = answer(limit, query.get_result(connection)).await?;
    Ok(Some(Finished { at: ended_at, read, dead_lettered, is_rejected }))
}

/// A pass's counts in the ledger.
async fn sums(session: &mut Session, position: i64) -> Result<Sums, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(SUMS).bind::<BigInt, _>(position);
    answer(limit, query.get_result(connection)).await
}

/// The last pass, locked; only the session that has locked it may begin the next.
pub(crate) async fn lock_last_pass(
    session: &mut Session,
    stream: &Stream,
) -> Result<Option<LastPassRow>, Fault> {
    loop {
        let found = last_pass(session, stream).await?;
        let last = last_pass(session, stream).await?;
        if found.map(|pass| pass.id) == last.as_ref().map(|pass| pass.id) {
            return Ok(last);
        }
    }
}

async fn last_pass(session: &mut Session, stream: &Stream) -> Result<Option<LastPassRow>, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(LAST_PASS)
        .bind::<Text, _>(&stream.flow)
        .bind::<Text, _>(&stream.name)
        .bind::<Integer, _>(stream.partition);
    answer(limit, async { query.get_result(connection).await.optional() }).await
}

/// Begins a pass at `next`; `false` if another process has begun it.
pub(crate) async fn begin_pass(
    session: &mut Session,
    stream: &Stream,
    pass: i32,
    at: &SetTo,
) -> Result<bool, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(BEGIN_PASS)
        .bind::<Text, _>(&stream.flow)
        .bind::<Text, _>(&stream.name)
        .bind::<Integer, _>(stream.partition)
        .bind::<Integer, _>(pass)
        .bind::<Text, _>(&stream.label)
        .bind::<BigInt, _>(at.next)
        .bind::<BigInt, _>(i64::from(at.is_recreated))
        .bind::<Json, _>(&at.cursor);
    let begun = answer(limit, query.execute(connection)).await?;
    Ok(begun == 1)
}

pub(crate) fn milliseconds(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}

/// A pass that this transaction has locked.
#[derive(QueryableByName)]
pub(crate) struct LastPassRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<NaiveDateTime>,
    #[diesel(sql_type = Bool)]
    is_rejected: bool,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: NaiveDateTime,
    #[diesel(sql_type = Bool)]
    alive: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    remaining: Option<i64>,
    /// The duration of the lease, when it was renewed in the future: the clock went back.
    #[diesel(sql_type = Nullable<BigInt>)]
    ahead: Option<i64>,
}

impl LastPassRow {
    pub(crate) fn last(&self) -> LastPass<'_> {
        let remaining = self.remaining.and_then(|span| span.try_into().ok()).unwrap_or(0);
        let owner = self.owner.as_deref().filter(|_| self.alive);
        LastPass {
            position: self.id,
            epoch: self.epoch,
            number: self.number,
            log: self.log,
            next: self.next,
            ended_at: self.ended_at,
            is_rejected: self.is_rejected,
            holder: owner.map(|owner| (owner, Duration::from_millis(remaining))),
            updated_at: self.updated_at,
        }
    }
}

#[derive(QueryableByName)]
struct ClaimedRow {
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Nullable<Json>)]
    cursor: Option<Value>,
    #[diesel(sql_type = Nullable<Json>)]
    stats: Option<Value>,
}
