//! Commits a batch in one transaction.

use std::sync::Arc;

use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{BigInt, Text};
use diesel::{
    OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query,
};
use serde_json::Value;
use tally_ports::{
    Commit, Committed, Earlier, Fault, LogRange, Outcome, Sink, Stop, StopKind, Writes, failpoint,
    notes_ranges,
};
use tally_queries::earlier::CLOSE_OUTDATED;
use tally_queries::ledger::{RECORDED, Recorded};

use crate::atomic::transaction;
use crate::effect::{self, Apart};
use crate::positions::milliseconds;
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite, dead_letters, earlier, outbox};

impl Sink for Sqlite {
    async fn commit(&self, commit: &Arc<Commit>) -> Result<Committed, Fault> {
        let commit = Arc::clone(commit);
        self.run(move |connection| {
            let together = transaction(connection, |connection| together(connection, &commit));
            let written = match together {
                Ok(committed) => Ok(committed),
                Err(NotTogether::NotWritten(why)) => Err(why),
                Err(NotTogether::Apart(why)) => {
                    why.note(commit.flow.name());
                    transaction(connection, |connection| singly(connection, &commit))
                }
            };
            match written {
                Ok(committed) => Ok(committed),
                Err(NotWritten::Misplaced) => answer_from_ledger(connection, &commit),
                Err(NotWritten::Failed(failure)) => Err(failure),
            }
        })
        .await
    }

    async fn earlier(&self, range: &LogRange) -> Result<Earlier, Fault> {
        let range = range.clone();
        self.run(move |connection| {
            let positions = (range.first, range.last);
            Ok(earlier::of(connection, &range.origin(), positions)?)
        })
        .await
    }
}

/// Why a transaction that wrote the rows together is rolled back.
enum NotTogether {
    /// They must be written row by row.
    Apart(Apart),
    NotWritten(NotWritten),
}

impl From<Error> for NotTogether {
    fn from(error: Error) -> Self {
        Self::NotWritten(error.into())
    }
}

/// Why nothing of a batch was written.
enum NotWritten {
    /// The position is not ours or not at the batch's start, or the batch was committed before.
    Misplaced,
    Failed(Failure),
}

impl From<Error> for NotWritten {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

fn together(connection: &mut SqliteConnection, commit: &Commit) -> Result<Committed, NotTogether> {
    let (origin, range) = (commit.origin(), (commit.first, commit.last));
    let earlier = earlier_of(connection, commit)?;
    let rows = earlier.without_counted(&commit.rows);
    let writes = Writes::new(origin.flow, &rows)
        .map_err(|stop| NotTogether::NotWritten(NotWritten::from(stop)))?;
    let outcomes = effect::write_together(connection, &origin, range, &rows, &writes)
        .map_err(NotTogether::Apart)?;
    conclude(connection, commit, &earlier, outcomes).map_err(NotTogether::NotWritten)
}

fn singly(connection: &mut SqliteConnection, commit: &Commit) -> Result<Committed, NotWritten> {
    let (origin, range) = (commit.origin(), (commit.first, commit.last));
    let earlier = earlier_of(connection, commit)?;
    let rows = earlier.without_counted(&commit.rows);
    let writes = Writes::new(origin.flow, &rows)?;
    let outcomes = effect::write_singly(connection, &origin, range, &rows, &writes)?;
    conclude(connection, commit, &earlier, outcomes)
}

/// A first pass has no earlier ones.
fn earlier_of(connection: &mut SqliteConnection, commit: &Commit) -> QueryResult<Earlier> {
    if commit.pass == 1 {
        return Ok(Earlier::default());
    }
    earlier::of(connection, &commit.origin(), (commit.first, commit.last))
}

/// After the rows, writes the dead letters, the ledger's entry and, last, the position, if it is still ours.
fn conclude(
    connection: &mut SqliteConnection,
    commit: &Commit,
    earlier: &Earlier,
    outcomes: Vec<Outcome>,
) -> Result<Committed, NotWritten> {
    let (origin, outcomes) = (commit.origin(), Earlier::outcomes(&commit.rows, outcomes));
    earlier::close(connection, &origin, earlier, &commit.rows, &outcomes, CLOSE_OUTDATED)?;
    earlier::outdate(connection, commit, &outcomes)?;
    if notes_ranges(origin.flow) {
        earlier::note_counted(connection, &origin, (commit.first, commit.last))?;
    }
    let (committed, refused) = commit.conclude(&outcomes)?;
    dead_letters::insert(connection, commit, commit.dead_letters.iter().chain(&refused))
        .map_err(misplaced_if_there)?;
    if commit.pass > 1 && !(commit.dead_letters.is_empty() && refused.is_empty()) {
        earlier::take_over(connection, commit)?;
    }
    let records = commit.to_outbox(&earlier.without_counted(&commit.rows), &outcomes)?;
    let at = (commit.lease.position_id, commit.lease.epoch);
    if !outbox::insert(connection, &origin, at, &records)? {
        return Err(NotWritten::Misplaced);
    }
    let detail = commit.detail(&outcomes);
    insert_entry(connection, commit, &committed, detail).map_err(misplaced_if_there)?;
    if !move_position(connection, commit)? {
        return Err(NotWritten::Misplaced);
    }
    failpoint("commit-before");
    Ok(committed)
}

impl From<Stop> for NotWritten {
    fn from(stop: Stop) -> Self {
        Self::Failed(Fault::from(stop).into())
    }
}

/// Dead letters and entries that already exist belong to a batch that was committed before.
fn misplaced_if_there(error: Error) -> NotWritten {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => NotWritten::Misplaced,
        other => other.into(),
    }
}

struct InsertEntry;

impl Statement for InsertEntry {
    const SQL: &'static str = "insert into batches \
        (id, flow, stream, partition, pass, first, last, read, written, superseded, skipped, dead_lettered, quality, \
        passed, detail, started_at, committed_at, worker) \
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
        strftime('%Y-%m-%d %H:%M:%f', 'now', (? / -1000.0) || ' seconds'), strftime('%Y-%m-%d %H:%M:%f', 'now'), ?)";
}

fn insert_entry(
    connection: &mut SqliteConnection,
    commit: &Commit,
    committed: &Committed,
    detail: Option<Value>,
) -> QueryResult<()> {
    let stream = &*commit.stream;
    let dead_lettered = commit.dead_letters.len() + committed.refused.len();
    let values = [
        commit.id.to_string().into(),
        stream.flow.as_str().into(),
        stream.name.as_str().into(),
        stream.partition.into(),
        commit.pass.into(),
        commit.first.into(),
        commit.last.into(),
        commit.read.into(),
        committed.written.into(),
        committed.superseded.into(),
        committed.skipped.into(),
        i64::try_from(dead_lettered).unwrap_or(i64::MAX).into(),
        json(&commit.quality)?.into(),
        commit.passed.to_json().to_string().into(),
        detail.map(|detail| detail.to_string()).into(),
        milliseconds(commit.started.elapsed()).into(),
        (&*commit.worker).into(),
    ];
    execute::<InsertEntry>(connection, &values).map(drop)
}

struct MovePosition;

impl Statement for MovePosition {
    const SQL: &'static str = "update positions set next = ?, cursor = ?, stats = ?, \
        lease_until = case when owner is null then null else strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds') end, \
        updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') \
        where id = ? and epoch = ? and next = ? and ended_at is null";
}

/// Moves the position to the batch's end and renews the lease; `false` if the position is not ours or not at the batch's
/// start.
fn move_position(connection: &mut SqliteConnection, commit: &Commit) -> QueryResult<bool> {
    let values = [
        (commit.last + 1).into(),
        json(&commit.cursor)?.into(),
        json(&commit.stats)?.into(),
        milliseconds(commit.lease.duration).into(),
        commit.lease.position_id.into(),
        commit.lease.epoch.into(),
        commit.first.into(),
    ];
    Ok(execute::<MovePosition>(connection, &values)? == 1)
}

/// The outcome of a batch that could not be written: it was written before, the position is another owner's, or it
/// is elsewhere.
fn answer_from_ledger(
    connection: &mut SqliteConnection,
    commit: &Commit,
) -> Result<Committed, Failure> {
    #[derive(QueryableByName)]
    struct PositionRow {
        #[diesel(sql_type = BigInt)]
        epoch: i64,
        #[diesel(sql_type = BigInt)]
        next: i64,
    }
    let recorded: Option<Recorded> = sql_query(RECORDED)
        .bind::<Text, _>(commit.id.to_string())
        .get_result(connection)
        .optional()?;
    if let Some(recorded) = recorded {
        return Ok(recorded.committed(dead_letters::refused(connection, commit)?));
    }

    let position = commit.lease.position_id;
    let row: Option<PositionRow> = sql_query("select epoch, next from positions where id = ?")
        .bind::<BigInt, _>(position)
        .get_result(connection)
        .optional()?;
    let label = &commit.stream.label;
    Err(Failure::Fault(match row {
        Some(PositionRow { epoch, next })
            if epoch == commit.lease.epoch && next == commit.first =>
        {
            let (first, last) = (commit.first, commit.last);
            Fault::stop(
                StopKind::Data,
                format!(
                    "{label} from {first} to {last} cannot be committed: parts of it are in the ledger or among the dead letters already"
                ),
            )
        }
        Some(PositionRow { epoch, next }) if epoch == commit.lease.epoch => Fault::outage(format!(
            "position {position} of {label} is at {next} and not at {}, where the batch begins",
            commit.first
        )),
        _ => Fault::stop(
            StopKind::Taken,
            format!("position {position} of {label} was taken over by another process"),
        ),
    }))
}

fn json(value: &impl serde::Serialize) -> QueryResult<String> {
    serde_json::to_string(value).map_err(|error| Error::SerializationError(error.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use diesel::connection::SimpleConnection;
    use tally_domain::transactions::Transactions;
    use tally_ports::{Begin, Claim, Positions};
    use tally_testkit::build::{LONG, TOLERANCE, plain_commit, stream};

    use super::*;
    use crate::Settings;

    async fn set(sqlite: &Sqlite, pragma: &'static str) {
        sqlite.run(move |connection| Ok(connection.batch_execute(pragma)?)).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_an_outage_and_then_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tally.db");
        let settings = Settings { path, lease: Duration::from_secs(5), migrate: true };
        let sqlite = Sqlite::open(&settings, &tally_flows::all()).unwrap();
        let stream = stream::<Transactions>("file/1");
        let Ok(Claim::Owned(position)) = sqlite.claim(&stream, "a", LONG, Begin::default()).await
        else {
            panic!("not owned")
        };
        let batch = Arc::new(plain_commit(&position, &stream, 0..=999));

        set(&sqlite, "pragma max_page_count = 1").await; // no more than it has
        for _ in 0..2 {
            let Err(Fault::Outage { message, .. }) = sqlite.commit(&batch).await else {
                panic!("committed")
            };
            assert!(message.contains("database or disk is full"), "{message}");
        }
        set(&sqlite, "pragma max_page_count = 1000000").await;
        assert_eq!(sqlite.commit(&batch).await.unwrap().written, 1_000);
        sqlite.finish(&position.lease, 1_000, TOLERANCE).await.unwrap();
    }
}
