//! The topic that was read.

mod ranges;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, KafkaSource, Start, View};
use tally_app::{Books, Settings};
use tally_audit::{Compared, Findings, Kind, Violations};
use tally_domain::Flow;
use tally_ports::audit::Pass;
use tally_ports::{Fault, KnownFlow, Source, Stop, StopKind};

use self::ranges::Ranges;
use crate::records::look_for;

/// As many records are looked at once; a batch is closed earlier at 4 MiB.
const RECORDS_AT_ONCE: usize = 10_000;
/// Records that the broker says it has come within this time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A topic, as a group has read it.
pub struct Log {
    flow: Arc<dyn Flow>,
    cluster: Cluster,
    decoder: Arc<Decoder>,
    topic: String,
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

impl ComparedPartition {
    /// For people.
    pub fn in_words(&self) -> String {
        let Self {
            topic, partition, first, end, batches, records, compacted, schema_unknown, ..
        } = self;
        let log = format!("{topic}/{partition}, whose log is from {first} to {end}");
        match self.next {
            None => format!("{log}: never read"),
            Some(next) => {
                let text = format!(
                    "{log}: read to {next}, {records} records in {batches} batches counted again, {compacted} compacted since"
                );
                match schema_unknown {
                    0 => text,
                    unknown => format!(
                        "{text}, {unknown} not looked for: their schema is unknown (SCHEMA_REGISTRY_URL)"
                    ),
                }
            }
        }
    }
}

impl Log {
    /// The topic that `settings` name.
    ///
    /// # Errors
    /// When the brokers are away, or there is no such topic.
    pub async fn open(known: &KnownFlow, settings: &Settings) -> Result<Self, Stop> {
        let kafka = tally_app::kafka::settings(settings)?;
        let cluster = Cluster::connect(&kafka).await.map_err(Fault::into_stop)?;
        let topic = settings.kafka.topic.clone();
        let partitions = cluster.partitions(&topic).await.map_err(Fault::into_stop)?;
        let stream = format!("{}/{topic}", settings.kafka.group);
        let decoder = Arc::new(Decoder::new(
            known.flow.columns(),
            known.flow.envelope(),
            tally_app::kafka::registry(settings)?,
        ));
        let flow = Arc::clone(&known.flow);
        Ok(Self { flow, cluster, decoder, topic, stream, partitions })
    }

    /// As the ledger names it.
    pub fn stream(&self) -> String {
        self.stream.clone()
    }

    /// Compares each partition with the last pass over it: an earlier one may be of another log.
    pub async fn compare(
        &self,
        books: &Books,
        findings: &mut Findings,
    ) -> Result<Vec<ComparedPartition>, Stop> {
        let Findings { violations, passes, .. } = findings;
        let of_topic: Vec<&Pass> = passes
            .iter()
            .filter(|pass| pass.name.stream == self.stream && pass.name.flow == self.flow.name())
            .collect();
        if of_topic.is_empty() {
            let (topic, stream) = (&self.topic, &self.stream);
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
            let last = of_topic.iter().rfind(|pass| pass.name.partition == partition);
            let of = Comparison { log: self, books, partition };
            compared.push(of.compare(last.copied(), violations).await.map_err(Fault::into_stop)?);
        }
        Ok(compared)
    }
}

/// Of one partition.
struct Comparison<'a> {
    log: &'a Log,
    books: &'a Books,
    partition: i32,
}

impl Comparison<'_> {
    async fn compare(
        &self,
        pass: Option<&Pass>,
        violations: &mut Violations,
    ) -> Result<ComparedPartition, Fault> {
        let Log { cluster, topic, .. } = self.log;
        let first = cluster.offset(topic, self.partition, Start::Earliest).await?;
        let end = cluster.offset(topic, self.partition, Start::Latest).await?;
        let (mut compared, mut schema_unknown) = (Compared::default(), 0);
        if let Some(pass) = pass
            && self.is_same_log(pass, first, end, violations).await?
        {
            schema_unknown = self.count(pass, first, &mut compared, violations).await?;
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
    /// each record left behind; how many could not be looked for.
    async fn count(
        &self,
        pass: &Pass,
        first: i64,
        compared: &mut Compared,
        violations: &mut Violations,
    ) -> Result<i64, Fault> {
        let mut ranges = Ranges::new(self.books, pass, first);
        let (mut from, mut schema_unknown) = (first, 0);
        while from < pass.next {
            let (mut source, view) = self.source(from, &Value::Null, pass.next);
            let mut progress = Instant::now();
            loop {
                match source.next_batch(RECORDS_AT_ONCE).await {
                    Ok(None) => {
                        from = pass.next;
                        break;
                    }
                    Ok(Some(batch)) if batch.is_idle() => {
                        if progress.elapsed() > PATIENCE {
                            let (topic, partition) = (&self.log.topic, self.partition);
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
                        schema_unknown += look_for(
                            &*self.log.flow,
                            read,
                            batch.notation,
                            pass,
                            self.books,
                            violations,
                        )
                        .await?;
                        from = batch.last + 1;
                        progress = Instant::now();
                    }
                    // What cannot be read now could not be read before; it was passed over, or deleted meanwhile.
                    Err(fault) => {
                        let gap = view.gap().filter(|gap| gap.resume > from).ok_or(fault)?;
                        ranges.unreadable(gap.resume);
                        from = gap.resume;
                        break;
                    }
                }
            }
        }
        ranges.finish(compared, violations).await?;
        Ok(schema_unknown)
    }

    fn source(&self, next: i64, cursor: &Value, until: i64) -> (KafkaSource, Arc<View>) {
        let Log { cluster, topic, .. } = self.log;
        let decoder = Arc::clone(&self.log.decoder);
        KafkaSource::new(cluster.clone(), decoder, topic, self.partition, next, cursor, Some(until))
    }
}
