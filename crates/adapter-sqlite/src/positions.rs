//! Claims and leases.

use std::time::Duration;

use chrono::NaiveDateTime;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamp};
use diesel::{
    OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query,
};
use tally_ports::{
    Begin, Claim, Fault, Finished, LastPass, Lease, OnClaim, Position, Positions, SetTo, Stream,
    Tolerance,
};
use tally_queries::ledger::{SUMS, Sums, Verdict};

use crate::atomic::transaction;
use crate::statement::{Statement, Value, execute};
use crate::{Failure, Sqlite, outbox};

impl Positions for Sqlite {
    async fn claim(
        &self,
        stream: &Stream,
        owner: &str,
        lease: Duration,
        begin: Begin,
    ) -> Result<Claim, Fault> {
        let stream = stream.clone();
        let owner = owner.to_owned();
        self.run(move |connection| {
            transaction(connection, |connection| claim(connection, &stream, &owner, lease, begin))
        })
        .await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Fault> {
        if self.touches::<Renew, 3>(Renew::values(lease)).await? {
            Ok(())
        } else {
            Err(lease.taken())
        }
    }

    async fn release(&self, lease: &Lease) -> Result<(), Fault> {
        self.touches::<Release, 2>([lease.position_id.into(), lease.epoch.into()]).await.map(drop)
    }

    async fn finish(
        &self,
        lease: &Lease,
        next: i64,
        tolerance: Tolerance,
    ) -> Result<Option<Finished>, Fault> {
        let lease = *lease;
        self.run(move |connection| {
            transaction(connection, |connection| finish(connection, lease, next, tolerance))
        })
        .await
    }
}

impl Sqlite {
    /// Runs a statement in a transaction of its own; whether it touched a row.
    pub(crate) async fn touches<S: Statement, const N: usize>(
        &self,
        values: [Value<'static>; N],
    ) -> Result<bool, Fault> {
        self.run(move |connection| {
            transaction(connection, |connection| Ok(execute::<S>(connection, &values)? > 0))
        })
        .await
    }
}

struct Renew;

impl Statement for Renew {
    const SQL: &'static str = "update positions set \
        lease_until = strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds'), \
        updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') \
        where id = ? and epoch = ? and owner is not null";
}

impl Renew {
    fn values(lease: &Lease) -> [Value<'static>; 3] {
        [milliseconds(lease.duration).into(), lease.position_id.into(), lease.epoch.into()]
    }
}

struct Release;

impl Statement for Release {
    const SQL: &'static str = "update positions set owner = null, lease_until = null, \
        updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') \
        where id = ? and epoch = ? and owner is not null";
}

/// The verdict of the first call stays. `now` is the same throughout a statement.
const FINISH: &str = "update positions set owner = null, lease_until = null, \
    ended_at = coalesce(ended_at, strftime('%Y-%m-%d %H:%M:%f', 'now')), \
    rejected_at = case when ended_at is not null then rejected_at \
        when ? then strftime('%Y-%m-%d %H:%M:%f', 'now') end, \
    updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') \
    where id = ? and epoch = ? and next = ? \
    returning ended_at, rejected_at is not null as is_rejected";

fn finish(
    connection: &mut SqliteConnection,
    lease: Lease,
    next: i64,
    tolerance: Tolerance,
) -> Result<Option<Finished>, Failure> {
    if outbox::holds_any(connection, lease)? {
        return Ok(None);
    }
    let Sums { read, dead_lettered } = sums(connection, lease.position_id)?;
    let verdict: Option<Verdict> = sql_query(FINISH)
        .bind::<Bool, _>(tolerance.is_exceeded(read, dead_lettered))
        .bind::<BigInt, _>(lease.position_id)
        .bind::<BigInt, _>(lease.epoch)
        .bind::<BigInt, _>(next)
        .get_result(connection)
        .optional()?;
    let Verdict { ended_at, is_rejected } = verdict.ok_or_else(|| lease.taken())?;
    Ok(Some(Finished { at: ended_at, read, dead_lettered, is_rejected }))
}

/// A pass's counts in the ledger.
fn sums(connection: &mut SqliteConnection, position: i64) -> QueryResult<Sums> {
    sql_query(SUMS).bind::<BigInt, _>(position).get_result(connection)
}

/// The last pass of a stream, and the current time.
#[derive(QueryableByName)]
pub(crate) struct LastPassRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = Text)]
    pub(crate) label: String,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Text)]
    cursor: String,
    #[diesel(sql_type = Text)]
    stats: String,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    lease_until: Option<NaiveDateTime>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    ended_at: Option<NaiveDateTime>,
    #[diesel(sql_type = Bool)]
    is_rejected: bool,
    #[diesel(sql_type = Timestamp)]
    updated_at: NaiveDateTime,
    #[diesel(sql_type = Timestamp)]
    now: NaiveDateTime,
}

impl LastPassRow {
    pub(crate) fn last(&self) -> LastPass<'_> {
        LastPass {
            position: self.id,
            epoch: self.epoch,
            number: self.pass,
            log: self.log,
            next: self.next,
            ended_at: self.ended_at,
            is_rejected: self.is_rejected,
            holder: self.holder(),
            updated_at: self.updated_at,
        }
    }

    /// The owner of a live lease, and how long it still lives.
    fn holder(&self) -> Option<(&str, Duration)> {
        let (owner, until) = self.owner.as_deref().zip(self.lease_until)?;
        let remaining =
            (until - self.now).to_std().ok().filter(|remaining| !remaining.is_zero())?;
        Some((owner, remaining))
    }
}

/// When the clock went back, the lease of the last pass counts from now on, whoever holds it; otherwise it would live for
/// as long as the clock was ahead.
pub(crate) fn set_back(connection: &mut SqliteConnection, stream: &Stream) -> QueryResult<()> {
    let Some(last) = last_pass(connection, stream)? else { return Ok(()) };
    if last.updated_at > last.now
        && let Some(until) = last.lease_until
    {
        let duration = (until - last.updated_at).to_std().unwrap_or_default();
        let lease = Lease { position_id: last.id, epoch: last.epoch, duration };
        execute::<Renew>(connection, &Renew::values(&lease))?;
    }
    Ok(())
}

fn claim(
    connection: &mut SqliteConnection,
    stream: &Stream,
    owner: &str,
    lease: Duration,
    begin: Begin,
) -> Result<Claim, Failure> {
    set_back(connection, stream)?;
    loop {
        let last = last_pass(connection, stream)?;
        match OnClaim::decide(last.as_ref().map(LastPassRow::last), owner, begin) {
            OnClaim::Begin { number, next } => {
                begin_pass(connection, stream, number, &next.into())?;
            }
            OnClaim::Take(position) => {
                let label = stream.label.as_str();
                let values =
                    [owner.into(), milliseconds(lease).into(), label.into(), position.into()];
                execute::<Take>(connection, &values)?;
                return owned(connection, stream, lease);
            }
            OnClaim::Answer(claim) => return Ok(claim),
            OnClaim::Finished { position, at, is_rejected } => {
                let Sums { read, dead_lettered } = sums(connection, position)?;
                return Ok(Claim::Finished(Finished { at, read, dead_lettered, is_rejected }));
            }
        }
    }
}

struct Take;

impl Statement for Take {
    const SQL: &'static str = "update positions set epoch = epoch + 1, owner = ?, \
        lease_until = strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds'), label = ?, \
        updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') \
        where id = ?";
}

struct BeginPass;

impl Statement for BeginPass {
    const SQL: &'static str = "insert into positions \
        (flow, stream, partition, pass, log, label, next, cursor, epoch, outbox_next, updated_at) \
        select new.flow, new.stream, new.partition, new.pass, coalesce(before.log + new.is_recreated, 1), new.label, new.next, \
            new.cursor, coalesce(before.epoch, 0), coalesce(before.outbox_next, 0), strftime('%Y-%m-%d %H:%M:%f', 'now') \
        from (select ? as flow, ? as stream, ? as partition, ? as pass, ? as label, ? as next, ? as cursor, ? as is_recreated) as new \
        left join positions as before on before.flow = new.flow and before.stream = new.stream \
            and before.partition = new.partition and before.pass = new.pass - 1";
}

/// Adds a pass without an owner, over the same log as the previous pass or the next one; continues its epoch
/// and its outbox.
pub(crate) fn begin_pass(
    connection: &mut SqliteConnection,
    stream: &Stream,
    pass: i32,
    at: &SetTo,
) -> QueryResult<()> {
    let values = [
        stream.flow.as_str().into(),
        stream.name.as_str().into(),
        stream.partition.into(),
        pass.into(),
        stream.label.as_str().into(),
        at.next.into(),
        at.cursor.to_string().into(),
        i64::from(at.is_recreated).into(),
    ];
    execute::<BeginPass>(connection, &values).map(drop)
}

pub(crate) fn last_pass(
    connection: &mut SqliteConnection,
    stream: &Stream,
) -> QueryResult<Option<LastPassRow>> {
    sql_query(
        "select id, pass, log, label, next, cursor, stats, epoch, owner, lease_until, ended_at, \
         rejected_at is not null as is_rejected, updated_at, \
         strftime('%Y-%m-%d %H:%M:%f', 'now') as now \
         from positions where flow = ? and stream = ? and partition = ? order by pass desc limit 1",
    )
    .bind::<Text, _>(&stream.flow)
    .bind::<Text, _>(&stream.name)
    .bind::<Integer, _>(stream.partition)
    .get_result(connection)
    .optional()
}

/// The pass after the claim.
fn owned(
    connection: &mut SqliteConnection,
    stream: &Stream,
    lease: Duration,
) -> Result<Claim, Failure> {
    let place = last_pass(connection, stream)?.ok_or(diesel::result::Error::NotFound)?;
    let json = |text: &str| {
        serde_json::from_str(text)
            .map_err(|error| diesel::result::Error::DeserializationError(error.into()))
    };
    Ok(Claim::Owned(Position {
        lease: Lease { position_id: place.id, epoch: place.epoch, duration: lease },
        pass: place.pass,
        log: place.log,
        next: place.next,
        cursor: json(&place.cursor)?,
        stats: json(&place.stats)?,
    }))
}

/// A duration as a statement takes it.
pub(crate) fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
