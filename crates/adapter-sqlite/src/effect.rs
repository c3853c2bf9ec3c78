//! What a flow's rows do to its tables.

use diesel::connection::SimpleConnection;
use diesel::result::Error;
use diesel::{QueryResult, SqliteConnection};
use tally_domain::Flow;
use tally_ports::{KeyOrder, Migrations, Outcome, Refusal, Row};

use crate::fault;

/// A flow's tables, and what its rows do to them.
pub trait SqliteEffect: Flow {
    /// The flow's tables.
    const MIGRATIONS: Migrations;

    /// Those of its tables whose rows name in `origin` and `position` the record that wrote them; audits compare them
    /// with the ledger.
    const TABLES: &'static [&'static str] = &[];

    /// The one of them that has a row under its `id` for each record that was written, or a newer one; an audit looks for
    /// each record of a source there.
    const BY_ID: Option<&'static str> = None;

    /// Writes `rows`, which stand in order of position and were read from `origin`, inside the commit's transaction;
    /// answers for each of them, in the same order, what became of it.
    ///
    /// # Errors
    /// What is no row's fault: the whole batch is rolled back and tried again.
    fn apply(
        connection: &mut SqliteConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>>;

    /// Writes the effect of a row of a dead letter that is replayed, unless something newer is there: by one statement
    /// that leaves alone a later record of the same origin and any of another one. Those are
    /// [`Outcome::Superseded`]. [`replay_one`] tells what a constraint refuses.
    ///
    /// # Errors
    /// What is not the row's fault.
    fn replay(
        connection: &mut SqliteConnection,
        origin: i64,
        row: &Row<Self>,
    ) -> QueryResult<Outcome>;
}

/// Upserts `rows` one by one with `write`, in the order of their keys and within a key in that of their positions, so
/// that the last one that no constraint refuses is the one that stays. `write` tells how many rows it touched: none means that a trigger
/// left the row out.
///
/// # Errors
/// The first error of `write` that is not a constraint's. A trigger counts as a constraint when the text that it
/// raises begins with `constraint_trigger`.
pub fn upsert_each<F: Flow, K: Ord>(
    connection: &mut SqliteConnection,
    rows: &[Row<F>],
    key: impl Fn(&Row<F>) -> K,
    mut write: impl FnMut(&mut SqliteConnection, &Row<F>) -> QueryResult<usize>,
) -> QueryResult<Vec<Outcome>> {
    let order = KeyOrder::new(rows, key);
    let mut refusals = Vec::with_capacity(rows.len());
    for index in order.all() {
        refusals.push(match write(connection, &rows[index]) {
            Ok(0) => Some(Refusal::new(fault::TRIGGER)), // it said `raise(ignore)`
            Ok(_) => None,
            Err(error) => Some(refused(connection, error)?),
        });
    }
    Ok(order.outcomes_of_all(&refusals))
}

/// Appends `rows` one by one with `write`, in order of position.
///
/// # Errors
/// As [`upsert_each`].
pub fn append_each<F: Flow>(
    connection: &mut SqliteConnection,
    rows: &[Row<F>],
    write: impl FnMut(&mut SqliteConnection, &Row<F>) -> QueryResult<usize>,
) -> QueryResult<Vec<Outcome>> {
    upsert_each(connection, rows, |row| row.position, write)
}

/// Writes one row of a dead letter that is replayed with `write`, which tells how many rows it touched; where that is
/// none, `is_newer_there` tells whether something newer is why, else a trigger left the row out.
///
/// # Errors
/// As [`upsert_each`].
pub fn replay_one(
    connection: &mut SqliteConnection,
    write: impl FnOnce(&mut SqliteConnection) -> QueryResult<usize>,
    is_newer_there: impl FnOnce(&mut SqliteConnection) -> QueryResult<bool>,
) -> QueryResult<Outcome> {
    Ok(match write(connection) {
        Ok(0) if is_newer_there(connection)? => Outcome::Superseded,
        Ok(0) => Outcome::Refused(Refusal::new(fault::TRIGGER)),
        Ok(_) => Outcome::Written,
        Err(error) => Outcome::Refused(refused(connection, error)?),
    })
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
