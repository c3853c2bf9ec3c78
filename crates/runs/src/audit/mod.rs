//! A store against the files and the topic that were read into it.
//!
//! Each record is compared with what it must have left, see [`tally_audit`]. Counters are compared with the sum over what was
//! counted where the whole of that is given: each range of the table `counted` lies in a file that is given, or in the topic, in
//! the log that is there now, and the last pass over it has read all of the range; no record was compacted away since, or
//! is of an unknown schema; and no dead letter is purged, which may have been replayed before. Otherwise the report says why
//! not. A record was counted once, if it has no dead letter of the first pass that has read it, or if that one was replayed.
//!
//! Memory grows with the number of counters. A replay in the middle of an audit may look like a difference.

mod counters;
mod files;
mod records;
mod topic;

use std::sync::Arc;

use tally_audit::{Findings, Inspection};
use tally_domain::Flow;
use tally_ports::{Audit, Fault, Stop};

pub use self::counters::NotCompared;
use self::counters::{Counters, Watching};
pub use self::files::{ComparedFile, File, FlowOfFiles};
pub use self::topic::{ComparedPartition, Topic};

/// What an audit found.
pub struct Audited {
    /// What was found in the store, and what of it does not agree with the sources.
    pub findings: Findings,
    /// The files that it was compared with.
    pub files: Vec<ComparedFile>,
    /// The partitions of the topic that it was compared with.
    pub partitions: Vec<ComparedPartition>,
    /// The flows of these whose counters could not be compared.
    pub not_compared: Vec<NotCompared>,
}

/// Audits `store` in itself and against these sources of these flows. Changes nothing.
///
/// # Errors
/// When a source or the store cannot be read, or is unavailable: an audit waits for nobody.
pub async fn run(
    store: &impl Audit,
    flows: impl Iterator<Item = Arc<dyn Flow>>,
    files: Vec<File>,
    topic: Option<Topic>,
) -> Result<Audited, Stop> {
    let mut given: Vec<String> = files.iter().map(File::stream).collect();
    given.extend(topic.iter().map(Topic::stream));
    let inspection = Inspection::new(given.clone());
    let watching = Watching { inspection, counters: Counters::new(flows, given) };
    let Watching { inspection, mut counters } =
        store.show(watching).await.map_err(Fault::into_stop)?;
    let mut findings = inspection.finish();
    let mut compared = Vec::with_capacity(files.len());
    for file in files {
        compared.extend(file.compare(store, &mut findings, &mut counters).await?);
    }
    let of_files = compared.iter().map(|file| (&*file.flow, file.stream()));
    let mut streams: Vec<(&str, String)> = of_files.collect();
    let mut partitions = Vec::new();
    if let Some(topic) = &topic {
        streams.push((topic.flow(), topic.stream()));
        partitions = topic.compare(store, &mut findings, &mut counters).await?;
    }
    let not_compared = counters.check(&streams, &mut findings.violations);
    Ok(Audited { findings, files: compared, partitions, not_compared })
}
