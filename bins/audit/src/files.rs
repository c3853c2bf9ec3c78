//! The files that were read.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_csv::CsvFile;
use tally_app::{Books, Settings};
use tally_audit::{Findings, check_file};
use tally_domain::Flow;
use tally_ports::audit::Pass;
use tally_ports::position::FILE;
use tally_ports::{Fault, Item, KnownFlow, Source, Stop};

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
pub struct Opened {
    flow: Arc<dyn Flow>,
    path: String,
    fingerprint: String,
    file: CsvFile,
}

impl Opened {
    /// Opens all of them.
    ///
    /// # Errors
    /// When one cannot be read, or is no table.
    pub async fn all(
        known: &KnownFlow,
        paths: &[PathBuf],
        settings: &Settings,
    ) -> Result<Vec<Self>, Stop> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let file = CsvFile::open(path, &settings.csv, known.flow.columns()).await?;
            let fingerprint = file.fingerprint().await.map_err(Fault::into_stop)?;
            let (flow, path) = (Arc::clone(&known.flow), path.display().to_string());
            files.push(Self { flow, path, fingerprint, file });
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
        let is_of_file =
            |pass: &&Pass| pass.name.stream == stream && pass.name.flow == self.flow.name();
        let passes: Vec<&Pass> = passes.iter().filter(is_of_file).collect();
        let mut source = self.file.read_from(0, &Value::Null).await?;
        let mut rows = 0;
        while let Some(batch) = source.next_batch(ROWS_AT_ONCE).await? {
            rows = batch.last + 1;
            // Each by the last pass that got so far.
            let mut items = batch.items;
            for pass in passes.iter().rev() {
                let is_left = |item: &mut Item| item.position < pass.next;
                let read: Vec<_> = items.extract_if(.., is_left).collect();
                look_for(&*self.flow, read, batch.notation, pass, books, violations).await?;
            }
        }
        check_file(&self.path, &stream, rows, &passes, violations);
        Ok(SourceFile { path: self.path, fingerprint: self.fingerprint, rows })
    }
}
