//! The topics that a flow publishes to.

use std::sync::Arc;

use bytes::Bytes;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, Start};
use tally_audit::{FoundRecord, Publications, Violations, digest};
use tally_domain::publish::without_processed_at;
use tally_domain::{Flow, Raw};
use tally_ports::audit::PassName;
use tally_ports::{Audit, DeliveryGuarantee, Fault, Topics, Way, passed, publish};

use super::scan::{Scan, Scanned};

/// As many entries of the ledger are fetched at once.
const ENTRIES_AT_ONCE: usize = 1_000;

/// The topics that a flow publishes to.
pub struct Outputs {
    flow: Arc<dyn Flow>,
    way: Way,
    cluster: Cluster,
    topics: Topics,
    delivery: DeliveryGuarantee,
}

/// A part of a topic that is there.
struct Part {
    /// The index of the topic.
    topic: usize,
    partition: i32,
    first: i64,
    end: i64,
}

impl Outputs {
    /// The `topics` of the flow's outputs, in the same order, where each record was published by this `delivery`; `None`
    /// where it publishes nothing.
    pub fn new(
        flow: Arc<dyn Flow>,
        cluster: Cluster,
        topics: Topics,
        delivery: DeliveryGuarantee,
    ) -> Option<Self> {
        let way = Way::of(&*flow)?;
        Some(Self { flow, way, cluster, topics, delivery })
    }

    /// What the flow published; the `given` streams are compared with their sources.
    pub(super) fn publications(&self, given: Vec<String>) -> Publications {
        Publications::new(self.flow.name(), self.way, &self.topics, self.delivery, given)
    }

    /// Reads the topics after all facts were seen: what the store then held is published by now, or stands in the outbox.
    /// Only what transactions have committed is read, up to where the topics end now.
    pub(super) async fn read(
        &self,
        store: &impl Audit,
        publications: &mut Publications,
        violations: &mut Violations,
    ) -> Result<(), Fault> {
        publications.has_seen_all();
        let names = publications.topics();
        let decoder = Arc::new(Decoder::of_bytes());
        for part in self.parts(&names).await? {
            let Part { topic, partition, first, end } = part;
            if first > 0 {
                publications.is_not_whole(topic);
            }
            let name = &names[topic];
            let processed_at = self.processed_at(name);
            let mut scan = Scan::new(&self.cluster, &decoder, name, partition, (first, end));
            while let Some(scanned) = scan.next().await? {
                let Scanned::Batch(batch) = scanned else {
                    publications.is_not_whole(topic);
                    continue;
                };
                if batch.passed.count(passed::HOLE) + batch.passed.count(passed::EMPTY) > 0 {
                    publications.is_not_whole(topic);
                }
                for item in &batch.items {
                    let found = found(topic, partition, item.position, &item.raw, processed_at);
                    publications.see_record(found, violations);
                }
            }
        }
        look_again(store, publications).await?;
        for asked in publications.suspects() {
            let traces = store.traces(asked.clone()).await?;
            publications.see_letters(&asked, &traces.dead_letters, violations);
        }
        Ok(())
    }

    /// The field that the engine adds to what is published to the topic, if it does.
    fn processed_at(&self, topic: &str) -> Option<&str> {
        let mut outputs = self.flow.outputs().iter().zip(&*self.topics);
        outputs.find(|(_, of_output)| ***of_output == *topic)?.0.processed_at.as_deref()
    }

    async fn parts(&self, names: &[String]) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        for (topic, name) in names.iter().enumerate() {
            for partition in self.cluster.partitions(name).await? {
                let first = self.cluster.offset(name, partition, Start::Earliest).await?;
                let end = self.cluster.offset(name, partition, Start::Latest).await?;
                parts.push(Part { topic, partition, first, end });
            }
        }
        Ok(parts)
    }
}

fn found<'a>(
    topic: usize,
    partition: i32,
    offset: i64,
    raw: &'a Raw,
    processed_at: Option<&str>,
) -> FoundRecord<'a> {
    let value = raw.payload.as_ref().map(|value| match processed_at {
        Some(field) => without_processed_at(value, field),
        None => value.clone(),
    });
    let header = |name: &str| {
        let (_, value) = raw.headers.iter().find(|(other, _)| other == name)?;
        value.as_ref().map(Bytes::as_ref)
    };
    FoundRecord {
        topic,
        partition,
        offset,
        flow: header(publish::FLOW),
        id: header(publish::ID),
        digest: digest(raw.key.as_deref(), value.as_deref()),
    }
}

/// Asks the ledger what was read since it was shown, where the topics are ahead of that.
async fn look_again(store: &impl Audit, publications: &mut Publications) -> Result<(), Fault> {
    for (pass, next) in publications.ahead() {
        let (mut of, mut first) = (pass.clone(), next);
        loop {
            let entries = store.entries(&of, first, ENTRIES_AT_ONCE).await?;
            let Some(last) = entries.last() else {
                // Later passes may have begun, too.
                if of.pass > pass.pass && first == 0 {
                    break;
                }
                (of, first) = (PassName { pass: of.pass + 1, ..of }, 0);
                continue;
            };
            first = last.first.saturating_add(1);
            for entry in entries.iter().filter(|entry| !entry.is_gap && entry.counts.read > 0) {
                publications.has_read_since(&pass, entry.first, entry.last);
            }
        }
    }
    Ok(())
}
