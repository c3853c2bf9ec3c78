//! The worker: one at a time.

use std::time::Duration;

use chrono::NaiveDateTime;
use diesel::sql_types::{Text, Timestamp};
use diesel::{
    OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query,
};
use tally_ports::{Fault, Join, Membership, Stream, Worker, Workers};

use crate::atomic::transaction;
use crate::position_admin::partition_states;
use crate::positions::{begin_pass, milliseconds};
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite};

/// Commits and heartbeats share the one writer of the file, so it serves one worker, whatever its stream.
impl Workers for Sqlite {
    async fn join_stream(&self, worker: &Worker, lease: Duration) -> Result<Join, Fault> {
        let worker = worker.clone();
        self.run(move |connection| {
            transaction(connection, |connection| join_stream(connection, &worker, lease))
        })
        .await
    }

    async fn begin(
        &self,
        worker: &Worker,
        label: &str,
        starts: &[(i32, i64)],
    ) -> Result<(), Fault> {
        let (worker, label, starts) = (worker.clone(), label.to_owned(), starts.to_vec());
        self.run(move |connection| {
            transaction(connection, |connection| Ok(begin(connection, &worker, &label, &starts)?))
        })
        .await
    }

    async fn leave(&self, worker: &Worker) -> Result<(), Fault> {
        self.touches::<Leave, 1>([worker.id.to_string().into()]).await.map(drop)
    }
}

fn join_stream(
    connection: &mut SqliteConnection,
    worker: &Worker,
    lease: Duration,
) -> Result<Join, Failure> {
    execute::<SetBack>(connection, &[])?;
    if let Some(OtherWorkerRow { id, seen_until, now }) = other_live_worker(connection, worker)? {
        let remaining = (seen_until - now).to_std().unwrap_or_default();
        return Ok(Join::Full { worker: id, remaining, renewal: seen_until });
    }
    execute::<RemoveLongDead>(connection, &[])?;
    let values = [
        (&*worker.id).into(),
        worker.flow.as_str().into(),
        worker.stream.as_str().into(),
        worker.host.as_str().into(),
        i64::from(worker.pid).into(),
        milliseconds(lease).into(),
    ];
    execute::<InsertWorker>(connection, &values)?;
    let partitions = partition_states(connection, &worker.flow, &worker.stream)?;
    Ok(Join::Joined(Membership { live_workers: 1, partitions }))
}

fn begin(
    connection: &mut SqliteConnection,
    worker: &Worker,
    label: &str,
    starts: &[(i32, i64)],
) -> QueryResult<()> {
    if !partition_states(connection, &worker.flow, &worker.stream)?.is_empty() {
        return Ok(());
    }
    for &(partition, next) in starts {
        let (flow, name, label) = (worker.flow.clone(), worker.stream.clone(), label.to_owned());
        let stream = Stream { flow, name, partition, label };
        begin_pass(connection, &stream, 1, &next.into())?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct OtherWorkerRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Timestamp)]
    seen_until: NaiveDateTime,
    #[diesel(sql_type = Timestamp)]
    now: NaiveDateTime,
}

fn other_live_worker(
    connection: &mut SqliteConnection,
    worker: &Worker,
) -> QueryResult<Option<OtherWorkerRow>> {
    sql_query(
        "select id, seen_until, strftime('%Y-%m-%d %H:%M:%f', 'now') as now from workers \
         where id <> ? and seen_until > strftime('%Y-%m-%d %H:%M:%f', 'now') \
         order by seen_until desc limit 1",
    )
    .bind::<Text, _>(&*worker.id)
    .get_result(connection)
    .optional()
}

struct InsertWorker;

impl Statement for InsertWorker {
    const SQL: &'static str = "insert into workers (id, flow, stream, host, pid, seen_at, seen_until) \
        values (?, ?, ?, ?, ?, strftime('%Y-%m-%d %H:%M:%f', 'now'), \
        strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds')) \
        on conflict (id) do update set flow = excluded.flow, stream = excluded.stream, host = excluded.host, \
        pid = excluded.pid, seen_at = excluded.seen_at, seen_until = excluded.seen_until";
}

/// When the clock went back, a worker that was seen in the future counts from now on.
struct SetBack;

impl Statement for SetBack {
    const SQL: &'static str = "update workers set seen_at = strftime('%Y-%m-%d %H:%M:%f', 'now'), \
        seen_until = strftime('%Y-%m-%d %H:%M:%f', 'now', \
        (unixepoch(seen_until, 'subsec') - unixepoch(seen_at, 'subsec')) || ' seconds') \
        where seen_at > strftime('%Y-%m-%d %H:%M:%f', 'now')";
}

struct RemoveLongDead;

impl Statement for RemoveLongDead {
    const SQL: &'static str = "delete from workers \
        where seen_until < strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 day')";
}

struct Leave;

impl Statement for Leave {
    const SQL: &'static str = "delete from workers where id = ?";
}
