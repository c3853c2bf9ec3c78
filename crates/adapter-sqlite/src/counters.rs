//! Counters by size.

use diesel::sql_types::BigInt;
use diesel::{RunQueryDsl, sql_query};
use tally_domain::CounterTable;
use tally_ports::{Counters, Fault, Greatest};
use tally_queries::counters::{self as queries, CountRow};

use crate::table::DIALECT;
use crate::{Sqlite, SqliteLedgerReader};

impl Counters for Sqlite {
    async fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> Result<Greatest, Fault> {
        let query =
            sql_query(queries::greatest(&DIALECT, table)).bind::<BigInt, _>(queries::limit(limit));
        self.run(move |connection| Ok(CountRow::greatest(query.load(connection)?))).await
    }
}

impl Counters for SqliteLedgerReader {
    async fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> Result<Greatest, Fault> {
        let query =
            sql_query(queries::greatest(&DIALECT, table)).bind::<BigInt, _>(queries::limit(limit));
        self.run(move |connection, _| Ok(CountRow::greatest(query.load(connection)?))).await
    }
}
