//! The topic as the coordinator sees it.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, Gap, KafkaSource, PartitionProgress, Start};
use tally_domain::Flow;
use tally_pipeline::{CancellationToken, Ended, Partition, Partitions, Pipeline, Totals};
use tally_ports::{
    Act, Commit, Enrich, Fault, Outbox, Position, PositionAdmin, Positions, Publish, SetTo, Sink,
    Stop, StopKind, metric,
};
use tokio::time::sleep;

use super::group::GroupOffsets;
use super::progress::Progress;
use crate::counted::Counted;

/// The offset at which each partition ends.
pub(super) type Ends = BTreeMap<i32, i64>;

/// A topic that is read into the store.
pub(super) struct Topic<E, P, S> {
    pub(super) flow: Arc<dyn Flow>,
    pub(super) cluster: Cluster,
    pub(super) decoder: Arc<Decoder>,
    pub(super) name: String,
    /// Where a new group begins.
    pub(super) start: Start,
    /// Where the run ends, if it has an end.
    pub(super) ends: Option<Ends>,
    pub(super) pipeline: Arc<Pipeline<E, P, S>>,
    pub(super) store: Arc<S>,
    /// The ranges that may be skipped, each once.
    pub(super) accepted: Mutex<Vec<Gap>>,
    /// Who accepted them.
    pub(super) who: String,
    pub(super) progress: Arc<Progress>,
    pub(super) group_offsets: Option<Arc<GroupOffsets>>,
    /// How long what is in flight may take after a stop.
    pub(super) drain: Duration,
}

impl<E: Enrich, P: Publish, S: Sink + PositionAdmin + Outbox + Positions> Partitions
    for Topic<E, P, S>
{
    async fn list(&self) -> Result<Vec<i32>, Fault> {
        self.cluster.partitions(&self.name).await
    }

    async fn start(&self, partition: i32) -> Result<i64, Fault> {
        self.cluster.offset(&self.name, partition, self.start).await
    }

    async fn first(&self, partition: i32) -> Result<i64, Fault> {
        self.cluster.offset(&self.name, partition, Start::Earliest).await
    }

    /// A partition that was added since ends where it begins.
    fn end(&self, partition: i32) -> Option<i64> {
        let ends = self.ends.as_ref()?;
        Some(ends.get(&partition).copied().unwrap_or(i64::MIN))
    }

    async fn work(&self, partition: Partition, stop: CancellationToken) -> Result<Ended, Stop> {
        let number = partition.stream.partition;
        let mut totals = Totals::default();
        let committed = |commit: &Commit| {
            if let Some(offsets) = &self.group_offsets {
                offsets.committed(number, commit.last + 1);
            }
            self.progress.add(commit.read);
        };
        let open = |position: &Position| ready(Ok(self.open(number, position).0));
        let settled = |_: &Totals, commit: &Commit| committed(commit);
        let settled = self.pipeline.settle(partition.clone(), open, &stop, &mut totals, settled);
        // A range that it cannot read is no gap that was accepted: its records are published.
        let settled = settled.await?;
        let (source, progress) = self.open(number, &settled.position);
        let committed = |_: &Totals, commit: &Commit| {
            progress.committed(commit.last + 1);
            committed(commit);
        };
        let ran = self.pipeline.run(source, settled, &stop, &mut totals, committed).await;
        self.progress.merge(totals);
        match ran {
            Err(reason) if reason.kind == StopKind::Blocked => {
                let accepted = progress.gap().filter(|gap| self.take_accepted(gap));
                let gap = accepted.ok_or(reason)?;
                let out_of_time = async {
                    stop.cancelled().await;
                    sleep(self.drain).await;
                };
                tokio::select! {
                    passed = self.pass_over(&partition, &gap) => passed?,
                    () = out_of_time => tracing::warn!("{gap} was not skipped in time"),
                }
                Ok(Ended::Interrupted) // it is free now, and claimed again at its position
            }
            other => other,
        }
    }

    /// One that is stopped is shown as long as it is held.
    fn let_go(&self, partition: i32) {
        self.progress.end(partition);
    }
}

impl<E: Enrich, P: Publish, S: Sink + PositionAdmin + Outbox + Positions> Topic<E, P, S> {
    /// The partition from its position on, which is shown.
    fn open(
        &self,
        number: i32,
        position: &Position,
    ) -> (Counted<KafkaSource>, Arc<PartitionProgress>) {
        let (source, progress) = KafkaSource::new(
            self.cluster.clone(),
            Arc::clone(&self.decoder),
            &self.name,
            number,
            position.next,
            &position.cursor,
            self.end(number),
        );
        self.progress.begin(number, Arc::clone(&progress));
        (Counted::new(source, metric::KAFKA_RECORDS_POLLED, &self.flow), progress)
    }

    /// Whether the range was accepted, which it then no longer is.
    fn take_accepted(&self, gap: &Gap) -> bool {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let found = accepted.iter().position(|range| range.to_string() == gap.to_string());
        found.map(|index| accepted.remove(index)).is_some()
    }

    /// Moves the position past the range, which the ledger records.
    async fn pass_over(&self, partition: &Partition, gap: &Gap) -> Result<(), Stop> {
        let act = Act {
            who: self.who.clone(),
            verb: "gap accepted",
            flow: self.flow.name().to_owned(),
            target: gap.to_string(),
            reason: format!("gap accepted: {gap}"),
            result: json!({ "first": gap.first, "last": gap.last, "resume": gap.resume }),
        };
        let lease = Some(&partition.position.lease);
        let Gap { resume: next, is_recreated, ref cursor, .. } = *gap;
        let to = || SetTo { next, is_recreated, cursor: cursor.clone(), seen: None };
        let set = || self.store.set(&partition.stream, to(), lease, &act);
        self.pipeline.gates().database.pass(set).await?;
        tracing::warn!("passed over {gap}, as it was accepted; going on at {}", gap.resume);
        Ok(())
    }
}
