//! What every binary does before its own work.

use std::sync::Arc;

use tally_pipeline::{Gates, Status};
use tally_ports::Stop;
use tally_telemetry::{Metrics, Readiness, Shutdown, logging, server};
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::settings::{Settings, wrong};

/// A process that works on records.
pub struct Worker {
    /// Its name in leases and in the ledger.
    pub name: Arc<str>,
    /// What `/ready` says.
    pub status: Arc<Status>,
    /// The gates of its dependencies.
    pub gates: Gates,
    /// Whether it was asked to stop.
    pub shutdown: Shutdown,
}

/// Starts logs, metrics, the endpoints that show them, and the listening for signals. Log lines go to `writer`.
///
/// # Errors
/// When a setting of these is wrong, or the port is taken.
pub async fn start<W>(binary: &str, settings: &Settings, writer: W) -> Result<Worker, Stop>
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
    let gates = Gates::new(&status, settings.max_outage.limit());
    let (host, port) = (settings.obs.host.as_str(), settings.obs.port);
    let shown = Arc::clone(&status);
    let address =
        server::serve((host, port), metrics, move || readiness(&shown)).await.map_err(|error| {
            wrong(format!("cannot listen on obs.host {host}, obs.port {port}: {error}"))
        })?;
    tracing::info!("metrics, health and readiness on http://{address}");

    let name = worker_name(binary).into();
    Ok(Worker { name, status, gates, shutdown })
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
fn worker_name(binary: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = Uuid::now_v7().as_u128() & 0xffff;
    format!("{binary}@{}:{}:{random:04x}", host.trim(), std::process::id())
}
