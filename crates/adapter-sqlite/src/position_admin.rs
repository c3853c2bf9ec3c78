//! Showing and setting positions.

use diesel::sql_types::Text;
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::passed::GAP;
use tally_ports::{
    Act, Fault, Lease, LoggedAct, OnSet, PartitionState, Passed, PositionAdmin, SetTo, Stream,
};
use tally_queries::ledger::PartitionStateRow;
use uuid::Uuid;

use crate::acts::note;
use crate::atomic::transaction;
use crate::positions::{LastPassRow, begin_pass, last_pass, set_back};
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite};

impl PositionAdmin for Sqlite {
    async fn partition_states(
        &self,
        flow: &str,
        stream: &str,
    ) -> Result<Vec<PartitionState>, Fault> {
        let (flow, stream) = (flow.to_owned(), stream.to_owned());
        self.run(move |connection| Ok(partition_states(connection, &flow, &stream)?)).await
    }

    async fn set(
        &self,
        stream: &Stream,
        to: SetTo,
        lease: Option<&Lease>,
        act: &Act,
    ) -> Result<(), Fault> {
        let (stream, lease) = (stream.clone(), lease.copied());
        let logged_act = LoggedAct { id: Uuid::now_v7(), act: act.clone() };
        self.run(move |connection| {
            // Also where nothing is set then.
            transaction(connection, |connection| set_back(connection, &stream))?;
            transaction(connection, |connection| {
                let (pass, first) = set(connection, &stream, &to, lease.as_ref())?.passed();
                if first < to.next {
                    insert_entry(connection, &stream, pass, (first, to.next - 1), &logged_act.act)?;
                }
                Ok(note(connection, &logged_act, &logged_act.act.result)?)
            })
        })
        .await
    }
}

fn set(
    connection: &mut SqliteConnection,
    stream: &Stream,
    to: &SetTo,
    lease: Option<&Lease>,
) -> Result<OnSet, Failure> {
    let last = last_pass(connection, stream)?;
    let decision = OnSet::decide(stream, last.as_ref().map(LastPassRow::last), to, lease)?;
    if let Some(last) = &last {
        execute::<GiveUp>(connection, &[last.id.into()])?;
    }
    match decision {
        OnSet::Begin { number } => begin_pass(connection, stream, number, to)?,
        OnSet::Advance { position, .. } => {
            let (cursor, label) = (to.cursor.to_string(), stream.label.as_str());
            let values = [to.next.into(), cursor.into(), label.into(), position.into()];
            execute::<Move>(connection, &values)?;
        }
    }
    Ok(decision)
}

/// The epoch is raised: a commit in flight of an earlier owner will be refused.
struct GiveUp;

impl Statement for GiveUp {
    const SQL: &'static str = "update positions set epoch = epoch + 1, owner = null, lease_until = null, \
        updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') where id = ?";
}

struct Move;

impl Statement for Move {
    const SQL: &'static str = "update positions set next = ?, cursor = ?, label = ? where id = ?";
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
    pass: i32,
    (first, last): (i64, i64),
    act: &Act,
) -> QueryResult<()> {
    let values = [
        Uuid::now_v7().to_string().into(),
        stream.flow.as_str().into(),
        stream.name.as_str().into(),
        stream.partition.into(),
        pass.into(),
        first.into(),
        last.into(),
        act.reason.as_str().into(),
        Passed::of(GAP, last - first + 1).to_json().to_string().into(),
        act.who.as_str().into(),
    ];
    execute::<InsertEntry>(connection, &values).map(drop)
}

/// The state of each partition of a stream. A lease that was renewed in the future, as the clock went back, counts as free
/// here: a claim finds out whether it is alive.
pub(crate) fn partition_states(
    connection: &mut SqliteConnection,
    flow: &str,
    stream: &str,
) -> QueryResult<Vec<PartitionState>> {
    // With one max() SQLite takes the other columns from the row that has it.
    let found: Vec<PartitionStateRow> = sql_query(
        "select partition, max(pass) as pass, next, cursor, updated_at, \
         case when strftime('%Y-%m-%d %H:%M:%f', 'now') between updated_at and lease_until then owner end as owner \
         from positions where flow = ? and stream = ? group by partition order by partition",
    )
    .bind::<Text, _>(flow)
    .bind::<Text, _>(stream)
    .load(connection)?;
    Ok(found.into_iter().map(PartitionState::from).collect())
}
