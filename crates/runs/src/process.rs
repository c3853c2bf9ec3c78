//! The process that a run works in.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tally_pipeline::{CancellationToken, Gates, Status};
use uuid::Uuid;

/// How long a call other than a commit may take while the run ends, such as releasing a lease, which is then left to
/// expire.
pub const GRACE: Duration = Duration::from_secs(1);

/// A process that works on records.
#[derive(Clone)]
pub struct Process {
    /// Its name in leases and in the ledger.
    pub name: Arc<str>,
    /// The machine's name.
    pub host: String,
    /// What `/ready` says.
    pub status: Arc<Status>,
    /// The gates of its dependencies.
    pub gates: Gates,
    /// Cancelled when the run is to end.
    pub stop: CancellationToken,
}

impl Process {
    /// This process, which gives up after an outage of `max_outage`; `source` is the label of the source. Its name is
    /// `PROGRAM@HOST:PID:` and a random part, as containers may share the rest.
    pub fn new(program: &str, source: &'static str, max_outage: Option<Duration>) -> Self {
        let status = Arc::new(Status::default());
        let gates = Gates::new(&status, source, max_outage);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim().to_owned();
        let random = Uuid::now_v7().as_u128() & 0xffff;
        let name = format!("{program}@{host}:{}:{random:04x}", std::process::id());
        Self { name: name.into(), host, status, gates, stop: CancellationToken::new() }
    }

    /// The result of `work`; `None` when it still waits for a dependency shortly after a stop request.
    pub fn unless_stopped<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        self.finish(work, GRACE)
    }

    /// The result of `work`; `None` when it takes longer than `drain` after a stop request.
    pub async fn finish<T>(&self, work: impl Future<Output = T>, drain: Duration) -> Option<T> {
        let out_of_time = async {
            self.stop.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = out_of_time => None,
        }
    }
}
