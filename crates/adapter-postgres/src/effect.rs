//! What records do to a flow's tables.

use diesel::result::{DatabaseErrorKind as Kind, Error};
use diesel::sql_types::BigInt;
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use metrics::counter;
use tally_domain::TableKind;
use tally_ports::{Fault, Origin, Outcome, Row, Together, Verdict, Writes, metric};

use crate::connection::{Session, within};
use crate::query::{Bound, Dynamic};
use crate::singly::{self, Function};
use crate::{fault, table};

/// Begins the transaction of a commit; when the rows cannot be written together, it rolls back to the savepoint `effect`.
/// Deferred constraints are checked with each statement: at COMMIT it would be unknown which row is at fault.
pub(crate) const BEGIN: &str = "begin isolation level read committed read write; set constraints all immediate; \
    savepoint effect";

/// Carries out the writes of `rows`, which are in order of position and were read from `range`: together, else row by row.
pub(crate) async fn write(
    session: &mut Session,
    origin: &Origin<'_>,
    range: (i64, i64),
    rows: &[Row],
) -> Result<Vec<Outcome>, Fault> {
    let writes = Writes::new(origin.flow, rows)?;
    let (connection, limit) = session.parts();
    let together = write_together(connection, origin, range, &writes, rows.len());
    let why = match within(limit, together).await? {
        Ok(verdicts) => return Ok(writes.outcomes(&verdicts)),
        Err(why) => why,
    };
    // Fails if the connection is lost.
    session.run("rollback to savepoint effect").await?;
    let (connection, limit) = session.parts();
    let singly = async {
        let function = Function::of(origin.flow);
        let is_known = function.prepare(connection, constraint(&why)).await?;
        note(origin, &why, is_known);
        singly::write(connection, &function, origin, range, rows, &writes).await
    };
    let verdicts = within(limit, singly).await?.map_err(|error| fault::of_rows(&error))?;
    Ok(writes.outcomes(&verdicts))
}

/// Carries out the writes of a dead letter's row, unless something newer is there.
pub(crate) async fn replay(
    session: &mut Session,
    origin: &Origin<'_>,
    row: &Row,
) -> Result<Outcome, Fault> {
    let writes = Writes::new(origin.flow, std::slice::from_ref(row))?;
    let (connection, limit) = session.parts();
    let singly = async {
        let function = Function::of(origin.flow);
        function.prepare(connection, None).await?;
        singly::replay(connection, &function, origin, row, &writes).await
    };
    let verdicts = within(limit, singly).await?.map_err(|error| fault::of_rows(&error))?;
    Ok(writes.outcomes(&verdicts).remove(0))
}

/// Why rows are written row by row.
enum Apart {
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

/// The constraint that the error names; a trigger may have put any text there.
fn constraint(why: &Apart) -> Option<&str> {
    match why {
        Apart::Failed(Error::DatabaseError(_, info)) => info.constraint_name(),
        _ => None,
    }
}

fn note(origin: &Origin<'_>, why: &Apart, is_known: bool) {
    let flow = origin.flow.name();
    counter!(metric::ROW_BY_ROW_BATCHES, "flow" => flow.to_owned()).increment(1);
    let sqlstate = match why {
        Apart::LeftOut => "02000",
        Apart::TooLarge => "22003",
        Apart::Failed(Error::DatabaseError(kind, _)) => match kind {
            Kind::UniqueViolation => "23505",
            Kind::ForeignKeyViolation => "23503",
            Kind::RestrictViolation => "23001",
            Kind::ExclusionViolation => "23P01",
            Kind::NotNullViolation => "23502",
            Kind::CheckViolation => "23514",
            Kind::SerializationFailure => "40001",
            _ => "unknown",
        },
        Apart::Failed(_) => "unknown",
    };
    let constraint = constraint(why).filter(|_| is_known).unwrap_or_default();
    tracing::debug!(
        flow,
        sqlstate,
        constraint,
        "a batch cannot be written at once: writing it row by row"
    );
}

async fn write_together(
    connection: &mut AsyncPgConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
    writes: &Writes<'_>,
    rows: usize,
) -> Result<Vec<Verdict>, Apart> {
    let appended = origin.flow.tables().iter().filter(|table| table.kind == TableKind::Appended);
    for table in appended {
        let place = vec![
            Bound::Text(origin.flow.name()),
            Bound::Text(origin.stream),
            Bound::Integer(origin.partition),
            Bound::BigInt(origin.log),
            Bound::BigInt(first),
            Bound::BigInt(last),
        ];
        Dynamic::new(table::clear(table, ["?"; 6]), place).execute(connection).await?;
    }
    let mut verdicts = vec![Verdict::DONE; rows];
    for together in writes.together().ok_or(Apart::TooLarge)? {
        let mut seen = table::upsert(&together, origin).execute(connection).await?;
        if seen < together.rows.len() {
            for slot in newer(connection, origin, &together).await? {
                writes.supersede(&together.rows[slot], &mut verdicts);
                seen += 1;
            }
        }
        if seen != together.rows.len() {
            return Err(Apart::LeftOut); // writing row by row finds out which
        }
    }
    Ok(verdicts)
}

/// The indices of those rows that met something newer.
async fn newer(
    connection: &mut AsyncPgConnection,
    origin: &Origin<'_>,
    together: &Together<'_>,
) -> QueryResult<Vec<usize>> {
    #[derive(QueryableByName)]
    struct SlotRow {
        #[diesel(sql_type = BigInt)]
        slot: i64,
    }
    let Some(query) = table::newer(together, origin) else { return Ok(Vec::new()) };
    let found: Vec<SlotRow> = query.load(connection).await?;
    let index = |SlotRow { slot }| usize::try_from(slot - 1).ok();
    Ok(found.into_iter().filter_map(index).filter(|&index| index < together.rows.len()).collect())
}
