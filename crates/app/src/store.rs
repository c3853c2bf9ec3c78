//! The store that a URL names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;
#[cfg(feature = "postgres")]
use tally_adapter_postgres::Postgres;
use tally_adapter_sqlite::Sqlite;
use tally_domain::CounterTable;
use tally_ports::{
    Act, Begin, Claim, Commit, Committed, Counters, DeadLetterRelay, Earlier, Fault, Finished,
    FoundFile, FoundFiles, Greatest, Join, KnownFlow, Lease, LogRange, LoggedAct, Outbox,
    OutboxRecord, PartitionState, PositionAdmin, Positions, PublishDeadLetters, Retention, SetTo,
    Sink, Stop, Stream, Tolerance, Worker, Workers,
};

use crate::settings::{Settings, wrong};
use crate::url::Url;

/// The store that a URL names.
#[derive(Debug)]
pub enum Store {
    /// An embedded file.
    Sqlite(Sqlite),
    /// A server.
    #[cfg(feature = "postgres")]
    Postgres(Box<Postgres>),
}

impl Store {
    /// Opens the store of `settings.database_url` and brings its tables up to date for the `flows`.
    ///
    /// # Errors
    /// An outage when it is unavailable; a stop when a setting is wrong or the database is not a Tally database.
    pub async fn open(settings: &Settings, flows: &[KnownFlow]) -> Result<Self, Fault> {
        match StoreUrl::of(&settings.database_url)? {
            StoreUrl::File(path) => {
                let (lease, migrate) = (settings.lease.length(), settings.migrate);
                let settings = tally_adapter_sqlite::Settings { path, lease, migrate };
                let flows = flows.to_vec();
                let open = move || Sqlite::open(&settings, &flows);
                match tokio::task::spawn_blocking(open).await {
                    Ok(opened) => opened.map(Self::Sqlite),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                }
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Server => Box::pin(Self::open_postgres(settings, flows)).await, // it is large
        }
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres(settings: &Settings, flows: &[KnownFlow]) -> Result<Self, Fault> {
        let settings = tally_adapter_postgres::Settings {
            lease: settings.lease.length(),
            migrate: settings.migrate,
            ..tally_adapter_postgres::Settings::new(settings.database_url.expose())
        };
        let opened = Postgres::open(&settings, flows).await?;
        Ok(Self::Postgres(Box::new(opened)))
    }
}

/// The kinds of database URLs.
pub(crate) enum StoreUrl {
    /// A file of SQLite.
    File(PathBuf),
    /// A server of Postgres.
    #[cfg(feature = "postgres")]
    Server,
}

impl StoreUrl {
    /// Parses a database URL.
    ///
    /// # Errors
    /// When the URL names no store.
    pub(crate) fn of(url: &Url) -> Result<Self, Stop> {
        if let Some(path) = url.expose().strip_prefix("sqlite:") {
            if path.is_empty() {
                return Err(wrong("database_url sqlite: has no path: write sqlite:tally.db"));
            }
            if path.contains(":memory:") {
                let why = "keeps nothing for the next run: write sqlite:tally.db";
                return Err(wrong(format!("database_url {url} {why}")));
            }
            if let Some((path, _)) = path.split_once('?') {
                let why = "has options after ?, of which SQLite's database takes none";
                return Err(wrong(format!(
                    "database_url sqlite:{path}?*** {why}: write sqlite:{path}"
                )));
            }
            if path.starts_with("//") && !path.starts_with("///") {
                return Err(wrong(format!("database_url {url} names a host: write sqlite:PATH")));
            }
            return Ok(Self::File(path.into()));
        }
        if url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://") {
            #[cfg(feature = "postgres")]
            return Ok(Self::Server);
            #[cfg(not(feature = "postgres"))]
            return Err(wrong("this program was built without the feature `postgres`"));
        }
        let known = "sqlite:PATH, postgres://, postgresql://";
        Err(wrong(format!("database_url {url} is not one of {known}")))
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

mod dead_letters;

impl Sink for Store {
    async fn commit(&self, commit: &Arc<Commit>) -> Result<Committed, Fault> {
        on_store!(self, store => store.commit(commit))
    }

    async fn earlier(&self, range: &LogRange) -> Result<Earlier, Fault> {
        on_store!(self, store => store.earlier(range))
    }
}

impl Outbox for Store {
    async fn outbox(&self, lease: &Lease, limit: usize) -> Result<Vec<OutboxRecord>, Fault> {
        on_store!(self, store => store.outbox(lease, limit))
    }

    async fn published(&self, lease: &Lease, last: i64) -> Result<(), Fault> {
        on_store!(self, store => store.published(lease, last))
    }

    async fn unpublished(&self, flow: &str) -> Result<i64, Fault> {
        on_store!(self, store => store.unpublished(flow))
    }

    async fn claim_outbox(
        &self,
        flow: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<(Stream, Lease)>, Fault> {
        on_store!(self, store => store.claim_outbox(flow, owner, lease))
    }
}

impl Positions for Store {
    async fn claim(
        &self,
        stream: &Stream,
        owner: &str,
        lease: Duration,
        begin: Begin,
    ) -> Result<Claim, Fault> {
        on_store!(self, store => store.claim(stream, owner, lease, begin))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Fault> {
        on_store!(self, store => store.renew(lease))
    }

    async fn release(&self, lease: &Lease) -> Result<(), Fault> {
        on_store!(self, store => store.release(lease))
    }

    async fn finish(
        &self,
        lease: &Lease,
        next: i64,
        tolerance: Tolerance,
    ) -> Result<Option<Finished>, Fault> {
        on_store!(self, store => store.finish(lease, next, tolerance))
    }
}

impl Workers for Store {
    async fn join_stream(&self, worker: &Worker, lease: Duration) -> Result<Join, Fault> {
        on_store!(self, store => store.join_stream(worker, lease))
    }

    async fn begin(
        &self,
        worker: &Worker,
        label: &str,
        starts: &[(i32, i64)],
    ) -> Result<(), Fault> {
        on_store!(self, store => store.begin(worker, label, starts))
    }

    async fn leave(&self, worker: &Worker) -> Result<(), Fault> {
        on_store!(self, store => store.leave(worker))
    }
}

impl PositionAdmin for Store {
    async fn partition_states(
        &self,
        flow: &str,
        stream: &str,
    ) -> Result<Vec<PartitionState>, Fault> {
        on_store!(self, store => store.partition_states(flow, stream))
    }

    async fn set(
        &self,
        stream: &Stream,
        to: SetTo,
        lease: Option<&Lease>,
        act: &Act,
    ) -> Result<(), Fault> {
        on_store!(self, store => store.set(stream, to, lease, act))
    }
}

impl Counters for Store {
    async fn greatest(
        &self,
        table: CounterTable<'_>,
        limit: Option<usize>,
    ) -> Result<Greatest, Fault> {
        on_store!(self, store => store.greatest(table, limit))
    }
}

impl Retention for Store {
    async fn delete_old(
        &self,
        table: &str,
        before: NaiveDateTime,
        limit: usize,
        logged_act: &LoggedAct,
    ) -> Result<i64, Fault> {
        on_store!(self, store => store.delete_old(table, before, limit, logged_act))
    }
}

impl FoundFiles for Store {
    async fn found_files(
        &self,
        flow: &str,
        place: &str,
        name: Option<&str>,
    ) -> Result<Vec<FoundFile>, Fault> {
        on_store!(self, store => store.found_files(flow, place, name))
    }

    async fn note_file(
        &self,
        flow: &str,
        place: &str,
        file: &FoundFile,
    ) -> Result<Option<u32>, Fault> {
        on_store!(self, store => store.note_file(flow, place, file))
    }
}

impl DeadLetterRelay for Store {
    async fn relay<P: PublishDeadLetters>(
        &self,
        flow: &str,
        limit: usize,
        publisher: &P,
    ) -> Result<usize, Fault> {
        on_store!(self, store => store.relay(flow, limit, publisher))
    }

    async fn backlog(&self, flow: &str) -> Result<i64, Fault> {
        on_store!(self, store => store.backlog(flow))
    }
}
