//! The workers of a stream.

use std::time::Duration;

use chrono::NaiveDateTime;
use diesel::sql_types::{Array, BigInt, Integer, Json, Nullable, Text, Timestamptz};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use tally_ports::{Fault, Join, Membership, PartitionState, Worker, Workers};

use crate::Postgres;
use crate::connection::answer;
use crate::positions::milliseconds;
use crate::query::prepared;

/// One round trip. The statement does not see its own insert, so it counts the other workers only. Workers that died long
/// ago are removed, and those that were seen in the future, as the clock went back, count from now on; rows that another
/// session has locked are skipped.
const JOIN: &str = "
    with present as (
        insert into workers (id, flow, stream, host, pid, seen_at, seen_until)
        values ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp() + $6 * interval '1 millisecond')
        on conflict (id) do update set
            flow = excluded.flow, stream = excluded.stream, host = excluded.host, pid = excluded.pid,
            seen_at = excluded.seen_at, seen_until = excluded.seen_until
    ), set_back as (
        update workers set seen_until = clock_timestamp() + (seen_until - seen_at), seen_at = clock_timestamp()
        where id in (
            select id from workers where seen_at > clock_timestamp() and id <> $1
            for update skip locked
        )
    ), long_dead as (
        delete from workers where id in (
            select id from workers
            where seen_until < clock_timestamp() - interval '1 day' and id <> $1
            for update skip locked
        )
    )
    select others.live_workers, last.*
    from (
        select count(*) as live_workers from workers
        where flow = $2 and stream = $3 and id <> $1 and seen_until > clock_timestamp()
    ) as others
    left join (
        select distinct on (partition) partition, pass, next, cursor, updated_at,
            case when clock_timestamp() between updated_at and lease_until then owner end as owner
        from positions
        where flow = $2 and stream = $3
        order by partition, pass desc
    ) as last on true
    order by last.partition";

/// In order of the partitions, so that concurrent calls do not deadlock.
const BEGIN: &str = "
    insert into positions (flow, stream, partition, pass, label, next, epoch, updated_at)
    select $1, $2, partition, 1, $3, next, 0, clock_timestamp()
    from unnest($4, $5) as start (partition, next)
    where not exists (select from positions where flow = $1 and stream = $2)
    order by partition
    on conflict do nothing";

const LEAVE: &str = "delete from workers where id = $1";

impl Workers for Postgres {
    async fn join_stream(&self, worker: &Worker, lease: Duration) -> Result<Join, Fault> {
        let mut session = self.control.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(JOIN)
            .bind::<Text, _>(&*worker.id)
            .bind::<Text, _>(&worker.flow)
            .bind::<Text, _>(&worker.stream)
            .bind::<Text, _>(&worker.host)
            .bind::<BigInt, _>(i64::from(worker.pid))
            .bind::<BigInt, _>(milliseconds(lease));
        let found: Vec<MembershipRow> = answer(limit, prepared(query).load(connection)).await?;
        session.keep();

        let others = found.iter().map(|found| found.live_workers).next().unwrap_or(0);
        let live_workers = usize::try_from(others).unwrap_or(0) + 1;
        let partitions = found.into_iter().filter_map(MembershipRow::partition_state).collect();
        Ok(Join::Joined(Membership { live_workers, partitions }))
    }

    async fn begin(
        &self,
        worker: &Worker,
        label: &str,
        starts: &[(i32, i64)],
    ) -> Result<(), Fault> {
        let (partitions, nexts): (Vec<i32>, Vec<i64>) = starts.iter().copied().unzip();
        let mut session = self.control.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(BEGIN)
            .bind::<Text, _>(&worker.flow)
            .bind::<Text, _>(&worker.stream)
            .bind::<Text, _>(label)
            .bind::<Array<Integer>, _>(partitions)
            .bind::<Array<BigInt>, _>(nexts);
        answer(limit, query.execute(connection)).await?;
        session.keep();
        Ok(())
    }

    async fn leave(&self, worker: &Worker) -> Result<(), Fault> {
        let mut session = self.control.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(LEAVE).bind::<Text, _>(&*worker.id);
        answer(limit, query.execute(connection)).await?;
        session.keep();
        Ok(())
    }
}

/// How many other workers are alive, and a partition if there is one.
#[derive(QueryableByName)]
struct MembershipRow {
    #[diesel(sql_type = BigInt)]
    live_workers: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    partition: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    pass: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    next: Option<i64>,
    #[diesel(sql_type = Nullable<Json>)]
    cursor: Option<Value>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    updated_at: Option<NaiveDateTime>,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
}

impl MembershipRow {
    fn partition_state(self) -> Option<PartitionState> {
        Some(PartitionState {
            partition: self.partition?,
            pass: self.pass?,
            next: self.next?,
            cursor: self.cursor.unwrap_or_default(),
            owner: self.owner,
            updated_at: self.updated_at?,
        })
    }
}
