//! csv-runner with the model, as processes.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde::Deserialize;
use tempfile::{Builder, TempDir};
use tokio::process::Command;

use crate::measure::{self, Measured};

/// What one run took.
pub struct Run {
    /// By wall time, of a process from its start to its end.
    pub rows_per_second: f64,
    /// As csv-runner counts it.
    pub summary_rows_per_second: Option<f64>,
    /// User and system time of csv-runner, in seconds.
    pub cpu_seconds: Option<f64>,
    /// The most memory that csv-runner had resident.
    pub peak_kib: Option<i64>,
}

/// A file for csv-runner and how many rows it has.
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// How many rows it has.
    pub rows: u64,
}

/// A folder of its own in `dir`, which the server's own user can enter; removed when its value goes.
pub fn folder(dir: &Path) -> anyhow::Result<TempDir> {
    let enter = Permissions::from_mode(0o755);
    let folder = Builder::new().prefix("tally-bench-").permissions(enter).tempdir_in(dir)?;
    eprintln!("working in {}", folder.path().display());
    Ok(folder)
}

/// Writes the same `rows` valid rows as ever to a file in `folder`.
pub async fn sample(folder: &Path, rows: u64) -> anyhow::Result<Sample> {
    let path = folder.join(format!("{rows}.csv"));
    let file = std::fs::File::create(&path)?;
    let mut command = Command::new(measure::beside("sample")?);
    let status = command.arg(rows.to_string()).stdout(file).kill_on_drop(true).status().await?;
    ensure!(status.success(), "sample ended with {status}");
    Ok(Sample { path, rows })
}

/// The model service, until its value goes.
pub struct Model {
    url: String,
    _service: Measured,
}

impl Model {
    /// Starts it.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut service = Measured::start("ml-api", folder, ["--listen", "127.0.0.1:0"], &[])?;
        let url = service.line("listening on ").await?;
        Ok(Self { url, _service: service })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Takes `sample` into the empty database at `url` and ensures that the summary accounts for each of its rows, all
/// of them written.
pub async fn run(folder: &Path, sample: &Sample, model: &Model, url: &str) -> anyhow::Result<Run> {
    let args = [sample.path.as_os_str(), "--summary".as_ref(), "json".as_ref()];
    let envs = [("DATABASE_URL", url), ("ML_API_URL", &model.url)];
    let usage = Measured::start("csv-runner", folder, args, &envs)?.end().await?;
    let summary: Summary = serde_json::from_str(&usage.output)?;
    let categories: u64 = summary.categories.values().sum();
    let is_whole = [summary.read, summary.written, categories] == [sample.rows; 3]
        && summary.superseded + summary.skipped + summary.dead_lettered == 0;
    ensure!(is_whole, "csv-runner does not account for {} rows: {}", sample.rows, usage.output);

    Ok(Run {
        rows_per_second: rate(sample.rows, usage.seconds),
        summary_rows_per_second: Some(summary.rows_per_second),
        cpu_seconds: Some(usage.cpu_seconds),
        peak_kib: Some(usage.peak_kib),
    })
}

#[derive(Deserialize)]
struct Summary {
    read: u64,
    written: u64,
    superseded: u64,
    skipped: u64,
    dead_lettered: u64,
    rows_per_second: f64,
    categories: BTreeMap<String, u64>,
}

/// Rows per second.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
pub fn rate(rows: u64, seconds: f64) -> f64 {
    rows as f64 / seconds
}
