//! Positions reported to Kafka's consumer group, for tools that show its lag.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tally_adapter_kafka::Cluster;
use tokio::time::{MissedTickBehavior, interval, timeout};

const EVERY: Duration = Duration::from_secs(1);
/// How long the end of a run waits for Kafka.
const AT_THE_END: Duration = Duration::from_secs(2);

/// Reports committed positions to the consumer group of Kafka that has our group's name. Best effort: what fails is
/// reported again with the next ones; no commit waits for it, and nothing reads it.
pub(super) struct GroupOffsets {
    cluster: Cluster,
    group: String,
    topic: String,
    /// The next offset of each partition that is not reported yet.
    unreported: Mutex<BTreeMap<i32, i64>>,
}

impl GroupOffsets {
    pub(super) fn new(cluster: Cluster, group: String, topic: String) -> Self {
        Self { cluster, group, topic, unreported: Mutex::default() }
    }

    /// The partition is committed up to before `next`.
    pub(super) fn committed(&self, partition: i32, next: i64) {
        self.unreported().insert(partition, next);
    }

    /// Reports what there is once a second, until dropped.
    pub(super) async fn report(self: Arc<Self>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_failed = false;
        loop {
            ticks.tick().await;
            let Some(result) = self.report_now().await else { continue };
            match &result {
                Err(why) if !has_failed => {
                    tracing::warn!("{why}; the lag that Kafka's own tools show is not up to date");
                }
                Ok(()) if has_failed => {
                    tracing::info!(
                        "offsets of {} are reported to {} again",
                        self.topic,
                        self.group
                    );
                }
                _ => {}
            }
            has_failed = result.is_err();
        }
    }

    /// Reports what is left at the end of a run, unless Kafka takes too long.
    pub(super) async fn report_last(&self) {
        let reported = timeout(AT_THE_END, self.report_now()).await;
        if !matches!(reported, Ok(None | Some(Ok(())))) {
            tracing::warn!(
                "the last offsets of {} were not reported to {}: the lag that Kafka's own tools show is not up to date",
                self.topic,
                self.group,
            );
        }
    }

    /// None where there is nothing to report.
    async fn report_now(&self) -> Option<Result<(), String>> {
        let offsets: Vec<_> = self.unreported().iter().map(|(key, value)| (*key, *value)).collect();
        if offsets.is_empty() {
            return None;
        }
        let reported = self.cluster.report_offsets(&self.group, &self.topic, &offsets).await;
        if reported.is_ok() {
            let mut unreported = self.unreported();
            for (partition, next) in offsets {
                if unreported.get(&partition) == Some(&next) {
                    unreported.remove(&partition);
                }
            }
        }
        Some(reported.map_err(|fault| fault.to_string()))
    }

    fn unreported(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.unreported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
