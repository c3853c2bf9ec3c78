//! A store against the files and the topic that were read into it.
//!
//! Each record is compared with what it must have left, see [`tally_audit`]. Counters are compared with the sum over what was
//! counted where the whole of that is given: each range of the table `counted` lies in a file that is given, or in the topic, in
//! the log that is there now, and the last pass over it has read all of the range; no record was compacted away since, or
//! is of an unknown schema; and no dead letter is purged, which may have been replayed before. Otherwise the report says why
//! not. A record was counted once, if it has no dead letter of the first pass that has read it, or if that one was replayed.
//!
//! What the flow published is compared with the ledger, and where the source is given with what each record publishes, see
//! [`Publications`].
//!
//! Memory grows with the number of counters, and of records published: by about a bit each, and by five bytes more where their
//! source is given. A replay in the middle of an audit may look like a difference.

mod counters;
mod files;
mod outputs;
mod records;
mod scan;
mod topic;

use std::sync::Arc;

use tally_audit::{Findings, Inspection, Publications, Published};
use tally_domain::Flow;
use tally_ports::audit::Fact;
use tally_ports::{Audit, Auditor, Fault, Stop};

use self::counters::Counters;
pub use self::counters::NotCompared;
pub use self::files::{ComparedFile, File, FlowOfFiles};
pub use self::outputs::Outputs;
pub use self::topic::{ComparedPartition, Topic};

/// What an audit found.
pub struct Audited {
    /// What was found in the store, and what of it does not agree with the sources.
    pub findings: Findings,
    /// The files that it was compared with.
    pub files: Vec<ComparedFile>,
    /// The partitions of the topic that it was compared with.
    pub partitions: Vec<ComparedPartition>,
    /// What the flow whose topics were read has published.
    pub published: Option<Published>,
    /// The flows of these whose counters could not be compared.
    pub not_compared: Vec<NotCompared>,
}

/// Keeps what the sources and topics are about while all facts go by.
struct Watching {
    inspection: Inspection,
    known: Known,
}

/// What the facts say of what is compared with sources and topics.
struct Known {
    counters: Counters,
    publications: Option<Publications>,
}

impl Known {
    /// What the flow published, if that is compared.
    fn publications_of(&mut self, flow: &dyn Flow) -> Option<&mut Publications> {
        self.publications.as_mut().filter(|publications| publications.flow() == flow.name())
    }
}

impl Auditor for Watching {
    fn see(&mut self, fact: Fact) {
        self.known.counters.see(&fact);
        if let Some(publications) = &mut self.known.publications {
            publications.see(&fact);
        }
        self.inspection.see(fact);
    }
}

/// Audits `store` in itself and against these sources of these flows, and these topics of one that publishes. Changes nothing.
///
/// # Errors
/// When a source or the store cannot be read, or is unavailable: an audit waits for nobody.
pub async fn run(
    store: &impl Audit,
    flows: impl Iterator<Item = Arc<dyn Flow>>,
    files: Vec<File>,
    mut topic: Option<Topic>,
    outputs: Option<Outputs>,
) -> Result<Audited, Stop> {
    let mut given: Vec<String> = files.iter().map(File::stream).collect();
    given.extend(topic.iter().map(Topic::stream));
    let inspection = Inspection::new(given.clone());
    let publications = outputs.as_ref().map(|outputs| outputs.publications(given.clone()));
    let known = Known { counters: Counters::new(flows, given), publications };
    let watching = Watching { inspection, known };
    let Watching { inspection, mut known } =
        store.show(watching).await.map_err(Fault::into_stop)?;
    let mut findings = inspection.finish();
    // First, so that each source is read at least as far as what was published of it.
    if let (Some(outputs), Some(publications)) = (&outputs, &mut known.publications) {
        let reading = outputs.read(store, publications, &mut findings.violations);
        reading.await.map_err(Fault::into_stop)?;
    }
    let mut compared = Vec::with_capacity(files.len());
    for file in files {
        compared.extend(file.compare(store, &mut findings, &mut known).await?);
    }
    let of_files = compared.iter().map(|file| (&*file.flow, file.stream()));
    let mut streams: Vec<(&str, String)> = of_files.collect();
    let mut partitions = Vec::new();
    if let Some(topic) = &mut topic {
        partitions = topic.compare(store, &mut findings, &mut known).await?;
        streams.push((topic.flow(), topic.stream()));
    }
    let Known { counters, publications } = known;
    let not_compared = counters.check(&streams, &mut findings.violations);
    let published = publications.map(|of| of.finish(&mut findings.violations));
    Ok(Audited { findings, files: compared, partitions, published, not_compared })
}
