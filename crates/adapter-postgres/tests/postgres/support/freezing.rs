//! A flow whose effect locks its position and then does nothing any more, as a process that is frozen there.

use std::future::pending;
use std::sync::Arc;

use tally_adapter_postgres::PostgresEffect;
use tally_adapter_postgres::diesel::QueryResult;
use tally_adapter_postgres::diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tally_domain::amount::Notation;
use tally_domain::{Column, Flow, Reason, Stage};
use tally_ports::{Migrations, Outcome, Raw, Row};
use tokio::sync::Notify;

#[derive(Debug)]
pub struct Freezing;

impl Flow for Freezing {
    const NAME: &'static str = "freezing";
    const COLUMNS: &'static [Column] = &[];
    const RULES: &'static [&'static str] = &[];

    type Wire = ();
    type Record = Arc<Notify>;
    type Answer = ();
    type Stats = ();

    fn validate((): (), _: Notation) -> Result<Self::Record, Reason> {
        Err(Reason::new(Stage::Validate, "none", "none"))
    }

    fn judge((): &mut (), _: &[Self::Record]) -> Vec<Vec<usize>> {
        Vec::new()
    }

    fn tally_name((): &()) -> Option<&str> {
        None
    }
}

/// A row whose effect notifies when it holds the lock.
pub fn row(frozen: &Arc<Notify>) -> Row<Freezing> {
    Row { position: 0, record: Arc::clone(frozen), answer: (), raw: Raw::default() }
}

impl PostgresEffect for Freezing {
    const MIGRATIONS: Migrations = Migrations { name: Self::NAME, scripts: &[] };

    async fn apply(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        connection
            .batch_execute(&format!("select from positions where id = {origin} for update"))
            .await?;
        rows[0].record.notify_one();
        pending().await
    }

    async fn apply_singly(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        Self::apply(connection, origin, rows).await
    }

    async fn replay(_: &mut AsyncPgConnection, _: i64, _: &Row<Self>) -> QueryResult<Outcome> {
        pending().await
    }
}
