//! The connection: how it is opened, and its transactions.

use std::path::Path;

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{Fault, Migrations, StopKind};

use crate::{Settings, fault, migrate};

/// FULL: a commit that was answered survives a power cut too; it is synced at every commit and not only now and then.
const DURABLE: &str = "pragma synchronous = full";

/// Opens the database and brings its tables up to date.
pub(crate) fn open(settings: &Settings, migrations: &[Migrations]) -> Result<SqliteConnection, Fault> {
    let path = &settings.path;
    if !settings.migrate && !path.exists() {
        let message = format!("there is no database {} and migrations are not to be run", path.display());
        return Err(Fault::stop(StopKind::Setting, message));
    }
    let mut connection = establish(settings)?;
    migrate::run(&mut connection, settings, migrations)?;
    tune(&mut connection, path)?;
    Ok(connection)
}

/// Opens a database that was open before.
pub(crate) fn connect(settings: &Settings) -> Result<SqliteConnection, Fault> {
    let mut connection = establish(settings)?;
    tune(&mut connection, &settings.path)?;
    Ok(connection)
}

fn establish(settings: &Settings) -> Result<SqliteConnection, Fault> {
    let path = &settings.path;
    let cannot = |why: &str| {
        Fault::stop(StopKind::Setting, format!("cannot open the database {}: {why}", path.display()))
    };
    // A file may be called `file:x` or `:memory:`, which would mean something else to SQLite.
    let plain = if path.is_absolute() { path.clone() } else { Path::new(".").join(path) };
    let plain = plain.to_str().ok_or_else(|| cannot("its path is not UTF-8"))?;
    let mut connection = SqliteConnection::establish(plain).map_err(|error| cannot(&error.to_string()))?;

    let busy_timeout = format!("pragma busy_timeout = {}", settings.lease.as_millis().min(i32::MAX as u128));
    connection.batch_execute(&busy_timeout).map_err(|error| fault::at_open(path, &error))?;
    Ok(connection)
}

fn tune(connection: &mut SqliteConnection, path: &Path) -> Result<(), Fault> {
    let at_open = |error| fault::at_open(path, &error);
    let mode: JournalMode = sql_query("pragma journal_mode = wal").get_result(connection).map_err(at_open)?;
    if mode.journal_mode != "wal" {
        let message = format!("{}: its file system has no write-ahead log; use a local one", path.display());
        return Err(Fault::stop(StopKind::Setting, message));
    }
    connection.batch_execute(DURABLE).map_err(at_open)
}

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

/// Runs `work` in a transaction that may write from its first statement on, and commits it; rolls back after an error.
pub(crate) fn transaction<T, E: From<diesel::result::Error>>(
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
            // After some errors SQLite has rolled back by itself and this fails; the first error is the one to tell.
            // A connection that is still inside a transaction after it is given up.
            let _ = AnsiTransactionManager::rollback_transaction(connection);
            Err(error)
        }
    }
}

/// Whether no transaction is open and none went wrong.
pub(crate) fn is_idle(connection: &mut SqliteConnection) -> bool {
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    matches!(status.transaction_depth(), Ok(None))
}
