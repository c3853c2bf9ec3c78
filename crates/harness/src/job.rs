//! `csv-runner` and `kafka-consumer` as processes, with what they need around them: the model, and either store to look
//! into.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_adapter_sqlite::diesel::connection::SimpleConnection;
use tally_adapter_sqlite::diesel::deserialize::{self, FromSql};
use tally_adapter_sqlite::diesel::row::{Field, NamedRow, Row};
use tally_adapter_sqlite::diesel::sql_types::Text;
use tally_adapter_sqlite::diesel::sqlite::Sqlite;
use tally_adapter_sqlite::diesel::{
    Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query,
};
use tempfile::TempDir;

use crate::postgres::TestDatabase;
use crate::process::{Launch, Output, Process, binary};
use tally_testkit::clock::{POSTGRES_TURNED_BACK_A_DAY, SQLITE_TURNED_BACK_A_DAY};
use tally_testkit::eventually;

/// How long anything may take on a machine that is busy with other tests.
pub const LONG: Duration = Duration::from_secs(40);
/// How long starting may take on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A run of `csv-runner` or `kafka-consumer` that is to be started.
pub struct Job {
    launch: Launch,
}

impl Job {
    /// `csv-runner` into the database that `database_url` names.
    pub fn new(database_url: &str) -> Self {
        Self { launch: Launch::new(binary("csv-runner")).args(["--database-url", database_url]) }
    }

    /// `kafka-consumer` of a topic into the database that `database_url` names.
    pub fn consumer(database_url: &str, brokers: &str, topic: &str) -> Self {
        let launch = Launch::new(binary("kafka-consumer"));
        let from = ["--brokers", brokers, "--topic", topic];
        Self { launch: launch.args(["--database-url", database_url]).args(from) }
    }

    /// Asks the model at `url`.
    #[must_use]
    pub fn model(self, url: &str) -> Self {
        self.flags(["--ml-url", url])
    }

    /// One more file to read.
    #[must_use]
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        self.flags([path.as_ref()])
    }

    /// One more argument.
    #[must_use]
    pub fn flag(self, flag: impl AsRef<OsStr>) -> Self {
        self.flags([flag])
    }

    /// More arguments.
    #[must_use]
    pub fn flags<S: AsRef<OsStr>>(self, flags: impl IntoIterator<Item = S>) -> Self {
        Self { launch: self.launch.args(flags) }
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        Self { launch: self.launch.env(name, value) }
    }

    /// What else a process can be given.
    pub fn launch(self) -> Launch {
        self.launch
    }

    /// Starts it.
    pub fn spawn(self) -> Process {
        self.launch.spawn()
    }
}

/// The process has ended with this code.
#[track_caller]
pub fn ended_with(process: &Process, code: i32) -> Output {
    let output = process.wait(LONG);
    assert_eq!(output.code, Some(code), "{output}");
    output
}

/// The real `ml-api` on a free port, until dropped.
pub struct ModelService {
    process: Process,
    url: String,
}

impl ModelService {
    /// Returns when it listens.
    pub fn start() -> Self {
        let process = Launch::new(binary("ml-api")).args(["--listen", "127.0.0.1:0"]).spawn();
        let line = process.wait_for_line("listening on ", START);
        let (_, url) = line.split_once("listening on ").expect("the line waited for");
        Self { url: url.trim().to_owned(), process }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process, to stop, freeze or kill.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// An empty database of the test's own, in either store.
pub enum Target {
    /// A file.
    Sqlite(SqliteFile),
    /// A database on the shared server.
    Postgres(TestDatabase),
}

/// Where an `SQLite` file is, or will be once something opens it; removed with this value.
pub struct SqliteFile {
    folder: TempDir,
}

impl Target {
    /// A file that nobody has made yet.
    pub fn sqlite() -> Self {
        Self::Sqlite(SqliteFile { folder: TempDir::new().expect("a folder") })
    }

    /// A database without tables.
    pub async fn postgres() -> Self {
        Self::Postgres(TestDatabase::create().await)
    }

    /// For `--database-url`.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.path().display()),
            Self::Postgres(database) => database.url(),
        }
    }

    /// The rows of a query, each value as the store writes it; `None` is null.
    pub async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match self {
            Self::Sqlite(file) => file.query(sql),
            Self::Postgres(database) => database.query_text(sql).await,
        }
    }

    /// The number that a query of one row and column gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.query(sql).await;
        let value = rows.first().and_then(|row| row.first()).and_then(|value| value.as_deref());
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{sql}: no number in {rows:?}"))
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(file) => {
                file.connection()
                    .batch_execute(sql)
                    .unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            Self::Postgres(database) => database.execute(sql).await,
        }
    }

    /// The database's clock goes back a day.
    pub async fn turn_clock_back_a_day(&self) {
        let sql = match self {
            Self::Sqlite(_) => SQLITE_TURNED_BACK_A_DAY,
            Self::Postgres(_) => POSTGRES_TURNED_BACK_A_DAY,
        };
        self.execute(sql).await;
    }

    /// Freezes `process` between the rows and the ledger's entry, so that it never sends its COMMIT: a trigger stops the
    /// server until then. Postgres only, as SQLite has no sessions.
    pub async fn freeze_before_commit(&self, process: &Process) {
        let Self::Postgres(database) = self else { panic!("SQLite has no sessions") };
        let door = database.connect().await;
        let close = "select pg_advisory_lock(7); \
            create function wait() returns trigger language plpgsql as \
            $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$; \
            create trigger wait before insert on batches for each row execute function wait()";
        door.batch_execute(close).await.unwrap_or_else(|error| panic!("{close}: {error}"));
        self.until_a_session("wait_event = 'advisory'").await;
        process.freeze().await;
        let open = "select pg_advisory_unlock(7)";
        door.batch_execute(open).await.unwrap_or_else(|error| panic!("{open}: {error}"));
        self.until_a_session("state = 'idle in transaction'").await;
    }

    async fn until_a_session(&self, condition: &str) {
        let sessions = "select count(*) from pg_stat_activity where datname = current_database()";
        let sql = format!("{sessions} and {condition}");
        eventually(LONG, async || self.number(&sql).await > 0).await;
    }

    /// Returns when nobody else has a session any more: a server carries out what a killed process had sent before.
    pub async fn until_left(&self) {
        if let Self::Postgres(_) = self {
            let others = "select count(*) from pg_stat_activity where datname = current_database() \
                and backend_type = 'client backend' and pid <> pg_backend_pid()";
            eventually(LONG, async || self.number(others).await == 0).await;
        }
    }

    /// Whether something has made the tables of a flow, which come last; queries fail before.
    pub async fn has_tables(&self) -> bool {
        const LAST: &str = "in ('transactions', 'user_logins_by_hour')";
        match self {
            Self::Sqlite(file) if !file.path().exists() => false,
            Self::Sqlite(_) => {
                self.number(&format!("select count(*) from sqlite_schema where name {LAST}")).await
                    > 0
            }
            Self::Postgres(_) => {
                self.number(&format!("select count(*) from pg_tables where tablename {LAST}")).await
                    > 0
            }
        }
    }
}

impl SqliteFile {
    /// The database's file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tally.db")
    }

    /// A connection past the program.
    pub fn connection(&self) -> SqliteConnection {
        let path = self.path();
        let mut connection =
            SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("a database");
        connection.batch_execute("pragma busy_timeout = 20000").expect("a timeout");
        connection
    }

    /// Whether somebody is in the middle of writing.
    pub fn is_locked(&self) -> bool {
        let mut connection = self.connection();
        connection.batch_execute("pragma busy_timeout = 0; begin immediate; rollback").is_err()
    }

    fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let found: Vec<Texts> = sql_query(sql)
            .load(&mut self.connection())
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        found.into_iter().map(|Texts(row)| row).collect()
    }
}

/// A row of any query.
struct Texts(Vec<Option<String>>);

impl QueryableByName<Sqlite> for Texts {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> deserialize::Result<Self> {
        let columns = 0..row.field_count();
        let texts = columns.map(|column| {
            let field = Row::get(row, column).ok_or("a column less than counted")?;
            match field.value() {
                Some(value) => <String as FromSql<Text, Sqlite>>::from_sql(value).map(Some),
                None => Ok(None),
            }
        });
        texts.collect::<deserialize::Result<_>>().map(Self)
    }
}
