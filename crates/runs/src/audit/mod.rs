//! A store against the files and the topic that were read into it.

mod files;
mod records;
mod topic;

use tally_audit::{Findings, Inspection};
use tally_ports::{Audit, Fault, Stop};

pub use self::files::{ComparedFile, File};
pub use self::topic::{ComparedPartition, Topic};

/// What an audit found.
pub struct Audited {
    /// What was found in the store, and what of it does not agree with the sources.
    pub findings: Findings,
    /// The files that it was compared with.
    pub files: Vec<ComparedFile>,
    /// The partitions of the topic that it was compared with.
    pub partitions: Vec<ComparedPartition>,
}

/// Audits `store` in itself and against these sources. Changes nothing.
///
/// # Errors
/// When a source or the store cannot be read, or is away: an audit waits for nobody.
pub async fn run(
    store: &impl Audit,
    files: Vec<File>,
    topic: Option<Topic>,
) -> Result<Audited, Stop> {
    let mut wanted: Vec<String> = files.iter().map(File::stream).collect();
    wanted.extend(topic.iter().map(Topic::stream));
    let inspection = store.show(Inspection::new(wanted)).await.map_err(Fault::into_stop)?;
    let mut findings = inspection.finish();
    let mut compared = Vec::with_capacity(files.len());
    for file in files {
        compared.push(file.compare(store, &mut findings).await.map_err(Fault::into_stop)?);
    }
    let partitions = match topic {
        Some(topic) => topic.compare(store, &mut findings).await?,
        None => Vec::new(),
    };
    Ok(Audited { findings, files: compared, partitions })
}
