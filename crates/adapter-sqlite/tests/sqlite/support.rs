//! A database file of its own for one test.

use std::path::PathBuf;
use std::time::Duration;

use tally_adapter_sqlite::diesel::connection::SimpleConnection;
use tally_adapter_sqlite::diesel::sql_types::{Nullable, Text};
use tally_adapter_sqlite::diesel::{
    self, Connection, QueryableByName, RunQueryDsl, SqliteConnection,
};
use tally_adapter_sqlite::{Settings, Sqlite};
use tally_ports::{Fault, KnownFlow};
use tally_testkit::accounts::Accounts;
use tally_testkit::alerts::Alerts;
use tally_testkit::clock::SQLITE_TURNED_BACK_A_DAY;
use tally_testkit::contract::{Record, Store, Table};
use tally_testkit::visits::Visits;
use tempfile::TempDir;

/// The program's flows, and those of the tests.
pub fn flows() -> Vec<KnownFlow> {
    tally_flows::all()
        .into_iter()
        .chain([Visits::known(), Accounts::known(), Alerts::known()])
        .collect()
}

pub struct Database {
    pub folder: TempDir,
}

impl Database {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tally.db")
    }

    pub fn settings(&self) -> Settings {
        Settings { path: self.path(), lease: Duration::from_secs(20), migrate: true }
    }

    pub fn try_open(&self) -> Result<Sqlite, Fault> {
        Sqlite::open(&self.settings(), &flows())
    }

    /// A connection past the adapter.
    pub fn connection(&self) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(self.path().to_str().unwrap()).unwrap();
        connection.batch_execute("pragma busy_timeout = 20000").unwrap();
        connection
    }

    pub fn execute(&self, sql: &str) {
        self.connection().batch_execute(sql).unwrap();
    }

    /// The texts of a query with one column, called `text`.
    pub fn texts(&self, sql: &str) -> Vec<Option<String>> {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Nullable<Text>)]
            text: Option<String>,
        }
        let found: Vec<Found> = diesel::sql_query(sql).load(&mut self.connection()).unwrap();
        found.into_iter().map(|found| found.text).collect()
    }
}

impl Store for Database {
    type Sink = Sqlite;

    async fn open(&self) -> Sqlite {
        self.try_open().unwrap()
    }

    async fn read(&self, table: &'static Table) -> Vec<Record> {
        // One JSON list of texts per row.
        let hex =
            |column: &str| format!("case when {column} is not null then lower(hex({column})) end");
        let columns: Vec<_> = table.columns().map(|column| format!(r#""{column}""#)).collect();
        let sql = format!(
            "select json_array({}) as text from ({})",
            columns.join(", "),
            table.select(hex)
        );
        let rows = self.texts(&sql).into_iter().flatten();
        rows.map(|row| table.record(serde_json::from_str::<Vec<Option<String>>>(&row).unwrap()))
            .collect()
    }

    async fn purge(&self, position: i64) {
        self.execute(&format!(
            "update dead_letters set state = 'purged' where position = {position}"
        ));
    }

    /// `SQLite` cannot add a check to a table: a trigger writes into one that has it.
    async fn refuse_amounts_above(&self, limit: i64) {
        self.try_open().unwrap();
        self.execute("create table refused (never constraint never check (false))");
        for when in ["insert", "update"] {
            self.execute(&format!(
                "create trigger refuse_{when} before {when} on transactions when cast(new.amount as real) > {limit} \
                 begin insert into refused values (1); end"
            ));
        }
    }

    async fn restart_logs(&self) {
        self.execute("update positions set log = log + 1 where ended_at is null");
    }

    async fn turn_clock_back_a_day(&self) {
        self.execute(SQLITE_TURNED_BACK_A_DAY);
    }

    fn refusal_code(&self) -> &'static str {
        "constraint_check"
    }

    fn refusing_constraint(&self) -> Option<&'static str> {
        Some("never")
    }
}
