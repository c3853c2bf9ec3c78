//! Showing and setting positions.

use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Json, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tally_ports::passed::GAP;
use tally_ports::{
    Act, Fault, Lease, LoggedAct, OnSet, PartitionState, Passed, PositionAdmin, SetTo, Stream,
};
use tally_queries::ledger::PartitionStateRow;
use uuid::Uuid;

use crate::Postgres;
use crate::acts::note;
use crate::connection::{Session, answer};
use crate::positions::{LastPassRow, begin_pass, lock_last_pass, set_back};

/// A lease that was renewed in the future, as the clock went back, counts as free here: a claim finds out whether it is
/// alive.
const PARTITION_STATES: &str = "
    select distinct on (partition) partition, pass, next, cast(cursor as text) as cursor, updated_at,
        case when clock_timestamp() between updated_at and lease_until then owner end as owner
    from positions
    where flow = $1 and stream = $2
    order by partition, pass desc";

/// The epoch is raised: a commit in flight of an earlier owner will be refused.
const GIVE_UP: &str = "
    update positions
    set epoch = epoch + 1, owner = null, lease_until = null, updated_at = clock_timestamp()
    where id = $1";

const MOVE: &str = "update positions set next = $2, cursor = $4, label = $3 where id = $1";

const INSERT_ENTRY: &str = "
    insert into batches
        (id, flow, stream, partition, pass, first, last, read, written, superseded, skipped, dead_lettered, quality,
         gap, passed, started_at, committed_at, worker)
    values ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, '{}', $8, $9, clock_timestamp(), clock_timestamp(), $10)";

impl PositionAdmin for Postgres {
    async fn partition_states(
        &self,
        flow: &str,
        stream: &str,
    ) -> Result<Vec<PartitionState>, Fault> {
        let mut session = self.control.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(PARTITION_STATES).bind::<Text, _>(flow).bind::<Text, _>(stream);
        let found: Vec<PartitionStateRow> = answer(limit, query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(PartitionState::from).collect())
    }

    async fn set(
        &self,
        stream: &Stream,
        to: SetTo,
        lease: Option<&Lease>,
        act: &Act,
    ) -> Result<(), Fault> {
        let mut session = self.claims.session().await?;
        set_back(&mut session, stream).await?; // also where nothing is set then
        session.run("begin isolation level read committed read write").await?;
        let (pass, first) = set(&mut session, stream, &to, lease).await?.passed();
        if first < to.next {
            insert_entry(&mut session, stream, pass, (first, to.next - 1), act).await?;
        }
        let logged_act = LoggedAct { id: Uuid::now_v7(), act: act.clone() };
        note(&mut session, &logged_act, &act.result).await?;
        session.run("commit").await?;
        session.keep();
        Ok(())
    }
}

async fn set(
    session: &mut Session,
    stream: &Stream,
    to: &SetTo,
    lease: Option<&Lease>,
) -> Result<OnSet, Fault> {
    loop {
        let last = lock_last_pass(session, stream).await?;
        let decision = OnSet::decide(stream, last.as_ref().map(LastPassRow::last), to, lease)?;
        if let Some(last) = &last {
            let (connection, limit) = session.parts();
            let query = sql_query(GIVE_UP).bind::<BigInt, _>(last.id);
            answer(limit, query.execute(connection)).await?;
        }
        match decision {
            OnSet::Begin { number } => {
                if !begin_pass(session, stream, number, to).await? {
                    continue; // another process was faster: only possible for the first pass, as we have locked the last one
                }
            }
            OnSet::Advance { position, .. } => {
                let (connection, limit) = session.parts();
                let query = sql_query(MOVE)
                    .bind::<BigInt, _>(position)
                    .bind::<BigInt, _>(to.next)
                    .bind::<Text, _>(&stream.label)
                    .bind::<Json, _>(&to.cursor);
                answer(limit, query.execute(connection)).await?;
            }
        }
        return Ok(decision);
    }
}

async fn insert_entry(
    session: &mut Session,
    stream: &Stream,
    pass: i32,
    (first, last): (i64, i64),
    act: &Act,
) -> Result<(), Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(INSERT_ENTRY)
        .bind::<SqlUuid, _>(Uuid::now_v7())
        .bind::<Text, _>(&stream.flow)
        .bind::<Text, _>(&stream.name)
        .bind::<Integer, _>(stream.partition)
        .bind::<Integer, _>(pass)
        .bind::<BigInt, _>(first)
        .bind::<BigInt, _>(last)
        .bind::<Text, _>(&act.reason)
        .bind::<Json, _>(Passed::of(GAP, last - first + 1).to_json())
        .bind::<Text, _>(&act.who);
    answer(limit, query.execute(connection)).await?;
    Ok(())
}
