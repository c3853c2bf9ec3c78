//! Pools of connections and their time limits.

use std::future::Future;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use diesel::QueryResult;
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tally_ports::Fault;
use tokio::time::timeout;

use crate::fault;
use crate::target::Target;

/// One may wait for a row that a frozen owner has locked while the other goes on.
pub(crate) const CLAIMS: usize = 2;

/// One may wait for the topic while the other counts.
pub(crate) const RELAYS: usize = 2;

/// One at a time.
pub(crate) const PEOPLE: usize = 1;

/// Time limits of a session.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    lease: Duration,
    statement: Duration,
}

impl Limits {
    const SHORTEST_STATEMENT: Duration = Duration::from_secs(3);
    const LONGEST_LOOK: Duration = Duration::from_mins(10);

    pub(crate) fn of_commits(lease: Duration) -> Self {
        Self { lease, statement: lease.saturating_mul(6).max(Self::SHORTEST_STATEMENT) }
    }

    pub(crate) fn of_control(lease: Duration) -> Self {
        Self { lease, statement: lease.saturating_mul(2).max(Self::SHORTEST_STATEMENT) }
    }

    /// For requests of operators, which may scan a large table.
    pub(crate) fn of_people(lease: Duration) -> Self {
        Self { lease, statement: lease.saturating_mul(6).max(Self::LONGEST_LOOK) }
    }

    /// How long to wait for an answer: longer than the server's own limit.
    fn answer(self) -> Duration {
        self.statement + self.lease.max(Duration::from_secs(1))
    }

    fn settings(self) -> String {
        let milliseconds = |duration: Duration| duration.as_millis().max(1);
        let (lease, statement) = (milliseconds(self.lease), milliseconds(self.statement));
        let seconds = self.lease.as_secs().max(1);
        format!(
            "set idle_in_transaction_session_timeout = {lease}; set lock_timeout = {lease}; \
             set statement_timeout = {statement}; set tcp_user_timeout = {lease}; \
             set tcp_keepalives_idle = {seconds}; set tcp_keepalives_interval = {}; set tcp_keepalives_count = 3",
            (seconds / 3).max(1)
        )
    }
}

/// A pool of sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    pool: Pool<Connector>,
    wait: Duration,
    limits: Limits,
}

impl Sessions {
    pub(crate) fn new(target: Target, limits: Limits, size: usize) -> Result<Self, Fault> {
        let wait = target.connect_timeout + limits.answer();
        let pool = Pool::builder(Connector { target, limits }).max_size(size.max(1)).build();
        let pool = pool
            .map_err(|error| Fault::outage(format!("postgres: no pool of connections: {error}")))?;
        Ok(Self { pool, wait, limits })
    }

    /// An idle session, or a new one.
    pub(crate) async fn session(&self) -> Result<Session, Fault> {
        match timeout(self.wait, self.pool.get()).await {
            Ok(Ok(object)) => Ok(Session { object: Some(object), limit: self.limits.answer() }),
            Ok(Err(PoolError::Backend(fault))) => Err(fault),
            Ok(Err(error)) => Err(Fault::outage(format!("postgres: no connection: {error}"))),
            Err(_) => Err(Fault::outage(format!(
                "postgres: no connection was free within {:?}",
                self.wait
            ))),
        }
    }
}

/// A connection in use. Unless it is [kept](Session::keep) it is closed when dropped, and with it whatever
/// transaction a fault or a cancelled future left open.
pub(crate) struct Session {
    object: Option<Object<Connector>>,
    limit: Duration,
}

impl Session {
    /// Returns the connection to the pool: no transaction is open in it.
    pub(crate) fn keep(mut self) {
        drop(self.object.take());
    }

    /// The connection, and how long to wait for each of its answers.
    pub(crate) fn parts(&mut self) -> (&mut AsyncPgConnection, Duration) {
        let Some(object) = self.object.as_mut() else {
            unreachable!("only the end of the session takes it")
        };
        (object, self.limit)
    }

    /// Runs SQL without values.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), Fault> {
        let (connection, limit) = self.parts();
        answer(limit, connection.batch_execute(sql)).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

/// Makes connections for a pool.
pub(crate) struct Connector {
    target: Target,
    limits: Limits,
}

impl Manager for Connector {
    type Type = AsyncPgConnection;
    type Error = Fault;

    async fn create(&self) -> Result<AsyncPgConnection, Fault> {
        let Target { config, tls, name, connect_timeout } = &self.target;
        // Boxed: a TLS handshake's state is large, and would be a part of every call's.
        let connect = Box::pin(async {
            let connected = config.connect(tls.connector.clone()).await;
            let (client, driver) = connected.map_err(|error| fault::of_connecting(name, &error))?;
            let mut connection = AsyncPgConnection::try_from_client_and_connection(client, driver)
                .await
                .map_err(|error| Fault::outage(format!("postgres at {name}: {error}")))?;
            connection
                .batch_execute(&self.limits.settings())
                .await
                .map_err(|error| fault::of_statement(&error))?;
            Ok(connection)
        });
        within(*connect_timeout, connect).await?
    }

    async fn recycle(
        &self,
        connection: &mut AsyncPgConnection,
        _: &Metrics,
    ) -> RecycleResult<Fault> {
        if connection.is_broken() {
            Err(RecycleError::message("closed while it was idle"))
        } else {
            Ok(())
        }
    }
}

/// The result of `work`, or an outage when there is none within `limit`.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Fault> {
    timeout(limit, work)
        .await
        .map_err(|_| Fault::outage(format!("postgres: no answer within {limit:?}")))
}

/// The answer to a statement that binds no values of records.
pub(crate) async fn answer<T>(
    limit: Duration,
    statement: impl Future<Output = QueryResult<T>>,
) -> Result<T, Fault> {
    within(limit, statement).await?.map_err(|error| fault::of_statement(&error))
}
