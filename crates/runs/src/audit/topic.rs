//! The topic that was read.

mod ranges;

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, KafkaSource, Start};
use tally_audit::{Compared, Findings, Kind, ReadFrom, Violations};
use tally_domain::Flow;
use tally_ports::audit::Pass;
use tally_ports::{Audit, Fault, Source, Stop, StopKind, passed};

use self::ranges::Ranges;
use super::Known;
use super::records::Reading;
use super::scan::{Scan, Scanned};
use crate::stream::stream_name;

/// A topic, as a group has read it.
pub struct Topic {
    flow: Arc<dyn Flow>,
    cluster: Cluster,
    decoder: Arc<Decoder>,
    name: String,
    stream: String,
    /// Those that it has, once it was looked up.
    partitions: Option<Vec<i32>>,
}

/// A partition whose records were counted again.
#[derive(Debug, Serialize)]
pub struct ComparedPartition {
    /// The topic.
    pub topic: String,
    /// Which partition.
    pub partition: i32,
    /// The first offset that the log has.
    pub first: i64,
    /// Behind the last one.
    pub end: i64,
    /// The next offset to read; null where it was never read.
    pub next: Option<i64>,
    /// Batches that lie wholly in the log.
    pub batches: u64,
    /// Records that are there.
    pub records: i64,
    /// Records that were read and are not there any more: compacted.
    pub compacted: i64,
    /// Records that cannot be looked for: their schema is not known here.
    pub schema_unknown: i64,
}

impl Topic {
    /// A topic, as `group` reads it for `flow`. Until it is [looked up](Self::look_up) it is only compared if the store has
    /// read something of it.
    pub fn new(
        flow: Arc<dyn Flow>,
        cluster: Cluster,
        decoder: Decoder,
        group: &str,
        topic: &str,
    ) -> Self {
        let (name, stream) = (topic.to_owned(), stream_name(group, topic));
        Self { flow, cluster, decoder: Arc::new(decoder), name, stream, partitions: None }
    }

    /// Looks the topic up: it is to be compared in any case.
    ///
    /// # Errors
    /// When the brokers are unavailable, or there is no such topic.
    pub async fn look_up(&mut self) -> Result<(), Fault> {
        self.partitions = Some(self.cluster.partitions(&self.name).await?);
        Ok(())
    }

    /// The name of the flow that reads it.
    pub(super) fn flow(&self) -> &str {
        self.flow.name()
    }

    /// As the ledger names it.
    pub(super) fn stream(&self) -> String {
        self.stream.clone()
    }

    /// Compares each partition with the last pass over it: an earlier one may be of another log.
    pub(super) async fn compare(
        &mut self,
        store: &impl Audit,
        findings: &mut Findings,
        known: &mut Known,
    ) -> Result<Vec<ComparedPartition>, Stop> {
        let Findings { violations, passes, .. } = findings;
        let of_topic: Vec<&Pass> = passes
            .iter()
            .filter(|pass| pass.name.stream == self.stream && pass.name.flow == self.flow.name())
            .collect();
        if self.partitions.is_none() && !of_topic.is_empty() {
            self.look_up().await.map_err(Fault::into_stop)?;
        }
        let Some(partitions) = &self.partitions else { return Ok(Vec::new()) };
        if of_topic.is_empty() {
            let (topic, stream) = (&self.name, &self.stream);
            violations.add(Kind::SourceUnknown, || {
                format!("{} {stream}: nothing of the topic {topic} was ever read", self.flow.name())
            });
        }
        for pass in of_topic.iter().filter(|pass| !partitions.contains(&pass.name.partition)) {
            violations.add(Kind::SourceReplaced, || {
                format!("{}: the topic has no such partition", pass.name)
            });
        }
        let mut compared = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let of_partition = of_topic.iter().filter(|pass| pass.name.partition == partition);
            let passes: Vec<&Pass> = of_partition.copied().collect();
            let of = Comparison { topic: self, store, partition, passes: &passes };
            compared.push(of.compare(known, violations).await.map_err(Fault::into_stop)?);
        }
        for range in known.counters.ranges(self.flow.name(), &self.stream) {
            if !partitions.contains(&range.partition) {
                let (topic, partition) = (&self.name, range.partition);
                known.counters.leave(self.flow.name(), || {
                    format!("{topic}/{partition} was counted and is not there")
                });
            }
        }
        Ok(compared)
    }
}

/// Of one partition.
struct Comparison<'a, A> {
    topic: &'a Topic,
    store: &'a A,
    partition: i32,
    passes: &'a [&'a Pass],
}

impl<A: Audit> Comparison<'_, A> {
    async fn compare(
        &self,
        known: &mut Known,
        violations: &mut Violations,
    ) -> Result<ComparedPartition, Fault> {
        let pass = self.passes.last().copied();
        let Topic { cluster, name: topic, .. } = self.topic;
        let first = cluster.offset(topic, self.partition, Start::Earliest).await?;
        let end = cluster.offset(topic, self.partition, Start::Latest).await?;
        let (mut compared, mut schema_unknown) = (Compared::default(), 0);
        let mut is_whole = false;
        if let Some(pass) = pass
            && self.is_same_log(pass, first, end, violations).await?
        {
            let passed;
            (schema_unknown, passed) =
                self.count(pass, (first, end), &mut compared, known, violations).await?;
            let ranges = known.counters.ranges(self.topic.flow(), &self.topic.stream);
            let mut ranges = ranges.iter().filter(|range| range.partition == self.partition);
            is_whole = schema_unknown == 0
                && compared.fewer == 0
                && ranges.all(|range| {
                    range.log == pass.log
                        && range.first >= first
                        && range.last < pass.next
                        && passed.iter().all(|(from, to)| *to < range.first || *from > range.last)
                });
        }
        if !is_whole && pass.is_some() {
            known.counters.leave(self.topic.flow(), || {
                format!(
                    "{topic}/{}: not all records that were counted are in the log and read by the last pass over it",
                    self.partition
                )
            });
        }
        Ok(ComparedPartition {
            topic: topic.clone(),
            partition: self.partition,
            first,
            end,
            next: pass.map(|pass| pass.next),
            batches: compared.ranges,
            records: compared.found,
            compacted: compared.fewer,
            schema_unknown,
        })
    }

    /// Whether the log is the one that was read, and still has what comes next.
    async fn is_same_log(
        &self,
        pass: &Pass,
        first: i64,
        end: i64,
        violations: &mut Violations,
    ) -> Result<bool, Fault> {
        let Pass { name, next, .. } = pass;
        if *next > end {
            violations.add(Kind::SourceEnd, || {
                format!("{name}: its position stands at {next}, and the log ends at {end}")
            });
            return Ok(false);
        }
        if *next < first {
            violations.add(Kind::SourceLost, || {
                format!(
                    "{name}: offsets {next} to {} were never read and are no longer in the log",
                    first - 1
                )
            });
            return Ok(false);
        }
        // The source compares the record before `next` with the cursor, and then has nothing to read.
        let cursor = pass.cursor.as_deref().map_or(Ok(Value::Null), serde_json::from_str);
        let cursor = cursor.unwrap_or_else(|_| Value::from("no JSON"));
        let Topic { cluster, decoder, name: topic, .. } = self.topic;
        let (cluster, decoder, partition) = (cluster.clone(), Arc::clone(decoder), self.partition);
        let (mut source, _) =
            KafkaSource::new(cluster, decoder, topic, partition, *next, &cursor, Some(*next));
        match source.next_batch(1).await {
            Err(Fault::Stop(stop)) if matches!(stop.kind, StopKind::Blocked | StopKind::Data) => {
                violations.add(Kind::SourceReplaced, || format!("{name}: {}", stop.message));
                Ok(false)
            }
            Err(fault) => Err(fault),
            Ok(_) => Ok(true),
        }
    }

    /// Counts the records before the position again, compares each range that lies wholly in the log, and looks for what
    /// each record left behind; how many could not be looked for, and the ranges that were passed over or cannot be read.
    ///
    /// What earlier passes have published is compared, too, where the last one did not read it.
    async fn count(
        &self,
        pass: &Pass,
        (first, end): (i64, i64),
        compared: &mut Compared,
        known: &mut Known,
        violations: &mut Violations,
    ) -> Result<(i64, Vec<(i64, i64)>), Fault> {
        let Topic { flow, cluster, decoder, name: topic, stream, .. } = self.topic;
        let reading = Reading { flow: &**flow, pass, passes: self.passes };
        let from = ReadFrom { stream, partition: self.partition, log: pass.log };
        let mut ranges = Ranges::new(self.store, pass, first);
        let mut until = pass.next;
        if let Some(publications) = known.publications_of(&**flow) {
            until = until.max(publications.end(from).min(end));
            publications.source_ends(from, end);
        }
        let mut scan = Scan::new(cluster, decoder, topic, self.partition, (first, until));
        let mut schema_unknown = 0;
        while let Some(scanned) = scan.next().await? {
            let batch = match scanned {
                Scanned::Batch(batch) => batch,
                // What cannot be read now could not be read before; it was passed over, or deleted meanwhile.
                Scanned::Unreadable(begin, resume) => {
                    ranges.unreadable(begin, resume);
                    continue;
                }
            };
            if let Some(publications) = known.publications_of(&**flow)
                && batch.passed.count(passed::HOLE) + batch.passed.count(passed::EMPTY) == 0
            {
                let positions = batch.items.iter().map(|item| item.position);
                let range = (batch.first, batch.last);
                publications.compare_with_none(from, range, positions, violations);
            }
            let (mut read, mut published) = (Vec::with_capacity(batch.items.len()), Vec::new());
            for item in batch.items {
                if ranges.found(item.position, compared, violations).await? {
                    read.push(item);
                } else if known
                    .publications_of(&**flow)
                    .is_some_and(|publications| publications.has_read(from, item.position))
                {
                    published.push(item);
                }
            }
            let (notation, store) = (batch.notation, self.store);
            schema_unknown += reading.look_for(read, notation, store, known, violations).await?;
            reading.look_for_published(published, notation, store, known, violations).await?;
        }
        let passed = ranges.finish(compared, violations).await?;
        Ok((schema_unknown, passed))
    }
}
