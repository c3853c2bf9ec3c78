//! Sink, positions, leases, ledger and dead letters on an embedded `SQLite` file.
//!
//! There is one writer connection. Everything that one call of a port does is one closure on a thread that may
//! block; once begun it runs to its end, even if the caller is dropped.
//!
//! What a flow writes is made from its description of its tables; [`Sqlite::open`] takes the flow with the scripts that make
//! them. Nothing here changes for a flow.

mod acts;
mod atomic;
mod audit;
mod commit;
mod connection;
mod counters;
mod dead_letter_relay;
mod dead_letters;
mod described;
mod earlier;
mod effect;
mod fault;
mod files;
mod migrate;
mod outbox;
mod position_admin;
mod positions;
mod replay;
mod retention;
mod statement;
mod table;
mod workers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use diesel;
use diesel::SqliteConnection;
use tally_ports::{Fault, KnownFlow};

pub use self::audit::SqliteLedgerReader;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file; it is created when it does not exist.
    pub path: PathBuf,
    /// How long to wait for another writer.
    pub lease: Duration,
    /// Whether to create or update the tables; otherwise missing ones are a fault.
    pub migrate: bool,
}

/// A database file, opened by this process.
#[derive(Debug)]
pub struct Sqlite {
    settings: Arc<Settings>,
    writer: Arc<Writer>,
}

/// The idle connection; `None` before its first use and after it broke.
#[derive(Default)]
struct Writer(Mutex<Option<SqliteConnection>>);

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Sqlite {
    /// Opens the file and brings the tables of the ledger and those of `flows` up to date. Blocks for as long as
    /// another process migrates or writes, at most a lease.
    ///
    /// # Errors
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting) when the file cannot be opened or written, is no
    /// database, is newer than this program, was made by something else, or has migrations pending that may not be
    /// run; an outage when the disk is full or another process holds the database for longer than a lease.
    pub fn open(settings: &Settings, flows: &[KnownFlow]) -> Result<Self, Fault> {
        let connection = connection::open(settings, flows)?;
        let writer = Writer(Mutex::new(Some(connection)));
        Ok(Self { settings: Arc::new(settings.clone()), writer: Arc::new(writer) })
    }

    /// Runs `work` on the connection, on a thread that may block, to its end.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Fault> {
        let settings = Arc::clone(&self.settings);
        let writer = Arc::clone(&self.writer);
        let done = tokio::task::spawn_blocking(move || {
            let mut idle = writer.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Taken out, so that after a panic the connection is closed, which rolls back, and not used again.
            let mut connection = match idle.take() {
                Some(connection) => connection,
                None => connection::connect(&settings)?,
            };
            let result = work(&mut connection);
            if atomic::is_idle(&mut connection) {
                *idle = Some(connection);
            }
            result.map_err(|failure| match failure {
                Failure::Database(error) => fault::at_work(&settings.path, &error),
                Failure::Fault(fault) => fault,
            })
        });
        match done.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Fault::outage("the process is ending: the database was not called")),
            },
        }
    }
}

/// Why work on a connection has no result.
enum Failure {
    Database(diesel::result::Error),
    Fault(Fault),
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;

    use super::*;

    async fn execute(sqlite: &Sqlite, sql: &'static str) -> Result<(), Fault> {
        sqlite.run(move |connection| Ok(connection.batch_execute(sql)?)).await
    }

    #[tokio::test]
    async fn a_connection_in_trouble_is_replaced_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tally.db");
        let settings = Settings { path, lease: Duration::from_secs(5), migrate: true };
        let sqlite = Arc::new(Sqlite::open(&settings, &[]).unwrap());
        execute(&sqlite, "create table t (a unique)").await.unwrap();

        let panicking = Arc::clone(&sqlite);
        let task = tokio::spawn(async move {
            let work = |connection: &mut SqliteConnection| -> Result<(), Failure> {
                atomic::transaction(connection, |connection| {
                    connection.batch_execute("insert into t values (1)")?;
                    panic!("as anything may")
                })
            };
            panicking.run(work).await
        });
        assert!(task.await.unwrap_err().is_panic(), "the panic goes on in the caller");

        let left_open = |connection: &mut SqliteConnection| {
            use diesel::connection::{AnsiTransactionManager, TransactionManager};
            AnsiTransactionManager::begin_transaction(connection)?;
            Ok(connection.batch_execute("insert into t values (1)")?)
        };
        sqlite.run(left_open).await.unwrap();
        execute(&sqlite, "insert into t values (1)").await.unwrap();
    }
}
