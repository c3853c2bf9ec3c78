//! The store that a URL names.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "postgres")]
use tally_adapter_postgres::{Postgres, PostgresEffect};
use tally_adapter_sqlite::{Sqlite, SqliteEffect};
use tally_ports::{Claim, Commit, Committed, Fault, Lease, Positions, Sink, Stream};

use crate::settings::{Settings, wrong};

/// A flow that every store of this program can write.
#[cfg(feature = "postgres")]
pub trait Stored: SqliteEffect + PostgresEffect {}
#[cfg(feature = "postgres")]
impl<F: SqliteEffect + PostgresEffect> Stored for F {}

/// A flow that every store of this program can write.
#[cfg(not(feature = "postgres"))]
pub trait Stored: SqliteEffect {}
#[cfg(not(feature = "postgres"))]
impl<F: SqliteEffect> Stored for F {}

/// The store that a URL names.
#[derive(Debug)]
pub enum Store {
    /// An embedded file.
    Sqlite(Sqlite),
    /// A server.
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
}

impl Store {
    /// Opens the store of `settings.database_url` and brings its tables up to date for the flow.
    ///
    /// # Errors
    /// An outage when it is away; a stop when a setting is wrong or its tables are not ours.
    pub async fn open<F: Stored>(settings: &Settings) -> Result<Self, Fault> {
        let url = &settings.database_url;
        if let Some(path) = url.expose().strip_prefix("sqlite:") {
            if path.is_empty() {
                return Err(wrong("database_url sqlite: has no path: write sqlite:tally.db").into());
            }
            if path.starts_with("//") && !path.starts_with("///") {
                return Err(
                    wrong(format!("database_url {url} names a host: write sqlite:PATH")).into()
                );
            }
            let (lease, migrate) = (settings.lease.length(), settings.migrate);
            let settings = tally_adapter_sqlite::Settings { path: path.into(), lease, migrate };
            let open = move || Sqlite::open(&settings, &[<F as SqliteEffect>::MIGRATIONS]);
            return match tokio::task::spawn_blocking(open).await {
                Ok(opened) => opened.map(Self::Sqlite),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
        }
        if url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://") {
            #[cfg(feature = "postgres")]
            return Box::pin(Self::open_postgres::<F>(settings)).await; // it is large
            #[cfg(not(feature = "postgres"))]
            return Err(wrong("this program was built without the feature `postgres`").into());
        }
        Err(wrong(format!("database_url {url} is none of sqlite:PATH, postgres://, postgresql://"))
            .into())
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres<F: Stored>(settings: &Settings) -> Result<Self, Fault> {
        let settings = tally_adapter_postgres::Settings {
            lease: settings.lease.length(),
            migrate: settings.migrate,
            ..tally_adapter_postgres::Settings::new(settings.database_url.expose())
        };
        Postgres::open(&settings, &[<F as PostgresEffect>::MIGRATIONS]).await.map(Self::Postgres)
    }
}

/// The same call on whichever store it is.
macro_rules! on_store {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Sqlite($store) => $call.await,
            #[cfg(feature = "postgres")]
            Self::Postgres($store) => $call.await,
        }
    };
}

impl<F: Stored> Sink<F> for Store {
    async fn commit(&self, commit: &Arc<Commit<F>>) -> Result<Committed, Fault> {
        on_store!(self, store => store.commit(commit))
    }
}

impl Positions for Store {
    async fn claim(
        &self,
        stream: &Stream,
        owner: &str,
        lease: Duration,
        again: bool,
    ) -> Result<Claim, Fault> {
        on_store!(self, store => store.claim(stream, owner, lease, again))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Fault> {
        on_store!(self, store => store.renew(lease))
    }

    async fn release(&self, lease: &Lease) -> Result<(), Fault> {
        on_store!(self, store => store.release(lease))
    }

    async fn finish(&self, lease: &Lease, next: i64) -> Result<(), Fault> {
        on_store!(self, store => store.finish(lease, next))
    }
}
