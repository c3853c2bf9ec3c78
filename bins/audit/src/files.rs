//! The files that were read.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_csv::CsvFile;
use tally_app::{Books, Settings, Stored};
use tally_audit::{Findings, check_file};
use tally_domain::Classified;
use tally_ports::audit::Pass;
use tally_ports::position::FILE;
use tally_ports::{Fault, Item, Source, Stop};

use crate::records::look_for;

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
}

/// A file that was read.
pub struct Opened<F: Stored> {
    path: String,
    fingerprint: String,
    file: CsvFile<F>,
}

impl<F: Stored + Classified> Opened<F> {
    /// Opens all of them.
    ///
    /// # Errors
    /// When one cannot be read, or is no table.
    pub async fn all(paths: &[PathBuf], settings: &Settings) -> Result<Vec<Self>, Stop> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let file: CsvFile<F> = CsvFile::open(path, &settings.csv).await?;
            let fingerprint = file.fingerprint().await.map_err(Fault::into_stop)?;
            files.push(Self { path: path.display().to_string(), fingerprint, file });
        }
        Ok(files)
    }

    /// Its name in the ledger.
    pub fn stream(&self) -> String {
        format!("{FILE}{}", self.fingerprint)
    }

    /// Compares its rows with what the store has of them.
    pub async fn compare(
        self,
        books: &Books,
        findings: &mut Findings,
    ) -> Result<SourceFile, Fault> {
        let Findings { passes, violations, .. } = findings;
        let stream = self.stream();
        let is_of_file = |pass: &&Pass| pass.name.stream == stream && pass.name.flow == F::NAME;
        let passes: Vec<&Pass> = passes.iter().filter(is_of_file).collect();
        let mut source = self.file.read_from(0, &Value::Null).await?;
        let mut rows = 0;
        while let Some(batch) = source.next_batch(ROWS_AT_ONCE).await? {
            rows = batch.last + 1;
            // Each by the last pass that got so far.
            let mut items = batch.items;
            for pass in passes.iter().rev() {
                let is_left = |item: &mut Item<F::Wire>| item.position < pass.next;
                let read: Vec<_> = items.extract_if(.., is_left).collect();
                look_for::<F>(read, batch.notation, pass, books, violations).await?;
            }
        }
        check_file(&self.path, &stream, rows, &passes, violations);
        Ok(SourceFile { path: self.path, fingerprint: self.fingerprint, rows })
    }
}
