//! Connections that are open and not in use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Connection;
use crate::api::Call;
use crate::client::Settings;
use crate::error::Error;

/// The connections to all brokers. A call has one for itself, so that none waits for another's answer, and gives it
/// back when it went well; a call that fails, or is dropped before its end, drops it.
pub(crate) struct Pool {
    settings: Settings,
    idle: Mutex<HashMap<Arc<str>, Vec<Connection>>>,
    /// As the broker to which the last connection was made knows it; all brokers of a cluster agree.
    transaction_version: AtomicI16,
}

impl Pool {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, idle: Mutex::default(), transaction_version: AtomicI16::new(0) }
    }

    /// A new connection, which is not of the pool.
    pub(crate) async fn open(&self, broker: &Arc<str>) -> Result<Connection, Error> {
        let connection = Connection::open(&self.settings, broker).await?;
        let version = connection.versions.of_transactions;
        self.transaction_version.store(version, Ordering::Relaxed);
        Ok(connection)
    }

    /// The version of transactions; 0 before the first connection.
    pub(crate) fn transaction_version(&self) -> i16 {
        self.transaction_version.load(Ordering::Relaxed)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The brokers to which a connection is open.
    pub(crate) fn connected(&self) -> Vec<Arc<str>> {
        let idle = self.idle();
        let open = idle.iter().filter(|(_, connections)| !connections.is_empty());
        open.map(|(broker, _)| broker.clone()).collect()
    }

    /// A request to a broker; see [`Connection::call_with`]. What is asked twice has no other effect, so it is asked
    /// again where a connection turns out to have been closed while nobody used it.
    pub(crate) async fn call<C: Call>(
        &self,
        broker: &Arc<str>,
        wait: Duration,
        highest: i16,
        build: impl Fn(i16) -> C,
    ) -> Result<C::Answer, Error> {
        while let Some(mut connection) = self.take(broker) {
            match connection.call_with(wait, highest, &build).await {
                Err(Error::Lost { .. }) => {}
                result => return self.end(connection, result),
            }
        }
        // Boxed, as it is large and seldom.
        let mut connection = Box::pin(self.open(broker)).await?;
        let result = connection.call_with(wait, highest, &build).await;
        self.end(connection, result)
    }

    fn end<T>(&self, connection: Connection, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_ok() && connection.is_fresh() {
            self.idle().entry(connection.broker().clone()).or_default().push(connection);
        }
        result
    }

    fn take(&self, broker: &Arc<str>) -> Option<Connection> {
        let mut idle = self.idle();
        let connections = idle.get_mut(broker)?;
        connections.retain(Connection::is_fresh);
        connections.pop()
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
