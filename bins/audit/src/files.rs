//! The files that were read.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_csv::CsvFile;
use tally_app::{Settings, Stored};
use tally_audit::{Findings, check_file};
use tally_ports::audit::Pass;
use tally_ports::{Fault, Source, Stop};

/// As many rows are looked at once; a batch is closed earlier at 4 MiB.
const ROWS_AT_ONCE: usize = 10_000;

/// A file that was read, counted again.
#[derive(Debug, Serialize)]
pub struct SourceFile {
    /// As it was given.
    pub path: String,
    /// The hash of its content.
    pub fingerprint: String,
    /// How many rows it has.
    pub rows: i64,
    /// `file/FINGERPRINT`.
    #[serde(skip)]
    pub stream: String,
}

impl SourceFile {
    /// Counts the rows of all of them.
    ///
    /// # Errors
    /// When one cannot be read, or is no table.
    pub async fn open_all<F: Stored>(
        paths: &[PathBuf],
        settings: &Settings,
    ) -> Result<Vec<Self>, Stop> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let file: CsvFile<F> = CsvFile::open(path, &settings.csv).await?;
            let fingerprint = file.fingerprint().await.map_err(Fault::into_stop)?;
            files.push(Self {
                path: path.display().to_string(),
                stream: format!("file/{fingerprint}"),
                fingerprint,
                rows: count(&file).await?,
            });
        }
        Ok(files)
    }

    /// Compares it with what the flow says of it.
    pub fn compare(&self, flow: &str, findings: &mut Findings) {
        let Findings { passes, violations, .. } = findings;
        let is_of_file = |pass: &&Pass| pass.name.stream == self.stream && pass.name.flow == flow;
        let passes: Vec<&Pass> = passes.iter().filter(is_of_file).collect();
        check_file(&self.path, &self.stream, self.rows, &passes, violations);
    }
}

async fn count<F: Stored>(file: &CsvFile<F>) -> Result<i64, Stop> {
    let mut source = file.read_from(0, &Value::Null).await?;
    let mut rows = 0;
    while let Some(batch) = source.next_batch(ROWS_AT_ONCE).await.map_err(Fault::into_stop)? {
        rows += i64::try_from(batch.items.len()).unwrap_or(i64::MAX);
    }
    Ok(rows)
}
