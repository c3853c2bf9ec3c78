//! Counters by size.

use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use tally_domain::CounterTable;
use tally_ports::{Counters, Fault, Greatest, StopKind};
use tally_queries::counters::{self as queries, CountRow};

use crate::connection::answer;
use crate::table::DIALECT;
use crate::{Postgres, PostgresLedgerReader};

impl Counters for Postgres {
    async fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> Result<Greatest, Fault> {
        let mut session = self.people.session().await?;
        let (connection, wait) = session.parts();
        let query =
            sql_query(queries::greatest(&DIALECT, table)).bind::<BigInt, _>(queries::limit(limit));
        let found = answer(wait, query.load(connection)).await?;
        session.keep();
        Ok(CountRow::greatest(found))
    }
}

impl Counters for PostgresLedgerReader {
    async fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> Result<Greatest, Fault> {
        if !self.has_table(table.name) {
            let message = format!("postgres: there is no table {} yet", table.name);
            return Err(Fault::stop(StopKind::Setting, message));
        }
        let mut session = self.session().await?;
        let (connection, _) = session.parts();
        let query =
            sql_query(queries::greatest(&DIALECT, table)).bind::<BigInt, _>(queries::limit(limit));
        let found = self.answer(query.load(connection)).await?;
        session.keep();
        Ok(CountRow::greatest(found))
    }
}
