//! The start of every binary.

use std::sync::Arc;

use tally_pipeline::Status;
use tally_ports::Stop;
use tally_runs::Process;
use tally_telemetry::{Counts, Metrics, Readiness, Shutdown, logging, server};
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::{Settings, wrong};

/// A process that works until a signal comes.
pub struct Worker {
    /// The part that runs use.
    pub process: Process,
    /// Whether it was asked to stop.
    pub shutdown: Shutdown,
    /// The counters on its `/metrics`.
    pub counts: Counts,
}

/// Starts logs, metrics and their endpoints, and listens for signals. Log lines go to `writer`;
/// `source` is the label of the source.
///
/// # Errors
/// When one of these settings is wrong, or the port is taken.
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
    let counts = Counts::default();
    let metrics = Metrics::install(counts.clone())
        .map_err(|error| wrong(format!("cannot record metrics: {error}")))?;

    let process = process(binary, source, settings, &shutdown);
    let (host, port) = (settings.obs.host.as_str(), settings.obs.port);
    let shown = Arc::clone(&process.status);
    let address =
        server::serve((host, port), metrics, move || readiness(&shown)).await.map_err(|error| {
            wrong(format!("cannot listen on obs.host {host}, obs.port {port}: {error}"))
        })?;
    tracing::info!("metrics, health and readiness on http://{address}");

    Ok(Worker { process, shutdown, counts })
}

/// The part that runs use, of a process that ends on a signal.
pub(crate) fn process(
    binary: &str,
    source: &'static str,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Process {
    let stop = shutdown.token.clone();
    Process { stop, ..Process::new(binary, source, settings.max_outage.limit()) }
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
