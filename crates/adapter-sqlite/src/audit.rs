//! All that a file holds, for whoever checks it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::query_builder::SqlQuery;
use diesel::query_dsl::LoadQuery;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use serde_json::{Value, json};
use tally_ports::audit::{Entry, Expected, Fact, PassName, Tables};
use tally_ports::{Audit, Auditor, Fault, KnownFlow};

use crate::table::quoted;
use crate::{Settings, connection, fault, migrate};
use tally_queries::audit::{
    self as queries, FoundEntry, FoundLetter, FoundMissing, FoundName, FoundPass, FoundRows,
    FoundRowsFromNothing, LETTERS, PASSES, STRAYS,
};

/// Readers wait for nobody, except while a file is migrated, or recovered after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The 16 MiB are what sorting may take before it goes on in a temporary file.
const TO_READ: &str = "pragma query_only = on; pragma cache_size = -16384";

const MISSING: &str = "select k.value ->> 0 as position from json_each(?) k \
    where not exists (select 1 from {table} as t where t.{id} = k.value ->> 1) \
        and not exists (select 1 from dead_letters d where d.id = k.value ->> 2) \
    order by 1";

/// A database file, opened to be read and nothing else.
#[derive(Clone, Debug)]
pub struct SqliteBooks {
    path: PathBuf,
    flows: Arc<[KnownFlow]>,
    tables: Arc<[Tables]>,
}

impl SqliteBooks {
    /// Opens the file. Blocks.
    ///
    /// # Errors
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting) when there is no such file, it is no database, or its
    /// tables, the ledger's and those of the `flows` that were ever written there, are not those of this program's version.
    pub fn open(path: PathBuf, flows: &[KnownFlow]) -> Result<Self, Fault> {
        let mut books = Self { path, flows: [].into(), tables: [].into() };
        let there = migrate::names(&mut books.connect()?);
        let there = there.map_err(|error| fault::at_open(&books.path, &error))?;
        let is_there = |known: &&KnownFlow| there.iter().any(|name| name == known.sqlite.name);
        books.flows = flows.iter().filter(is_there).cloned().collect();
        books.tables = books.flows.iter().map(|known| Tables::of(&*known.flow)).collect();
        books.connect()?;
        Ok(books)
    }

    fn connect(&self) -> Result<SqliteConnection, Fault> {
        let path = self.path.clone();
        let settings = Settings { path, lease: BUSY_TIMEOUT, migrate: false };
        let mut connection = connection::open_to_read(&settings, &self.flows)?;
        let tuned = connection.batch_execute(TO_READ);
        tuned.map_err(|error| fault::at_open(&self.path, &error))?;
        Ok(connection)
    }

    /// Runs `work` on a connection of its own, on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection, &[Tables]) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let books = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = books.connect()?;
            let result = work(&mut connection, &books.tables);
            result.map_err(|error| fault::at_work(&books.path, &error))
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

impl Audit for SqliteBooks {
    async fn show<A: Auditor>(&self, mut auditor: A) -> Result<A, Fault> {
        self.run(move |connection, tables| {
            // What the first statement sees is what all of them see.
            connection.batch_execute("begin")?;
            show(connection, tables, &mut auditor)?;
            connection.batch_execute("rollback")?;
            Ok(auditor)
        })
        .await
    }

    async fn entries(
        &self,
        pass: &PassName,
        first: i64,
        limit: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let pass = pass.clone();
        self.run(move |connection, _| {
            let found: Vec<FoundEntry> = sql_query(queries::entries_of_pass())
                .bind::<Text, _>(pass.flow)
                .bind::<Text, _>(pass.stream)
                .bind::<Integer, _>(pass.partition)
                .bind::<Integer, _>(pass.pass)
                .bind::<BigInt, _>(first)
                .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
                .load(connection)?;
            Ok(found.into_iter().map(FoundEntry::entry).collect())
        })
        .await
    }

    async fn missing(&self, flow: &str, records: &[Expected]) -> Result<Vec<i64>, Fault> {
        let of_flow = self.tables.iter().find(|tables| tables.flow == flow);
        let Some((table, id)) = of_flow.and_then(|tables| tables.by_id.clone()) else {
            return Ok(Vec::new());
        };
        let expected = |record: &Expected| (record.position, record.row, record.letter);
        let records: Value = records.iter().map(|record| json!(expected(record))).collect();
        self.run(move |connection, _| {
            let query = sql_query(
                MISSING.replace("{table}", &quoted(&table)).replace("{id}", &quoted(&id)),
            );
            let found: Vec<FoundMissing> =
                query.bind::<Text, _>(records.to_string()).load(connection)?;
            Ok(found.into_iter().map(FoundMissing::position).collect())
        })
        .await
    }
}

fn show(
    connection: &mut SqliteConnection,
    tables: &[Tables],
    auditor: &mut impl Auditor,
) -> QueryResult<()> {
    each(connection, PASSES, |found: FoundPass| auditor.see(Fact::Pass(found.pass())))?;
    let entries = queries::entries();
    each(connection, &entries, |found: FoundEntry| auditor.see(Fact::Entry(found.entry())))?;
    each(connection, STRAYS, |found: FoundName| auditor.see(Fact::Stray(found.name())))?;
    each(connection, LETTERS, |found: FoundLetter| auditor.see(Fact::Letter(found.letter())))?;
    for Tables { flow, names, .. } in tables {
        for table in names {
            each(connection, &queries::rows(table, flow), |found: FoundRows| {
                auditor.see(Fact::Rows(found.rows(table, flow)));
            })?;
            let from_nothing = queries::rows_from_nothing(table, flow);
            each(connection, &from_nothing, |found: FoundRowsFromNothing| {
                auditor.see(Fact::RowsFromNothing(found.rows(table)));
            })?;
        }
    }
    Ok(())
}

/// Takes the rows that a query finds, one by one.
fn each<T>(connection: &mut SqliteConnection, sql: &str, mut take: impl FnMut(T)) -> QueryResult<()>
where
    for<'a> SqlQuery: LoadQuery<'a, SqliteConnection, T>,
{
    for found in sql_query(sql).load_iter::<T, DefaultLoadingMode>(connection)? {
        take(found?);
    }
    Ok(())
}
