//! The files that were read.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_csv::CsvFile;
use tally_audit::{Findings, check_file};
use tally_domain::Flow;
use tally_ports::audit::Pass;
use tally_ports::position::FILE;
use tally_ports::{Audit, Fault, Item, Source, Stop};

use super::records::look_for;

/// As many rows are looked at once; a batch is closed earlier at 4 MiB.
const ROWS_AT_ONCE: usize = 10_000;

/// A file whose rows were counted again.
#[derive(Debug, Serialize)]
pub struct ComparedFile {
    /// As it was given.
    pub path: String,
    /// The hash of its content.
    pub fingerprint: String,
    /// How many rows it has.
    pub rows: i64,
}

/// A file that was read.
pub struct File {
    flow: Arc<dyn Flow>,
    path: String,
    fingerprint: String,
    file: CsvFile,
}

impl File {
    /// Opens a file of `flow`.
    ///
    /// # Errors
    /// When it cannot be read, or is no table.
    pub async fn open(
        flow: Arc<dyn Flow>,
        path: &Path,
        settings: &tally_adapter_csv::Settings,
    ) -> Result<Self, Stop> {
        let file = CsvFile::open(path, settings, flow.columns()).await?;
        let fingerprint = file.fingerprint().await.map_err(Fault::into_stop)?;
        Ok(Self { flow, path: path.display().to_string(), fingerprint, file })
    }

    /// Its name in the ledger.
    pub(super) fn stream(&self) -> String {
        format!("{FILE}{}", self.fingerprint)
    }

    /// Compares its rows with what the store has of them.
    pub(super) async fn compare(
        self,
        store: &impl Audit,
        findings: &mut Findings,
    ) -> Result<ComparedFile, Fault> {
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
                look_for(&*self.flow, read, batch.notation, pass, store, violations).await?;
            }
        }
        check_file(&self.path, &stream, rows, &passes, violations);
        Ok(ComparedFile { path: self.path, fingerprint: self.fingerprint, rows })
    }
}
