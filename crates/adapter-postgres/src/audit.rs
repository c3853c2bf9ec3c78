//! All that a database holds, for whoever checks it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use diesel::query_builder::SqlQuery;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tally_ports::audit::{Entry, Expected, Fact, PassName, Tables};
use tally_ports::{Audit, Auditor, Fault, KnownFlow};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::connection::{Limits, Session, Sessions};
use crate::table::quoted;
use crate::target::Target;
use crate::{fault, migrate};
use tally_queries::audit::{
    self as queries, FoundEntry, FoundLetter, FoundMissing, FoundName, FoundPass, FoundRows,
    FoundRowsFromNothing, LETTERS, PASSES, STRAYS,
};

/// What the limits of [`Sessions`] are made of.
const UNIT: Duration = Duration::from_secs(5);

/// A query over a large ledger may take any time, as long as the server lives: it is asked this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// How many rows are fetched at once.
const PAGE: usize = 10_000;

/// No statement of an audit is too long, all rows of a query are wanted, and a client that is gone lets go.
const SETTINGS: &str = "
    set statement_timeout = 0; set cursor_tuple_fraction = 1; set idle_in_transaction_session_timeout = '10min'";

const MISSING: &str = "
    select k.position from unnest($1, $2, $3) as k(position, id, letter)
    where not exists (select from {table} t where t.{id} = k.id)
        and not exists (select from dead_letters d where d.id = k.letter)
    order by k.position";

/// A database, opened to be read and nothing else. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct PostgresBooks {
    sessions: Sessions,
    signs: Sessions,
    tables: Arc<[Tables]>,
}

impl PostgresBooks {
    /// Connects and makes sure that the tables are those of this program's version and may be read: the ledger's, and those
    /// of the `flows` that were ever written there.
    ///
    /// What is wrong with `url`, the tables or the privileges is
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting); a server that is away is an outage.
    pub async fn open(url: &str, flows: &[KnownFlow]) -> Result<Self, Fault> {
        let target = Target::parse(url, UNIT)?;
        let flows = migrate::check(&target, flows).await?;
        let tables = flows.iter().map(|known| Tables::of(&*known.flow)).collect();
        let limits = Limits::of_control(UNIT);
        Ok(Self {
            sessions: Sessions::new(target.clone(), limits, 1)?,
            signs: Sessions::new(target, limits, 1)?,
            tables,
        })
    }

    /// What `work` answers, however long that takes, or the fault of a server that no longer gives a sign of life.
    async fn answer<T>(&self, work: impl Future<Output = QueryResult<T>>) -> Result<T, Fault> {
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

    /// Takes the rows that a query finds, page by page.
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
        self.each(connection, PASSES, |found: FoundPass| auditor.see(Fact::Pass(found.pass())))
            .await?;
        let entries = queries::entries();
        self.each(connection, &entries, |found: FoundEntry| {
            auditor.see(Fact::Entry(found.entry()));
        })
        .await?;
        self.each(connection, STRAYS, |found: FoundName| auditor.see(Fact::Stray(found.name())))
            .await?;
        self.each(connection, LETTERS, |found: FoundLetter| {
            auditor.see(Fact::Letter(found.letter()));
        })
        .await?;
        for Tables { flow, names, .. } in &*self.tables {
            for table in names {
                let rows = queries::rows(table, flow);
                self.each(connection, &rows, |found: FoundRows| {
                    auditor.see(Fact::Rows(found.rows(table, flow)));
                })
                .await?;
                let from_nothing = queries::rows_from_nothing(table, flow);
                self.each(connection, &from_nothing, |found: FoundRowsFromNothing| {
                    auditor.see(Fact::RowsFromNothing(found.rows(table)));
                })
                .await?;
            }
        }
        Ok(())
    }

    async fn session(&self) -> Result<Session, Fault> {
        let mut session = self.sessions.session().await?;
        session.run(SETTINGS).await?;
        Ok(session)
    }
}

impl Audit for PostgresBooks {
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
        let found: Vec<FoundEntry> = self.answer(query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(FoundEntry::entry).collect())
    }

    async fn missing(&self, flow: &str, records: &[Expected]) -> Result<Vec<i64>, Fault> {
        let of_flow = self.tables.iter().find(|tables| tables.flow == flow);
        let Some((table, id)) = of_flow.and_then(|tables| tables.by_id.as_ref()) else {
            return Ok(Vec::new());
        };
        let sql = MISSING.replace("{table}", &quoted(table)).replace("{id}", &quoted(id));
        let (mut positions, mut rows, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for Expected { position, row, letter } in records {
            positions.push(*position);
            rows.push(*row);
            letters.push(*letter);
        }
        let mut session = self.session().await?;
        let (connection, _) = session.parts();
        let query = sql_query(sql)
            .bind::<Array<BigInt>, _>(positions)
            .bind::<Array<Nullable<SqlUuid>>, _>(rows)
            .bind::<Array<SqlUuid>, _>(letters);
        let found: Vec<FoundMissing> = self.answer(query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(FoundMissing::position).collect())
    }
}

impl fmt::Debug for PostgresBooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBooks").field("tables", &self.tables).finish_non_exhaustive()
    }
}
