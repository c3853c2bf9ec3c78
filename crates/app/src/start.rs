//! What every binary does before its own work.

use std::sync::Arc;
use std::time::Duration;

use tally_pipeline::{Gates, Status};
use tally_ports::Stop;
use tally_telemetry::{Metrics, Readiness, Shutdown, logging, server};
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::settings::{Settings, wrong};

/// How long a call beside the commits may take once the run is to end: giving a lease back, for one, which is then left
/// to expire.
pub const GRACE: Duration = Duration::from_secs(1);

/// A process that works on records.
pub struct Worker {
    /// Its name in leases and in the ledger.
    pub name: Arc<str>,
    /// The machine's name.
    pub host: String,
    /// What `/ready` says.
    pub status: Arc<Status>,
    /// The gates of its dependencies.
    pub gates: Gates,
    /// Whether it was asked to stop.
    pub shutdown: Shutdown,
}

/// Starts logs, metrics, the endpoints that show them, and the listening for signals. Log lines go to `writer`;
/// `source` is what people call that which is read.
///
/// # Errors
/// When a setting of these is wrong, or the port is taken.
pub async fn start<W>(
    binary: &str,
    source: &'static str,
    settings: &Settings,
    writer: W,
) -> Result<Worker, Stop>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    logging::start(&settings.log.level, settings.log.format, writer)
        .map_err(|error| wrong(format!("setting log.level: {error}")))?;
    let shutdown =
        Shutdown::listen().map_err(|error| wrong(format!("cannot listen to signals: {error}")))?;
    let metrics =
        Metrics::install().map_err(|error| wrong(format!("cannot record metrics: {error}")))?;

    let status = Arc::new(Status::default());
    let gates = Gates::new(&status, source, settings.max_outage.limit());
    let (host, port) = (settings.obs.host.as_str(), settings.obs.port);
    let shown = Arc::clone(&status);
    let address =
        server::serve((host, port), metrics, move || readiness(&shown)).await.map_err(|error| {
            wrong(format!("cannot listen on obs.host {host}, obs.port {port}: {error}"))
        })?;
    tracing::info!("metrics, health and readiness on http://{address}");

    let host = host_name();
    let name = worker_name(binary, &host).into();
    Ok(Worker { name, host, status, gates, shutdown })
}

impl Worker {
    /// What `work` gives; `None` when it still waits for a dependency a moment after a stop was asked for.
    pub fn unless_stopped<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        self.finish(work, GRACE)
    }

    /// What `work` gives; `None` when it takes longer than `drain` after a stop was asked for.
    pub async fn finish<T>(&self, work: impl Future<Output = T>, drain: Duration) -> Option<T> {
        let out_of_time = async {
            self.shutdown.token.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = out_of_time => None,
        }
    }
}

fn readiness(status: &Status) -> Readiness {
    let now = status.snapshot();
    let since_epoch = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).ok();
    Readiness {
        ready: now.is_ready(),
        in_progress: now.in_progress,
        last_error: now.last_error,
        last_run_ts: now.last_commit.and_then(since_epoch).map(|time| time.as_secs_f64()),
    }
}

/// For people; its last part tells apart what has the same host name and process id, as containers may.
pub(crate) fn worker_name(binary: &str, host: &str) -> String {
    let random = Uuid::now_v7().as_u128() & 0xffff;
    format!("{binary}@{host}:{}:{random:04x}", std::process::id())
}

pub(crate) fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}
