//! What a flow's rows do to its tables.

use diesel::connection::SimpleConnection;
use diesel::result::Error;
use diesel::{QueryResult, SqliteConnection};
use tally_domain::Flow;
use tally_ports::{KeyOrder, Migrations, Outcome, Row};

use crate::fault;

/// A flow's tables, and what its rows do to them.
pub trait SqliteEffect: Flow {
    /// The flow's tables.
    const MIGRATIONS: Migrations;

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
    let mut codes = Vec::with_capacity(rows.len());
    for index in order.all() {
        codes.push(match write(connection, &rows[index]) {
            Ok(0) => Some(fault::TRIGGER.to_owned()), // it said `raise(ignore)`
            Ok(_) => None,
            Err(error) => Some(refused(connection, error)?.to_owned()),
        });
    }
    Ok(order.outcomes_of_all(&codes))
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

/// The code of the constraint that refused a row, or the error when it is none.
fn refused(connection: &mut SqliteConnection, error: Error) -> QueryResult<&'static str> {
    let Some(code) = fault::refusal(&error) else { return Err(error) };
    // A constraint or a trigger of a flow's own may say `rollback`, which ends the whole transaction; the rows after it
    // would then be written for good, each by itself. Only outside of a transaction can one be begun.
    match connection.batch_execute("begin") {
        Ok(()) => Err(error),
        Err(_) => Ok(code),
    }
}
