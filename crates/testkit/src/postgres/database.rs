use std::env;
use std::net::SocketAddr;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use nix::unistd::getuid;
use tokio_postgres::Client;
use uuid::Uuid;

use super::server::{Server, root};
use crate::background::{RUNTIME, blocking};

const WIPE_IDLE: Duration = Duration::from_mins(1);
const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// An empty database of its own on the shared server; dropped, whoever is still connected, with this value.
///
/// Roles belong to the server, not to the database: name those a test makes after [`name`](Self::name).
pub struct TestDatabase {
    name: String,
    server: &'static Server,
}

impl TestDatabase {
    /// Panics, saying what to install, where no Postgres can be started.
    pub async fn create() -> Self {
        let server = shared().await;
        let name = format!("t_{}", Uuid::now_v7().simple());
        super::execute(
            &server.superuser_url("postgres"),
            &format!("create database {name} template template0"),
        )
        .await;
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
async fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    let start = || {
        let checkout = Uuid::new_v5(&Uuid::NAMESPACE_URL, root().as_os_str().as_encoded_bytes())
            .simple()
            .to_string();
        let folder = env::temp_dir().join(format!("tally-tests-{}-{}", getuid(), &checkout[..12]));
        Server::start(folder, WIPE_IDLE)
    };
    blocking(move || SHARED.get_or_init(start)).await
}
