//! What people change about positions.

use chrono::NaiveDateTime;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamp};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::passed::GAP;
use tally_ports::{Act, Deed, Fault, Lease, Passed, Standing, Steering, StopKind, Stream};
use uuid::Uuid;

use crate::acts::note;
use crate::atomic::transaction;
use crate::positions::{Place, begin_pass, last_pass, lost, set_back};
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite};

impl Steering for Sqlite {
    async fn standings(&self, flow: &str, stream: &str) -> Result<Vec<Standing>, Fault> {
        let (flow, stream) = (flow.to_owned(), stream.to_owned());
        self.run(move |connection| Ok(standings(connection, &flow, &stream)?)).await
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
        let (stream, lease) = (stream.clone(), lease.copied());
        let deed = Deed { id: Uuid::now_v7(), act: act.clone() };
        self.run(move |connection| {
            // Also where nothing is set then.
            transaction(connection, |connection| set_back(connection, &stream))?;
            transaction(connection, |connection| {
                let skipped = set(connection, &stream, to, lease.as_ref())?;
                if skipped.first < to {
                    insert_entry(connection, &stream, &skipped, to - 1, &deed.act)?;
                }
                Ok(note(connection, &deed, &deed.act.result)?)
            })
        })
        .await
    }
}

/// What was passed without being read: from `first` to where the position was set.
struct Skipped {
    pass: i32,
    first: i64,
}

fn set(
    connection: &mut SqliteConnection,
    stream: &Stream,
    to: i64,
    lease: Option<&Lease>,
) -> Result<Skipped, Failure> {
    let last = last_pass(connection, stream)?;
    check_lease(stream, last.as_ref(), lease)?;
    let Some(last) = last else {
        begin_pass(connection, stream, 1, to)?;
        return Ok(Skipped { pass: 1, first: 0 });
    };
    if last.ended_at.is_some() && to > last.next {
        let message =
            format!("{} has ended at {}: there is nothing further on", stream.label, last.next);
        return Err(Fault::stop(StopKind::Setting, message).into());
    }
    execute::<GiveUp>(connection, &[last.id.into()])?;
    if to <= last.next {
        begin_pass(connection, stream, last.pass + 1, to)?;
        return Ok(Skipped { pass: last.pass + 1, first: 0 });
    }
    execute::<Move>(connection, &[to.into(), stream.label.as_str().into(), last.id.into()])?;
    Ok(Skipped { pass: last.pass, first: last.next })
}

/// Whether whoever holds `lease`, or none, may move the position.
fn check_lease(stream: &Stream, last: Option<&Place>, lease: Option<&Lease>) -> Result<(), Fault> {
    match (last, lease) {
        (Some(last), Some(lease)) if (last.id, last.epoch) == (lease.position, lease.epoch) => {
            Ok(())
        }
        (_, Some(lease)) => Err(lost(lease)),
        (Some(last), None) if let Some((owner, _)) = last.holder() => {
            let (label, partition) = (&stream.label, stream.partition);
            let message =
                format!("partition {partition} of {label} is owned by {owner}: stop it first");
            Err(Fault::stop(StopKind::Taken, message))
        }
        (_, None) => Ok(()),
    }
}

/// The epoch is raised: a commit of an earlier owner that is still under way will be refused.
struct GiveUp;

impl Statement for GiveUp {
    const SQL: &'static str = "update positions set epoch = epoch + 1, owner = null, lease_until = null, \
        updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') where id = ?";
}

struct Move;

impl Statement for Move {
    const SQL: &'static str =
        "update positions set next = ?, cursor = 'null', label = ? where id = ?";
}

struct InsertEntry;

impl Statement for InsertEntry {
    const SQL: &'static str = "insert into batches \
        (id, flow, stream, partition, pass, first, last, read, written, superseded, skipped, dead_lettered, quality, \
        gap, passed, started_at, committed_at, worker) \
        values (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, '{}', ?, ?, strftime('%Y-%m-%d %H:%M:%f', 'now'), \
        strftime('%Y-%m-%d %H:%M:%f', 'now'), ?)";
}

fn insert_entry(
    connection: &mut SqliteConnection,
    stream: &Stream,
    skipped: &Skipped,
    last: i64,
    act: &Act,
) -> QueryResult<()> {
    let values = [
        Uuid::now_v7().to_string().into(),
        stream.flow.as_str().into(),
        stream.name.as_str().into(),
        stream.partition.into(),
        skipped.pass.into(),
        skipped.first.into(),
        last.into(),
        act.reason.as_str().into(),
        Passed::of(GAP, last - skipped.first + 1).to_json().to_string().into(),
        act.who.as_str().into(),
    ];
    execute::<InsertEntry>(connection, &values).map(drop)
}

/// Where each partition of a stream stands. Of a lease that was renewed at a time that is still to come nobody knows
/// whether it is alive: a claim finds out.
pub(crate) fn standings(
    connection: &mut SqliteConnection,
    flow: &str,
    stream: &str,
) -> QueryResult<Vec<Standing>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Integer)]
        partition: i32,
        #[diesel(sql_type = Integer)]
        pass: i32,
        #[diesel(sql_type = BigInt)]
        next: i64,
        #[diesel(sql_type = Nullable<Text>)]
        owner: Option<String>,
        #[diesel(sql_type = Timestamp)]
        updated_at: NaiveDateTime,
    }
    // With one max() SQLite takes the other columns from the row that has it.
    let found: Vec<Found> = sql_query(
        "select partition, max(pass) as pass, next, updated_at, \
         case when strftime('%Y-%m-%d %H:%M:%f', 'now') between updated_at and lease_until then owner end as owner \
         from positions where flow = ? and stream = ? group by partition order by partition",
    )
    .bind::<Text, _>(flow)
    .bind::<Text, _>(stream)
    .load(connection)?;
    let standing = |Found { partition, pass, next, owner, updated_at }| Standing {
        partition,
        pass,
        next,
        owner,
        updated_at,
    };
    Ok(found.into_iter().map(standing).collect())
}
