//! The store that a URL names, opened to be looked into.

#[cfg(feature = "postgres")]
use tally_adapter_postgres::PostgresLedgerReader;
use tally_adapter_sqlite::SqliteLedgerReader;
use tally_domain::CounterTable;
use tally_ports::audit::{Asked, Entry, PassName, Traces};
use tally_ports::{Audit, Auditor, Counters, Fault, Greatest, KnownFlow};

use crate::store::StoreUrl;
use crate::url::Url;

/// The store that a URL names, opened read-only.
#[derive(Debug)]
pub enum LedgerReader {
    /// An embedded file.
    Sqlite(SqliteLedgerReader),
    /// A server.
    #[cfg(feature = "postgres")]
    Postgres(PostgresLedgerReader),
}

impl LedgerReader {
    /// Opens the store at `url`, which has to have the tables of the `flows` as this program knows them.
    ///
    /// # Errors
    /// An outage when it is unavailable; a stop when a setting is wrong or the database is not a Tally database.
    pub async fn open(url: &Url, flows: &[KnownFlow]) -> Result<Self, Fault> {
        match StoreUrl::of(url)? {
            StoreUrl::File(path) => {
                let flows = flows.to_vec();
                let open = move || SqliteLedgerReader::open(path, &flows);
                match tokio::task::spawn_blocking(open).await {
                    Ok(opened) => opened.map(Self::Sqlite),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                }
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Server => {
                PostgresLedgerReader::open(url.expose(), flows).await.map(Self::Postgres)
            }
        }
    }
}

impl Audit for LedgerReader {
    async fn show<A: Auditor>(&self, auditor: A) -> Result<A, Fault> {
        match self {
            Self::Sqlite(ledger) => ledger.show(auditor).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ledger) => Box::pin(ledger.show(auditor)).await, // it is large
        }
    }

    async fn entries(
        &self,
        pass: &PassName,
        first: i64,
        limit: usize,
    ) -> Result<Vec<Entry>, Fault> {
        match self {
            Self::Sqlite(ledger) => ledger.entries(pass, first, limit).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ledger) => Box::pin(ledger.entries(pass, first, limit)).await,
        }
    }

    async fn traces(&self, asked: Asked) -> Result<Traces, Fault> {
        match self {
            Self::Sqlite(ledger) => ledger.traces(asked).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ledger) => Box::pin(ledger.traces(asked)).await,
        }
    }
}

impl Counters for LedgerReader {
    async fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> Result<Greatest, Fault> {
        match self {
            Self::Sqlite(ledger) => ledger.greatest(table, limit).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ledger) => Box::pin(ledger.greatest(table, limit)).await,
        }
    }
}
