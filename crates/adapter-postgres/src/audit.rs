//! What a database holds, for an audit.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use diesel::query_builder::SqlQuery;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tally_domain::{Flow, History, Table, Type, Value};
use tally_ports::audit::{Asked, Entry, Fact, Keys, PassName, Traces};
use tally_ports::{Audit, Auditor, Fault, KnownFlow};
use tally_queries::audit::{
    self as queries, AppendedRow, AppendedRowsRow, AppendedTraceRow, CountedRow, CounterRow,
    DEAD_LETTERS, DeadLetterRow, DeadLetterTraceRow, EntryRow, HistoryRow, KeyTraceRow, LastRow,
    OriginRow, PASSES, PassNameRow, PassRow, RowsFromNothingRow, STRAYS, TRACES_OF_DEAD_LETTERS,
    UnpublishedRow, WrongNumbersRow, in_slots, is_appended, is_counters, is_keyed, tables,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::connection::{Limits, Session, Sessions};
use crate::query::Dynamic;
use crate::table::{array, from_array};
use crate::target::Target;
use crate::{fault, migrate};

/// The unit of the limits of [`Sessions`].
const UNIT: Duration = Duration::from_secs(5);

/// A query over a large ledger may take any time while the server is alive: how often that is checked.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// How many rows are fetched at once.
const PAGE: usize = 10_000;

/// Statements without a time limit, plans for all rows, an end for sessions of clients that are gone, and times as texts
/// of one form.
const SETTINGS: &str = "
    set statement_timeout = 0; set cursor_tuple_fraction = 1; set idle_in_transaction_session_timeout = '10min';
    set datestyle = 'ISO'; set timezone = 'UTC'";

/// The time before which an act has deleted.
const BEFORE: &str = "cast(a.result ->> 'before' as timestamp)";

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

/// A database, opened read-only. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct PostgresLedgerReader {
    sessions: Sessions,
    signs: Sessions,
    flows: Arc<[Arc<dyn Flow>]>,
}

impl PostgresLedgerReader {
    /// Connects and makes sure that the tables are those of this program's version and may be read: the ledger's, and those
    /// of the `flows` that were ever written there.
    ///
    /// What is wrong with `url`, the tables or the privileges is
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting); a server that is unavailable is an outage.
    pub async fn open(url: &str, flows: &[KnownFlow]) -> Result<Self, Fault> {
        let target = Target::parse(url, UNIT)?;
        let flows = migrate::check(&target, flows).await?;
        let flows = flows.iter().map(|known| Arc::clone(&known.flow)).collect();
        let limits = Limits::of_control(UNIT);
        Ok(Self {
            sessions: Sessions::new(target.clone(), limits, 1)?,
            signs: Sessions::new(target, limits, 1)?,
            flows,
        })
    }

    /// Whether a flow that was ever written there has the table.
    pub(crate) fn has_table(&self, name: &str) -> bool {
        let mut tables = self.flows.iter().flat_map(|flow| flow.tables());
        tables.any(|table| table.name == name)
    }

    /// The result of `work`, however long it takes, or the fault of a server that no longer answers.
    pub(crate) async fn answer<T>(
        &self,
        work: impl Future<Output = QueryResult<T>>,
    ) -> Result<T, Fault> {
        let mut signs = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done.map_err(|error| fault::of_statement(&error)),
                _ = signs.tick() => {}
            }
            tokio::select! {
                biased;
                done = &mut work => return done.map_err(|error| fault::of_statement(&error)),
                sign = self.sign_of_life() => sign?,
            }
        }
    }

    async fn sign_of_life(&self) -> Result<(), Fault> {
        let mut session = self.signs.session().await?;
        session.run("select 1").await?;
        session.keep();
        Ok(())
    }

    /// Passes each row of a query to `take`, page by page.
    async fn each<T: Send>(
        &self,
        connection: &mut AsyncPgConnection,
        sql: &str,
        mut take: impl FnMut(T) + Send,
    ) -> Result<(), Fault>
    where
        for<'a> SqlQuery: LoadQuery<'a, AsyncPgConnection, T>,
    {
        let declare = format!("declare found no scroll cursor for {sql}");
        self.answer(connection.batch_execute(&declare)).await?;
        let fetch = format!("fetch {PAGE} from found");
        loop {
            let page: Vec<T> = self.answer(sql_query(fetch.as_str()).load(connection)).await?;
            let is_last = page.len() < PAGE;
            page.into_iter().for_each(&mut take);
            if is_last {
                break;
            }
        }
        self.answer(connection.batch_execute("close found")).await
    }

    async fn show_all(
        &self,
        connection: &mut AsyncPgConnection,
        auditor: &mut impl Auditor,
    ) -> Result<(), Fault> {
        self.each(connection, PASSES, |found: PassRow| auditor.see(Fact::Pass(found.pass())))
            .await?;
        let entries = queries::entries();
        self.each(connection, &entries, |found: EntryRow| {
            auditor.see(Fact::Entry(found.entry()));
        })
        .await?;
        self.each(connection, STRAYS, |found: PassNameRow| auditor.see(Fact::Stray(found.name())))
            .await?;
        self.each(connection, DEAD_LETTERS, |found: DeadLetterRow| {
            auditor.see(Fact::DeadLetter(found.dead_letter()));
        })
        .await?;
        for flow in &*self.flows {
            self.show_tables(connection, &**flow, auditor).await?;
        }
        Ok(())
    }

    async fn show_tables(
        &self,
        connection: &mut AsyncPgConnection,
        flow: &dyn Flow,
        auditor: &mut impl Auditor,
    ) -> Result<(), Fault> {
        for (_, table) in tables(flow, is_keyed) {
            self.each(connection, &queries::rows(table, flow), |found: OriginRow| {
                auditor.see(Fact::Rows(found.rows(&table.name, flow.name())));
            })
            .await?;
            let from_nothing = queries::rows_from_nothing(table, flow);
            self.each(connection, &from_nothing, |found: RowsFromNothingRow| {
                auditor.see(Fact::RowsFromNothing(found.rows(&table.name)));
            })
            .await?;
        }
        if let Some(appended) = queries::appended(flow) {
            self.each(connection, &appended, |found: AppendedRow| {
                auditor.see(Fact::Appended(found.appended(flow)));
            })
            .await?;
        }
        for (_, table) in tables(flow, is_appended) {
            let rows = queries::appended_rows(table, flow);
            self.each(connection, &rows, |found: AppendedRowsRow| {
                auditor.see(Fact::AppendedRows(found.rows(table, flow)));
            })
            .await?;
            let numbers = queries::wrong_numbers(table, flow);
            self.each(connection, &numbers, |found: WrongNumbersRow| {
                auditor.see(Fact::WrongNumbers(found.numbers(table)));
            })
            .await?;
        }
        for history in flow.histories() {
            let differing = queries::history(flow, history);
            self.each(connection, &differing, |found: HistoryRow| {
                auditor.see(Fact::HistoryDiffers(found.differs(flow, history)));
            })
            .await?;
        }
        if tally_ports::notes_ranges(flow) {
            self.each(connection, &queries::counted(flow), |found: CountedRow| {
                auditor.see(Fact::Counted(found.counted()));
            })
            .await?;
        }
        if !flow.outputs().is_empty() {
            self.each(connection, &queries::unpublished(flow), |found: UnpublishedRow| {
                found
                    .unpublished(flow)
                    .into_iter()
                    .for_each(|id| auditor.see(Fact::Unpublished(id)));
            })
            .await?;
        }
        for (index, table) in tables(flow, is_counters) {
            // Not by a function of so many arguments: 100 are the most.
            let list = |texts: &str| format!("array_to_json(array[{texts}])");
            let rows = queries::counters(table, list);
            self.each(connection, &rows, |found: CounterRow| {
                auditor.see(Fact::Counter(found.counter(index, flow)));
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn session(&self) -> Result<Session, Fault> {
        let mut session = self.sessions.session().await?;
        session.run(SETTINGS).await?;
        Ok(session)
    }
}

impl Audit for PostgresLedgerReader {
    async fn show<A: Auditor>(&self, mut auditor: A) -> Result<A, Fault> {
        let mut session = self.session().await?;
        session.run("begin isolation level repeatable read read only").await?;
        let (connection, _) = session.parts();
        self.show_all(connection, &mut auditor).await?;
        session.run("rollback").await?;
        session.keep();
        Ok(auditor)
    }

    async fn entries(
        &self,
        pass: &PassName,
        first: i64,
        limit: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let mut session = self.session().await?;
        let (connection, _) = session.parts();
        let query = sql_query(queries::entries_of_pass())
            .bind::<Text, _>(&pass.flow)
            .bind::<Text, _>(&pass.stream)
            .bind::<Integer, _>(pass.partition)
            .bind::<Integer, _>(pass.pass)
            .bind::<BigInt, _>(first)
            .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX));
        let found: Vec<EntryRow> = self.answer(query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(EntryRow::entry).collect())
    }

    async fn traces(&self, asked: Asked) -> Result<Traces, Fault> {
        let Some(flow) = self.flows.iter().find(|flow| flow.name() == asked.pass.flow) else {
            return Ok(Traces::default());
        };
        let mut session = self.session().await?;
        let (connection, _) = session.parts();
        let letters: Vec<DeadLetterTraceRow> =
            self.answer(of_log!(TRACES_OF_DEAD_LETTERS, asked).load(connection)).await?;
        let mut traces = Traces::default();
        traces.dead_letters.extend(letters.into_iter().map(DeadLetterTraceRow::trace));
        for (index, table) in tables(&**flow, is_appended) {
            let sql = queries::traces_of_appended(table);
            let rows: Vec<AppendedTraceRow> =
                self.answer(of_log!(sql, asked).load(connection)).await?;
            traces.appended.extend(rows.iter().map(|found| found.trace(index)));
        }
        for History { versions, .. } in flow.histories() {
            let query = sql_query(queries::deleted_to(&flow.tables()[*versions], BEFORE))
                .bind::<Text, _>(&asked.pass.flow)
                .bind::<Text, _>(&asked.pass.stream)
                .bind::<Integer, _>(asked.pass.partition)
                .bind::<BigInt, _>(asked.log);
            let LastRow { last } = self.answer(query.get_result(connection)).await?;
            traces.deleted_to.push((*versions, last));
        }
        for Keys { table, keys } in &asked.keys {
            let found: Vec<KeyTraceRow> =
                self.answer(rows_of_keys(&flow.tables()[*table], keys).load(connection)).await?;
            traces.keyed.push(in_slots(found, keys.len(), 1));
        }
        session.keep();
        Ok(traces)
    }
}

/// A query for the rows of `keys`, numbered from 1 as `slot`.
fn rows_of_keys<'a>(table: &Table, keys: &'a [Vec<Value>]) -> Dynamic<'a> {
    let kinds: Vec<Type> = table.key().iter().map(|&column| table.columns[column].kind).collect();
    let arrays = kinds.iter().enumerate();
    let arrays = arrays.map(|(index, &kind)| array(kind, keys.iter().map(move |key| &key[index])));
    let names: Vec<String> = (0..kinds.len()).map(|index| format!("c{index}")).collect();
    let marks = vec!["?"; kinds.len()].join(", ");
    let from = format!("unnest({marks}) with ordinality as k({}, slot)", names.join(", "));
    let of = |index: usize| from_array(kinds[index], &format!("k.c{index}"));
    Dynamic::new(queries::traces_of_keys(table, &from, of), arrays.collect())
}

impl fmt::Debug for PostgresLedgerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLedgerReader").field("flows", &self.flows).finish_non_exhaustive()
    }
}
