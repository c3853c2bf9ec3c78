use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use tokio_postgres::Client;
use uuid::Uuid;

use super::server::Server;
use crate::background::{RUNTIME, blocking};
use crate::service::{WIPE_IDLE, shared_folder};

const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// An empty database of the test's own, on the shared server unless an [`OwnPostgres`](super::OwnPostgres) made it. Dropped
/// with this value, even with open connections.
///
/// Roles belong to the server, not to the database: name those a test makes after [`name`](Self::name).
pub struct TestDatabase {
    name: String,
    server: Arc<Server>,
}

impl TestDatabase {
    /// Panics, saying what to install, where no Postgres can be started.
    pub async fn create() -> Self {
        Self::on(shared().await).await
    }

    /// One whose texts are stored in `encoding`.
    pub async fn encoded(encoding: &str) -> Self {
        Self::made(shared().await, &format!("encoding '{encoding}' template template0")).await
    }

    pub(super) async fn on(server: Arc<Server>) -> Self {
        Self::made(server, "template template0").await
    }

    async fn made(server: Arc<Server>, how: &str) -> Self {
        let name = format!("t_{}", Uuid::now_v7().simple());
        let create = format!("create database {name} {how}");
        super::execute(&server.superuser_url("postgres"), &create).await;
        Self { name, server }
    }

    /// Unique, and fit for an unquoted identifier.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the superuser.
    pub fn url(&self) -> String {
        self.server.superuser_url(&self.name)
    }

    /// As somebody else, who need not exist.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.server.url(user, password, &self.name)
    }

    /// With `sslmode=verify-full` and the authority to trust.
    pub fn tls_url(&self) -> String {
        self.server.tls_url(&self.name)
    }

    /// By way of another address, a [`Proxy`](crate::proxy::Proxy)'s.
    pub fn url_through(&self, addr: SocketAddr) -> String {
        format!("postgres://postgres:postgres@{addr}/{}?sslmode=disable", self.name)
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// See [`connect`](super::connect).
    pub async fn connect(&self) -> Client {
        super::connect(&self.url()).await
    }

    /// See [`execute`](super::execute).
    pub async fn execute(&self, sql: &str) {
        super::execute(&self.url(), sql).await;
    }

    /// See [`query_text`](super::query_text).
    pub async fn query_text(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        super::query_text(&self.url(), sql).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let url = self.server.superuser_url("postgres");
        let sql = format!("drop database if exists {} with (force)", self.name);
        let (done, wait) = mpsc::channel();
        RUNTIME.spawn(async move {
            // Best effort: the database goes with the server at the latest.
            let _ = super::try_execute(&url, &sql).await;
            let _ = done.send(());
        });
        let _ = wait.recv_timeout(DROP_TIMEOUT);
    }
}

/// The server of all test processes of this user in this checkout.
async fn shared() -> Arc<Server> {
    static SHARED: OnceLock<Arc<Server>> = OnceLock::new();
    let start = || Arc::new(Server::start(shared_folder("tests"), WIPE_IDLE, None));
    blocking(move || Arc::clone(SHARED.get_or_init(start))).await
}
