//! The audit: the ledger in itself, then against what was read.

use tally_app::{Books, Settings, Stored};
use tally_audit::Inspection;
use tally_ports::{Audit, Fault, Stop};

use crate::arguments::Arguments;
use crate::files::SourceFile;
use crate::report::Report;
use crate::topic::Log;

/// Audits the store that `settings` name.
///
/// # Errors
/// When a source or the store cannot be read, or is away: an audit waits for nobody.
pub async fn run<F: Stored>(arguments: &Arguments, settings: &Settings) -> Result<Report, Stop> {
    let files = SourceFile::open_all::<F>(&arguments.source, settings).await?;
    let mut wanted: Vec<String> = files.iter().map(|file| file.stream.clone()).collect();
    let log = if arguments.topic.has_brokers() { Some(Log::open(settings).await?) } else { None };
    wanted.extend(log.iter().map(Log::stream));

    let books = Books::open::<F>(&settings.database_url).await.map_err(Fault::into_stop)?;
    let inspection = books.show(Inspection::new(wanted)).await.map_err(Fault::into_stop)?;
    let mut findings = inspection.finish();
    for file in &files {
        file.compare(F::NAME, &mut findings);
    }
    let partitions = match log {
        Some(log) => log.compare::<F>(&books, &mut findings).await?,
        None => Vec::new(),
    };
    Ok(Report { findings, files, partitions })
}
