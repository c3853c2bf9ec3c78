//! The topic that was read.

mod ranges;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, KafkaSource, PartitionProgress, Start};
use tally_audit::{Compared, Findings, Kind, Violations};
use tally_domain::Flow;
use tally_ports::audit::Pass;
use tally_ports::{Audit, Fault, Source, Stop, StopKind};

use self::ranges::Ranges;
use super::counters::Counters;
use super::records::Reading;
use crate::stream::stream_name;

/// As many records are looked at once; a batch is closed earlier at 4 MiB.
const RECORDS_AT_ONCE: usize = 10_000;
/// Records that the broker says it has come within this time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A topic, as a group has read it.
pub struct Topic {
    flow: Arc<dyn Flow>,
    cluster: Cluster,
    decoder: Arc<Decoder>,
    name: String,
    stream: String,
    partitions: Vec<i32>,
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
    /// Looks the topic up, as `group` reads it for `flow`.
    ///
    /// # Errors
    /// When the brokers are unavailable, or there is no such topic.
    pub async fn look_up(
        flow: Arc<dyn Flow>,
        cluster: Cluster,
        decoder: Decoder,
        group: &str,
        topic: &str,
    ) -> Result<Self, Fault> {
        let partitions = cluster.partitions(topic).await?;
        let (name, stream) = (topic.to_owned(), stream_name(group, topic));
        Ok(Self { flow, cluster, decoder: Arc::new(decoder), name, stream, partitions })
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
        &self,
        store: &impl Audit,
        findings: &mut Findings,
        counters: &mut Counters,
    ) -> Result<Vec<ComparedPartition>, Stop> {
        let Findings { violations, passes, .. } = findings;
        let of_topic: Vec<&Pass> = passes
            .iter()
            .filter(|pass| pass.name.stream == self.stream && pass.name.flow == self.flow.name())
            .collect();
        if of_topic.is_empty() {
            let (topic, stream) = (&self.name, &self.stream);
            violations.add(Kind::SourceUnknown, || {
                format!("{} {stream}: nothing of the topic {topic} was ever read", self.flow.name())
            });
        }
        for pass in of_topic.iter().filter(|pass| !self.partitions.contains(&pass.name.partition)) {
            violations.add(Kind::SourceReplaced, || {
                format!("{}: the topic has no such partition", pass.name)
            });
        }
        let mut compared = Vec::with_capacity(self.partitions.len());
        for &partition in &self.partitions {
            let of_partition = of_topic.iter().filter(|pass| pass.name.partition == partition);
            let passes: Vec<&Pass> = of_partition.copied().collect();
            let of = Comparison { topic: self, store, partition, passes: &passes };
            compared.push(of.compare(counters, violations).await.map_err(Fault::into_stop)?);
        }
        for range in counters.ranges(self.flow.name(), &self.stream) {
            if !self.partitions.contains(&range.partition) {
                let (topic, partition) = (&self.name, range.partition);
                counters.leave(self.flow.name(), || {
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
        counters: &mut Counters,
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
                self.count(pass, first, &mut compared, counters, violations).await?;
            let ranges = counters.ranges(self.topic.flow(), &self.topic.stream);
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
            counters.leave(self.topic.flow(), || {
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
        let (mut source, _) = self.source(*next, &cursor, *next);
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
    async fn count(
        &self,
        pass: &Pass,
        first: i64,
        compared: &mut Compared,
        counters: &mut Counters,
        violations: &mut Violations,
    ) -> Result<(i64, Vec<(i64, i64)>), Fault> {
        let reading = Reading { flow: &*self.topic.flow, pass, passes: self.passes };
        let mut ranges = Ranges::new(self.store, pass, first);
        let (mut from, mut schema_unknown) = (first, 0);
        while from < pass.next {
            let (mut source, progress) = self.source(from, &Value::Null, pass.next);
            let mut last_read_at = Instant::now();
            loop {
                match source.next_batch(RECORDS_AT_ONCE).await {
                    Ok(None) => {
                        from = pass.next;
                        break;
                    }
                    Ok(Some(batch)) if batch.is_idle() => {
                        if last_read_at.elapsed() > PATIENCE {
                            let (topic, partition) = (&self.topic.name, self.partition);
                            return Err(Fault::outage(format!(
                                "kafka: nothing comes from {topic}/{partition} at {from}"
                            )));
                        }
                    }
                    Ok(Some(batch)) => {
                        let mut read = Vec::with_capacity(batch.items.len());
                        for item in batch.items {
                            if ranges.found(item.position, compared, violations).await? {
                                read.push(item);
                            }
                        }
                        schema_unknown += reading
                            .look_for(read, batch.notation, self.store, counters, violations)
                            .await?;
                        from = batch.last + 1;
                        last_read_at = Instant::now();
                    }
                    // What cannot be read now could not be read before; it was passed over, or deleted meanwhile.
                    Err(fault) => {
                        let gap = progress.gap().filter(|gap| gap.resume > from).ok_or(fault)?;
                        ranges.unreadable(from, gap.resume);
                        from = gap.resume;
                        break;
                    }
                }
            }
        }
        let passed = ranges.finish(compared, violations).await?;
        Ok((schema_unknown, passed))
    }

    fn source(
        &self,
        next: i64,
        cursor: &Value,
        until: i64,
    ) -> (KafkaSource, Arc<PartitionProgress>) {
        let Topic { cluster, name: topic, .. } = self.topic;
        let decoder = Arc::clone(&self.topic.decoder);
        KafkaSource::new(cluster.clone(), decoder, topic, self.partition, next, cursor, Some(until))
    }
}
