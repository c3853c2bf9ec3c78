//! The real Postgres, started natively by `infra/native/postgres.sh`.
//!
//! [`TestDatabase`] is a database of its own on the one server that all tests share; [`OwnPostgres`] is a server of
//! its own, for tests that stop, freeze or kill it. Each test process holds a shared lock on a file beside the data
//! and the script's watch removes the server when nobody does any more (after 60 s for the shared one), so nothing
//! stays behind, not even when the tests are killed.

mod database;
mod own;
mod server;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub use database::TestDatabase;
pub use own::OwnPostgres;

use crate::background::RUNTIME;

/// A session, for what has to stay open: a lock, a transaction, a setting.
pub async fn connect(url: &str) -> Client {
    try_connect(url)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to the test's Postgres: {error:?}"))
}

/// Runs statements on a session of their own.
pub async fn execute(url: &str, sql: &str) {
    try_execute(url, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The rows of a query, each value as Postgres writes it; `None` is null.
pub async fn query_text(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    let answer = connect(url)
        .await
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut rows = Vec::new();
    for message in answer {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
        }
    }
    rows
}

async fn try_connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    RUNTIME.spawn(connection);
    Ok(client)
}

async fn try_execute(url: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    try_connect(url).await?.batch_execute(sql).await
}
