//! What a file holds, for an audit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::query_builder::SqlQuery;
use diesel::query_dsl::LoadQuery;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use serde_json::Value as Json;
use tally_domain::{Flow, History, Table, Value};
use tally_ports::audit::{Asked, Entry, Fact, Keys, PassName, Traces};
use tally_ports::{Audit, Auditor, Fault, KnownFlow};
use tally_queries::audit::{
    self as queries, AppendedRow, AppendedRowsRow, AppendedTraceRow, CountedRow, CounterRow,
    DEAD_LETTERS, DeadLetterRow, DeadLetterTraceRow, EntryRow, HistoryRow, KeyTraceRow, LastRow,
    OriginRow, PASSES, PassNameRow, PassRow, RowsFromNothingRow, STRAYS, TRACES_OF_DEAD_LETTERS,
    UnpublishedRow, WrongNumbersRow, in_slots, is_appended, is_counters, is_keyed, tables,
};

use crate::statement::Value as Bound;
use crate::table::value as bound;
use crate::{Settings, connection, fault, migrate};

/// Readers never wait, except while a file is migrated, or recovered after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The 16 MiB are what sorting may take before it goes on in a temporary file.
const TO_READ: &str = "pragma query_only = on; pragma cache_size = -16384";

/// The time before which an act has deleted, as times are stored.
const BEFORE: &str = "a.result ->> 'before'";

/// A query about a range of positions of a log.
macro_rules! of_log {
    ($sql:expr, $asked:expr) => {
        sql_query($sql)
            .bind::<Text, _>(&$asked.pass.flow)
            .bind::<Text, _>(&$asked.pass.stream)
            .bind::<Integer, _>($asked.pass.partition)
            .bind::<BigInt, _>($asked.log)
            .bind::<BigInt, _>($asked.first)
            .bind::<BigInt, _>($asked.last)
    };
}

/// A database file, opened read-only.
#[derive(Clone, Debug)]
pub struct SqliteLedgerReader {
    path: PathBuf,
    flows: Arc<[KnownFlow]>,
}

impl SqliteLedgerReader {
    /// Opens the file. Blocks.
    ///
    /// # Errors
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting) when there is no such file, it is no database, or its
    /// tables, the ledger's and those of the `flows` that were ever written there, are not those of this program's version.
    pub fn open(path: PathBuf, flows: &[KnownFlow]) -> Result<Self, Fault> {
        let mut ledger = Self { path, flows: [].into() };
        let there = migrate::names(&mut ledger.connect()?);
        let there = there.map_err(|error| fault::at_open(&ledger.path, &error))?;
        let is_there = |known: &&KnownFlow| there.iter().any(|name| name == known.sqlite.name);
        ledger.flows = flows.iter().filter(is_there).cloned().collect();
        ledger.connect()?;
        Ok(ledger)
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
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection, &[KnownFlow]) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let ledger = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = ledger.connect()?;
            let result = work(&mut connection, &ledger.flows);
            result.map_err(|error| fault::at_work(&ledger.path, &error))
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

impl Audit for SqliteLedgerReader {
    async fn show<A: Auditor>(&self, mut auditor: A) -> Result<A, Fault> {
        self.run(move |connection, flows| {
            // What the first statement sees is what all of them see.
            connection.batch_execute("begin")?;
            show(connection, flows, &mut auditor)?;
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
            let found: Vec<EntryRow> = sql_query(queries::entries_of_pass())
                .bind::<Text, _>(pass.flow)
                .bind::<Text, _>(pass.stream)
                .bind::<Integer, _>(pass.partition)
                .bind::<Integer, _>(pass.pass)
                .bind::<BigInt, _>(first)
                .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
                .load(connection)?;
            Ok(found.into_iter().map(EntryRow::entry).collect())
        })
        .await
    }

    async fn traces(&self, asked: Asked) -> Result<Traces, Fault> {
        self.run(move |connection, flows| {
            let of_flow = |known: &&KnownFlow| known.flow.name() == asked.pass.flow;
            let mut traces = Traces::default();
            let Some(KnownFlow { flow, .. }) = flows.iter().find(of_flow) else {
                return Ok(traces);
            };
            let letters: Vec<DeadLetterTraceRow> =
                of_log!(TRACES_OF_DEAD_LETTERS, asked).load(connection)?;
            traces.dead_letters.extend(letters.into_iter().map(DeadLetterTraceRow::trace));
            for (index, table) in tables(&**flow, is_appended) {
                let sql = queries::traces_of_appended(table);
                let rows: Vec<AppendedTraceRow> = of_log!(sql, asked).load(connection)?;
                traces.appended.extend(rows.iter().map(|found| found.trace(index)));
            }
            for History { versions, .. } in flow.histories() {
                let sql = queries::deleted_to(&flow.tables()[*versions], BEFORE);
                let query = sql_query(sql)
                    .bind::<Text, _>(&asked.pass.flow)
                    .bind::<Text, _>(&asked.pass.stream)
                    .bind::<Integer, _>(asked.pass.partition)
                    .bind::<BigInt, _>(asked.log);
                let LastRow { last } = query.get_result(connection)?;
                traces.deleted_to.push((*versions, last));
            }
            for Keys { table, keys } in &asked.keys {
                let found = rows_of_keys(connection, &flow.tables()[*table], keys)?;
                traces.keyed.push(in_slots(found, keys.len(), 0));
            }
            Ok(traces)
        })
        .await
    }
}

/// The rows of `keys`, numbered from 0 as slots.
fn rows_of_keys(
    connection: &mut SqliteConnection,
    table: &Table,
    keys: &[Vec<Value>],
) -> QueryResult<Vec<KeyTraceRow>> {
    let list: Json = keys.iter().map(|key| key.iter().map(json_of).collect::<Json>()).collect();
    let from = "(select key as slot, value from json_each(?)) k";
    let of = |index: usize| format!("k.value ->> {index}");
    let sql = queries::traces_of_keys(table, from, of);
    sql_query(sql).bind::<Text, _>(list.to_string()).load(connection)
}

/// A value as it is stored.
fn json_of(value: &Value) -> Json {
    match bound(value) {
        Bound::Integer(number) => number.into(),
        Bound::Text(text) => text.into(),
        Bound::Null | Bound::Bytes(_) => Json::Null,
    }
}

fn show(
    connection: &mut SqliteConnection,
    flows: &[KnownFlow],
    auditor: &mut impl Auditor,
) -> QueryResult<()> {
    each(connection, PASSES, |found: PassRow| auditor.see(Fact::Pass(found.pass())))?;
    let entries = queries::entries();
    each(connection, &entries, |found: EntryRow| auditor.see(Fact::Entry(found.entry())))?;
    each(connection, STRAYS, |found: PassNameRow| auditor.see(Fact::Stray(found.name())))?;
    each(connection, DEAD_LETTERS, |found: DeadLetterRow| {
        auditor.see(Fact::DeadLetter(found.dead_letter()));
    })?;
    flows.iter().try_for_each(|known| show_tables(connection, &*known.flow, auditor))
}

fn show_tables(
    connection: &mut SqliteConnection,
    flow: &dyn Flow,
    auditor: &mut impl Auditor,
) -> QueryResult<()> {
    for (_, table) in tables(flow, is_keyed) {
        each(connection, &queries::rows(table, flow), |found: OriginRow| {
            auditor.see(Fact::Rows(found.rows(&table.name, flow.name())));
        })?;
        let from_nothing = queries::rows_from_nothing(table, flow);
        each(connection, &from_nothing, |found: RowsFromNothingRow| {
            auditor.see(Fact::RowsFromNothing(found.rows(&table.name)));
        })?;
    }
    if let Some(appended) = queries::appended(flow) {
        each(connection, &appended, |found: AppendedRow| {
            auditor.see(Fact::Appended(found.appended(flow)));
        })?;
    }
    for (_, table) in tables(flow, is_appended) {
        each(connection, &queries::appended_rows(table, flow), |found: AppendedRowsRow| {
            auditor.see(Fact::AppendedRows(found.rows(table, flow)));
        })?;
        each(connection, &queries::wrong_numbers(table, flow), |found: WrongNumbersRow| {
            auditor.see(Fact::WrongNumbers(found.numbers(table)));
        })?;
    }
    for history in flow.histories() {
        each(connection, &queries::history(flow, history), |found: HistoryRow| {
            auditor.see(Fact::HistoryDiffers(found.differs(flow, history)));
        })?;
    }
    if tally_ports::notes_ranges(flow) {
        each(connection, &queries::counted(flow), |found: CountedRow| {
            auditor.see(Fact::Counted(found.counted()));
        })?;
    }
    if !flow.outputs().is_empty() {
        each(connection, &queries::unpublished(flow), |found: UnpublishedRow| {
            found.unpublished(flow).into_iter().for_each(|id| auditor.see(Fact::Unpublished(id)));
        })?;
    }
    for (index, table) in tables(flow, is_counters) {
        let rows = queries::counters(table, |texts| format!("json_array({texts})"));
        each(connection, &rows, |found: CounterRow| {
            auditor.see(Fact::Counter(found.counter(index, flow)));
        })?;
    }
    Ok(())
}

/// Passes each row of a query to `take`.
fn each<T>(connection: &mut SqliteConnection, sql: &str, mut take: impl FnMut(T)) -> QueryResult<()>
where
    for<'a> SqlQuery: LoadQuery<'a, SqliteConnection, T>,
{
    for found in sql_query(sql).load_iter::<T, DefaultLoadingMode>(connection)? {
        take(found?);
    }
    Ok(())
}
