//! The audit: the ledger in itself, then against what was read.

use tally_app::{Books, Flows, Settings};
use tally_audit::Inspection;
use tally_ports::{Audit, Fault, KnownFlow, Stop};

use crate::arguments::Arguments;
use crate::files::Opened;
use crate::report::Report;
use crate::topic::Log;

/// Audits the store that `settings` name.
///
/// # Errors
/// When a source or the store cannot be read, or is away: an audit waits for nobody.
pub async fn run(
    flows: &Flows,
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
) -> Result<Report, Stop> {
    let opened = Opened::all(known, &arguments.source, settings).await?;
    let mut wanted: Vec<String> = opened.iter().map(Opened::stream).collect();
    let log =
        if arguments.topic.has_brokers() { Some(Log::open(known, settings).await?) } else { None };
    wanted.extend(log.iter().map(Log::stream));

    let books = Books::open(&settings.database_url, flows.all()).await.map_err(Fault::into_stop)?;
    let inspection = books.show(Inspection::new(wanted)).await.map_err(Fault::into_stop)?;
    let mut findings = inspection.finish();
    let mut files = Vec::with_capacity(opened.len());
    for file in opened {
        files.push(file.compare(&books, &mut findings).await.map_err(Fault::into_stop)?);
    }
    let partitions = match log {
        Some(log) => log.compare(&books, &mut findings).await?,
        None => Vec::new(),
    };
    Ok(Report { findings, files, partitions })
}
