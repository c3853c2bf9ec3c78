//! The files that were read.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_csv::CsvFile;
use tally_audit::{Findings, ReadFrom, Violations, check_file};
use tally_domain::Flow;
use tally_ports::audit::Pass;
use tally_ports::position::FILE;
use tally_ports::{Audit, Fault, Item, Source, Stop, StopKind};

use super::Known;
use super::records::Reading;

/// As many rows are looked at once; a batch is closed earlier at 4 MiB.
const ROWS_AT_ONCE: usize = 10_000;

/// A file whose rows were counted again.
#[derive(Debug, Serialize)]
pub struct ComparedFile {
    /// As it was given.
    pub path: String,
    /// The hash of its content.
    pub fingerprint: String,
    /// The flow that has read it.
    pub flow: String,
    /// How many rows it has.
    pub rows: i64,
}

impl ComparedFile {
    /// Its name in the ledger.
    pub(super) fn stream(&self) -> String {
        format!("{FILE}{}", self.fingerprint)
    }
}

/// A flow, and how its files are read.
pub type FlowOfFiles = (Arc<dyn Flow>, tally_adapter_csv::Settings);

/// A file that was read.
pub struct File {
    path: String,
    fingerprint: String,
    /// As a table of each flow, or why it is none.
    tables: Vec<(Arc<dyn Flow>, Result<CsvFile, Stop>)>,
}

impl File {
    /// Opens a file of any of these flows: those by which the ledger knows it, or else the first.
    ///
    /// # Errors
    /// When it cannot be read, or is a table of none of them: as the first says.
    pub async fn open(path: &Path, flows: &[FlowOfFiles]) -> Result<Self, Stop> {
        let mut tables = Vec::with_capacity(flows.len());
        for (flow, settings) in flows {
            let table = CsvFile::open(path, settings, flow.columns()).await;
            tables.push((Arc::clone(flow), table));
        }
        let Some((_, any)) = tables.iter().find(|(_, table)| table.is_ok()) else {
            let first = tables.into_iter().find_map(|(_, table)| table.err());
            let message = "no flow is known".to_owned();
            return Err(first.unwrap_or(Stop { kind: StopKind::Setting, message }));
        };
        let fingerprint = match any {
            Ok(table) => table.fingerprint().await.map_err(Fault::into_stop)?,
            Err(stop) => return Err(stop.clone()),
        };
        Ok(Self { path: path.display().to_string(), fingerprint, tables })
    }

    /// Its name in the ledger.
    pub(super) fn stream(&self) -> String {
        format!("{FILE}{}", self.fingerprint)
    }

    /// Compares its rows with what the store has of them, for each flow that has read it.
    pub(super) async fn compare(
        self,
        store: &impl Audit,
        findings: &mut Findings,
        known: &mut Known,
    ) -> Result<Vec<ComparedFile>, Stop> {
        let stream = self.stream();
        let Self { path, fingerprint, mut tables } = self;
        let of_stream = |pass: &&Pass| pass.name.stream == stream;
        let has_read = |flow: &dyn Flow| {
            findings.passes.iter().filter(of_stream).any(|pass| pass.name.flow == flow.name())
        };
        if tables.iter().any(|(flow, _)| has_read(&**flow)) {
            tables.retain(|(flow, _)| has_read(&**flow));
        } else {
            tables.truncate(1);
        }
        let Findings { passes, violations, .. } = findings;
        let mut compared = Vec::with_capacity(tables.len());
        for (flow, table) in tables {
            let of_flow = passes.iter().filter(of_stream);
            let passes: Vec<&Pass> = of_flow.filter(|pass| pass.name.flow == flow.name()).collect();
            let table = Table { flow: &*flow, file: table?, passes: &passes };
            let rows = table.compare(store, known, violations).await.map_err(Fault::into_stop)?;
            check_file(&path, &stream, rows, &passes, violations);
            let (path, fingerprint, flow) =
                (path.clone(), fingerprint.clone(), flow.name().to_owned());
            compared.push(ComparedFile { path, fingerprint, flow, rows });
        }
        Ok(compared)
    }
}

/// A file as a table of one flow, and the passes over it.
struct Table<'a> {
    flow: &'a dyn Flow,
    file: CsvFile,
    passes: &'a [&'a Pass],
}

impl Table<'_> {
    /// How many rows it has.
    async fn compare(
        self,
        store: &impl Audit,
        known: &mut Known,
        violations: &mut Violations,
    ) -> Result<i64, Fault> {
        let Self { flow, passes, .. } = self;
        let mut source = self.file.read_from(0, &Value::Null).await?;
        let mut rows = 0;
        while let Some(batch) = source.next_batch(ROWS_AT_ONCE).await? {
            rows = batch.last + 1;
            // Each by the last pass that got so far.
            let mut items = batch.items;
            for pass in passes.iter().rev() {
                let is_left = |item: &mut Item| item.position < pass.next;
                let read: Vec<_> = items.extract_if(.., is_left).collect();
                let reading = Reading { flow, pass, passes };
                reading.look_for(read, batch.notation, store, known, violations).await?;
            }
        }
        if let Some(publications) = known.publications_of(flow)
            && let Some(Pass { name, log, .. }) = passes.last()
        {
            let from = ReadFrom { stream: &name.stream, partition: name.partition, log: *log };
            publications.source_ends(from, rows);
        }
        Ok(rows)
    }
}
