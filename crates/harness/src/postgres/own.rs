use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::Client;

use super::TestDatabase;
use super::server::Server;
use crate::background::blocking;
use crate::service::{lives, own_folder, parent};
use tally_testkit::eventually;

const DEATH: Duration = Duration::from_secs(20);

/// A server of the test's own, with one database; wiped with this value, and a few seconds after the test is killed.
pub struct OwnPostgres {
    server: Arc<Server>,
}

impl OwnPostgres {
    /// Takes about a second. Panics, saying what to install, where no Postgres can be started.
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    /// One whose changes Debezium can read.
    pub async fn logical() -> Self {
        Self::launch(Some(("PG_WAL_LEVEL", "logical".to_owned()))).await
    }

    async fn launch(more: Option<(&'static str, String)>) -> Self {
        let server = blocking(|| Server::start(own_folder(), Duration::ZERO, more)).await;
        Self { server: Arc::new(server) }
    }

    /// An empty database on it, for what works on a [`TestDatabase`].
    pub async fn database(&self) -> TestDatabase {
        TestDatabase::on(Arc::clone(&self.server)).await
    }

    /// As the superuser; the same after [`start_again`](Self::start_again).
    pub fn url(&self) -> String {
        self.server.superuser_url("tally")
    }

    /// With `sslmode=verify-full` and the authority to trust.
    pub fn tls_url(&self) -> String {
        self.server.tls_url("tally")
    }

    /// Where it listens.
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

    /// Stops it as an administrator would: sessions are ended, nothing is lost.
    pub async fn stop(&self) {
        self.run("stop").await;
    }

    /// Up again on the same port with the same data, after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub async fn start_again(&self) {
        self.run("start").await;
    }

    /// Kills every process of it with SIGKILL and returns when they are dead.
    pub async fn kill(&self) {
        let processes = self.processes();
        for &process in &processes {
            let _ = kill(process, Signal::SIGKILL);
        }
        eventually(DEATH, async || !processes.iter().any(|&process| lives(process))).await;
    }

    /// Freezes every process of it: connections stay open, nothing answers.
    pub fn freeze(&self) {
        let postmaster = self.postmaster();
        kill(postmaster, Signal::SIGSTOP).expect("the server lives");
        for process in self.processes() {
            let _ = kill(process, Signal::SIGSTOP);
        }
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        for process in self.processes() {
            let _ = kill(process, Signal::SIGCONT);
        }
    }

    async fn run(&self, verb: &'static str) {
        let server = Arc::clone(&self.server);
        blocking(move || server.service().run(&[verb])).await;
    }

    fn postmaster(&self) -> Pid {
        let text = self.server.service().note("postgres/data/postmaster.pid");
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        Pid::from_raw(pid.expect("a pid in the first line"))
    }

    /// The postmaster first, then its children.
    fn processes(&self) -> Vec<Pid> {
        let postmaster = self.postmaster();
        let mut processes = vec![postmaster];
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let pid =
                entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw);
            if let Some(pid) = pid
                && parent(pid) == Some(postmaster)
            {
                processes.push(pid);
            }
        }
        processes
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.server.service().wipe();
    }
}
