//! Sink, positions, leases, ledger and dead letters on Postgres (12 or later).
//!
//! What a flow writes is made from its description of its tables; [`Postgres::open`] takes the flow with the scripts that
//! make them. Nothing here changes for a flow.
//!
//! # Sessions
//! One process may own many partitions and relay dead letters besides. So that a long commit cannot cost a lease, nor
//! a slow topic a commit, there are five pools, whose connections are opened when they are first needed:
//!
//! | pool | size | what may hold a connection up |
//! | --- | --- | --- |
//! | commits, outbox | `connections` | the commit itself; the partitions of a process take turns |
//! | heartbeats, joining, releasing | `connections` + 1 | a heartbeat waits for its own commit in flight, and there is one for each of these; the one more is always free |
//! | claims, `positions set` | 2 | the row that a frozen owner has locked, at most a lease |
//! | relay of dead letters, backlogs | 2 | the topic, at most half a lease |
//! | dead letters, acts, counters | 1 | a look through a large table |
//!
//! They set, with the lease as the unit:
//!
//! | setting | commits | all others |
//! | --- | --- | --- |
//! | `idle_in_transaction_session_timeout`, `lock_timeout`, `tcp_user_timeout`, keepalives | 1 lease | 1 lease |
//! | `statement_timeout` | 6 leases, at least 3 s | 2 leases, at least 3 s; dead letters 10 min |
//! | wait for any answer on our side, then the connection is given up | 1 lease (at least 1 s) longer | the same |
//!
//! So whatever stops answering, a frozen server or a network that swallows packets, becomes a
//! [`Fault::Outage`] within bounded time, and what a frozen owner locked is free within its lease.

mod acts;
mod audit;
mod commit;
mod connection;
mod counters;
mod dead_letter_relay;
mod dead_letters;
mod described;
mod earlier;
mod effect;
mod fault;
mod files;
mod ledger;
mod migrate;
mod outbox;
mod position_admin;
mod positions;
mod query;
mod replay;
mod retention;
mod singly;
mod table;
mod target;
mod tls;
mod workers;

use std::fmt;
use std::time::Duration;

pub use audit::PostgresLedgerReader;
pub use diesel;
pub use diesel_async;
use tally_ports::{Fault, KnownFlow};

use crate::connection::{Limits, Sessions};
use crate::target::Target;

/// How to reach the database. Its `Debug` does not show the URL, which may hold a password.
#[derive(Clone)]
pub struct Settings {
    /// `postgres://` or `postgresql://`, as libpq takes it. `sslmode` is one of `disable`, `prefer` (the default),
    /// `require` (encrypted, the server's certificate unchecked) and `verify-full`, which checks its chain and host
    /// name against the file `sslrootcert=PATH` or, without that or with `sslrootcert=system`, the system's roots.
    pub url: String,
    /// The lease of partitions: the unit of every timeout.
    pub lease: Duration,
    /// Whether pending migrations are applied; otherwise they are a wrong setting.
    pub migrate: bool,
    /// How many batches are committed at the same time, each on a connection of its own.
    pub connections: usize,
}

impl Settings {
    /// The defaults: a lease of 5 s, migrations applied, four connections.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), lease: Duration::from_secs(5), migrate: true, connections: 4 }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lease, migrate, connections, .. } = self;
        f.debug_struct("Settings")
            .field("lease", lease)
            .field("migrate", migrate)
            .field("connections", connections)
            .finish_non_exhaustive()
    }
}

/// The store. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Postgres {
    commits: Sessions,
    control: Sessions,
    claims: Sessions,
    relay: Sessions,
    people: Sessions,
    lease: Duration,
}

impl Postgres {
    /// Connects, applies pending migrations of the ledger and of `flows`, and opens the pools.
    ///
    /// A wrong URL, password or database, a database that is not UTF8, a missing privilege, a server certificate that is
    /// not trusted, a role that may have fewer connections than a process needs, a pooler in transaction mode, tables of our
    /// names that somebody else made, a database that is newer than this program and pending migrations that may not be applied are
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting); a server that is unavailable is an outage.
    pub async fn open(settings: &Settings, flows: &[KnownFlow]) -> Result<Self, Fault> {
        let target = Target::parse(&settings.url, settings.lease)?;
        let Settings { lease, connections, .. } = *settings;
        let sessions = connections + (connections + 1) + connection::CLAIMS + connection::RELAYS;
        let sessions = sessions + connection::PEOPLE;
        migrate::run(&target, settings.migrate, flows, sessions).await?;
        let pool = |limits, size| Sessions::new(target.clone(), limits, size);
        Ok(Self {
            commits: pool(Limits::of_commits(lease), connections)?,
            control: pool(Limits::of_control(lease), connections + 1)?,
            claims: pool(Limits::of_control(lease), connection::CLAIMS)?,
            relay: pool(Limits::of_control(lease), connection::RELAYS)?,
            people: pool(Limits::of_people(lease), connection::PEOPLE)?,
            lease,
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}
