//! What records do to a flow's tables.

use diesel::connection::SimpleConnection;
use diesel::result::Error;
use diesel::{QueryResult, SqliteConnection};
use metrics::counter;
use tally_domain::{Table, TableKind};
use tally_ports::{Origin, Outcome, Refusal, Row, Together, TogetherRow, Verdict, Writes, metric};

use crate::statement::{execute_dynamic, query_bool};
use crate::{Failure, fault, table};

/// How many rows one statement writes, to spread its cost. With more of them SQLite keeps more pages for undoing the
/// statement.
const AT_ONCE: usize = 16;

/// The most values that a statement may have.
const MOST_VALUES: usize = 32_766;

/// Carries out the writes of a dead letter's row, unless something newer is there.
///
/// # Errors
/// Any failure that is not the row's fault.
pub(crate) fn replay(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    row: &Row,
) -> Result<Outcome, Failure> {
    let rows = std::slice::from_ref(row);
    let writes = Writes::new(origin.flow, rows).map_err(tally_ports::Fault::from)?;
    connection.batch_execute("savepoint effect")?;
    clear(connection, origin, row.position, row.position)?;
    let verdict = write_row(connection, origin, &writes, 0, true)?;
    if matches!(verdict, Verdict::Refused(_)) {
        connection.batch_execute("rollback to effect")?;
    }
    connection.batch_execute("release effect")?;
    Ok(writes.outcomes(&[verdict]).remove(0))
}

/// Why rows cannot be written together.
pub(crate) enum Apart {
    /// Fewer rows were touched than written: a trigger left some out.
    LeftOut,
    /// A sum is too large for 64 bits.
    TooLarge,
    Failed(Error),
}

impl From<Error> for Apart {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Apart {
    /// Logs that a batch of `flow` is written row by row, and why.
    pub(crate) fn note(&self, flow: &str) {
        counter!(metric::ROW_BY_ROW_BATCHES, "flow" => flow.to_owned()).increment(1);
        let (code, constraint) = match self {
            Self::LeftOut => (fault::TRIGGER.to_owned(), None),
            Self::TooLarge => ("a sum is too large".to_owned(), None),
            Self::Failed(error) => match fault::refusal(error) {
                Some(Refusal { code, constraint }) => (code, constraint),
                None => (fault::text(error), None),
            },
        };
        let constraint = constraint.unwrap_or_default();
        tracing::debug!(
            flow,
            code,
            constraint,
            "a batch cannot be written at once: writing it row by row"
        );
    }
}

/// Deletes the rows that an earlier pass over these positions appended.
fn clear(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    first: i64,
    last: i64,
) -> QueryResult<()> {
    for table in origin.flow.tables() {
        if table.kind == TableKind::Appended {
            let place = [
                origin.flow.name().into(),
                origin.stream.into(),
                origin.partition.into(),
                origin.log.into(),
                first.into(),
                last.into(),
            ];
            execute_dynamic(connection, &table::clear(table), &place)?;
        }
    }
    Ok(())
}

/// Carries out the writes of `rows`, which are in order of position and were read from `range`; returns the outcome of each
/// row, in the same order.
///
/// # Errors
/// When not all of it can be written. A part may be: the caller rolls the transaction back and begins another to write
/// [row by row](write_singly). (A savepoint would cost each row a third more.)
pub(crate) fn write_together(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
    rows: &[Row],
    writes: &Writes<'_>,
) -> Result<Vec<Outcome>, Apart> {
    clear(connection, origin, first, last)?;
    let mut verdicts = vec![Verdict::DONE; rows.len()];
    for Together { table, rows } in writes.together().ok_or(Apart::TooLarge)? {
        let mut left = &rows[..];
        let mut made = (0, String::new());
        while !left.is_empty() {
            let count = at_once(table, left.len());
            if made.0 != count {
                made = (count, table::upsert(table, count, false));
            }
            let (now, later) = left.split_at(count);
            let mut values = Vec::new();
            for row in now {
                table::bind(&mut values, table, origin, row);
            }
            let mut seen = execute_dynamic(connection, &made.1, &values)?;
            if seen < count {
                for row in now {
                    if is_newer_there(connection, origin, table, row, false)? {
                        writes.supersede(row, &mut verdicts);
                        seen += 1;
                    }
                }
            }
            if seen != count {
                return Err(Apart::LeftOut);
            }
            left = later;
        }
    }
    Ok(writes.outcomes(&verdicts))
}

/// How many of these rows one statement writes: powers of two, so that few statements are kept.
fn at_once(table: &Table, rows: usize) -> usize {
    let mut count = AT_ONCE;
    while count > 1 && (count > rows || count * (table.columns.len() + 6) > MOST_VALUES) {
        count /= 2;
    }
    count
}

/// As [`write_together`], but a row that the database refuses costs only itself.
///
/// # Errors
/// Any failure that is not a row's fault: the whole batch is rolled back and tried again.
pub(crate) fn write_singly(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
    rows: &[Row],
    writes: &Writes<'_>,
) -> QueryResult<Vec<Outcome>> {
    clear(connection, origin, first, last)?;
    let mut verdicts = vec![Verdict::DONE; rows.len()];
    for &index in writes.order() {
        verdicts[index] = write_row(connection, origin, writes, index, false)?;
    }
    Ok(writes.outcomes(&verdicts))
}

/// Carries out all writes of a record, or none.
fn write_row(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    writes: &Writes<'_>,
    index: usize,
    is_replay: bool,
) -> QueryResult<Verdict> {
    let is_several = writes.alone(index).nth(1).is_some();
    if is_several {
        connection.batch_execute("savepoint record")?;
    }
    let mut superseded = Vec::new();
    let mut refusal = None;
    for (number, (table, row)) in writes.alone(index).enumerate() {
        match write_alone(connection, origin, table, &row, is_replay)? {
            Alone::Written => {}
            Alone::Superseded => superseded.push(number),
            Alone::Refused(why) => {
                refusal = Some(why);
                break;
            }
        }
    }
    if is_several {
        if refusal.is_some() {
            connection.batch_execute("rollback to record")?;
        }
        connection.batch_execute("release record")?;
    }
    Ok(refusal.map_or(Verdict::Done { superseded }, Verdict::Refused))
}

/// The outcome of one write.
enum Alone {
    Written,
    Superseded,
    Refused(Refusal),
}

fn write_alone(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    table: &Table,
    row: &TogetherRow<'_>,
    is_replay: bool,
) -> QueryResult<Alone> {
    let mut values = Vec::new();
    table::bind(&mut values, table, origin, row);
    match execute_dynamic(connection, &table::upsert(table, 1, is_replay), &values) {
        Ok(0) if is_newer_there(connection, origin, table, row, is_replay)? => {
            Ok(Alone::Superseded)
        }
        Ok(0) => Ok(Alone::Refused(Refusal::new(fault::TRIGGER))), // it said `raise(ignore)`
        Ok(_) => Ok(Alone::Written),
        Err(error) => refused(connection, error).map(Alone::Refused),
    }
}

fn is_newer_there(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    table: &Table,
    row: &TogetherRow<'_>,
    is_replay: bool,
) -> QueryResult<bool> {
    let Some(question) = table::is_newer_there(table, is_replay) else { return Ok(false) };
    let mut values = Vec::new();
    table::bind(&mut values, table, origin, row);
    query_bool(connection, &question, &values)
}

/// Why a constraint refused a row, or the error when it is none.
fn refused(connection: &mut SqliteConnection, error: Error) -> QueryResult<Refusal> {
    let Some(refusal) = fault::refusal(&error) else { return Err(error) };
    // A constraint or a trigger of a flow's own may say `rollback`, which ends the whole transaction; the rows after it
    // would then be written for good, each by itself. Only outside of a transaction can one be begun.
    match connection.batch_execute("begin") {
        Ok(()) => Err(error),
        Err(_) => Ok(refusal),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tally_ports::{Begin, Claim, Positions};
    use tally_testkit::accounts::{Accounts, account, happening, no_account, price, record, total};
    use tally_testkit::build::{self, LONG, stream};

    use super::*;
    use crate::atomic::transaction;
    use crate::{Settings, Sqlite};

    /// Every kind of write, more rows than one statement takes, and versions that something newer supersedes.
    #[tokio::test]
    async fn good_rows_are_written_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tally.db");
        let settings = Settings { path, lease: Duration::from_secs(5), migrate: true };
        let sqlite = Sqlite::open(&settings, &[Accounts::known()]).unwrap();
        let stream = stream::<Accounts>("group/topic");
        let claim = sqlite.claim(&stream, "a", LONG, Begin::default()).await.unwrap();
        let Claim::Owned(position) = claim else { panic!("{claim:?}") };
        let several = |at: i64| {
            let item = format!("item {at}");
            let writes =
                [account(at, "a"), price(&item, "09:00:00", at), happening("a"), total("day", at)];
            record(at, writes)
        };
        let write = async |rows: Vec<Row>| {
            let range = 0..=rows.last().unwrap().position;
            let commit = build::commit(&position, &stream, range, rows, vec![]);
            let outcomes = sqlite.run(move |connection| {
                transaction(connection, |connection| {
                    let (origin, rows) = (commit.origin(), &commit.rows);
                    let writes =
                        Writes::new(origin.flow, rows).map_err(tally_ports::Fault::from)?;
                    match write_together(connection, &origin, (0, 0), rows, &writes) {
                        Ok(outcomes) => Ok(outcomes),
                        Err(Apart::Failed(error)) => Err(Failure::from(error)),
                        Err(Apart::LeftOut | Apart::TooLarge) => {
                            panic!("rows that no trigger left out and no sum that is too large")
                        }
                    }
                })
            });
            outcomes.await.unwrap()
        };
        let count = 3 * i64::try_from(AT_ONCE).unwrap() + 7;
        let outcomes = write((1..=count).map(several).collect()).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Written), "{outcomes:?}");
        let older =
            |id: i64| record(0, [if id % 2 == 0 { account(id, "b") } else { no_account(id) }]);
        let mut rows: Vec<Row> = (1..=count).map(older).collect();
        rows.push(record(count + 1, [account(1, "c")]));
        let outcomes = write(rows).await;
        let (last, others) = outcomes.split_last().unwrap();
        assert_eq!(*last, Outcome::Written);
        assert!(others.iter().all(|outcome| *outcome == Outcome::Superseded), "{others:?}");
    }
}
