//! Transactions.

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::result::Error;

/// Runs `work` in a transaction that may write from its first statement on, and commits it; rolls back after an error.
/// Waits for other processes that write, at most a lease.
pub(crate) fn transaction<T, E: From<Error>>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, E>,
) -> Result<T, E> {
    transaction_from(connection, "begin immediate", work)
}

/// A [`transaction`] that excludes readers as well.
pub(crate) fn exclusive_transaction<T, E: From<Error>>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, E>,
) -> Result<T, E> {
    transaction_from(connection, "begin exclusive", work)
}

fn transaction_from<T, E: From<Error>>(
    connection: &mut SqliteConnection,
    begin: &str,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, E>,
) -> Result<T, E> {
    AnsiTransactionManager::begin_transaction_sql(connection, begin)?;
    match work(connection) {
        Ok(value) => {
            AnsiTransactionManager::commit_transaction(connection)?;
            Ok(value)
        }
        Err(error) => {
            // After some errors SQLite has rolled back by itself and this fails; the first error is the one to report.
            // A connection that is still inside a transaction after it is given up.
            let _ = AnsiTransactionManager::rollback_transaction(connection);
            Err(error)
        }
    }
}

/// Whether no transaction is open or broken.
pub(crate) fn is_idle(connection: &mut SqliteConnection) -> bool {
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    matches!(status.transaction_depth(), Ok(None))
}
