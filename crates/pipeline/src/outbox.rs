//! The relay of outboxes: publishes committed records in the order of their numbers.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tally_ports::{Lease, Outbox, OutgoingRecord, Publish, Stop, StopKind, metric};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::publish::{count, publish as publish_records};
use crate::{Gates, Outputs};

/// How many records are published at once.
const BATCH: usize = 500;
/// How long to wait for new ones, which a replay may add at any time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Publishes what outboxes hold, for the owner of their partitions.
pub struct OutboxRelay<P, S> {
    flow: String,
    store: Arc<S>,
    publisher: Arc<P>,
    gates: Gates,
}

impl<P: Publish, S: Outbox> OutboxRelay<P, S> {
    /// From the `store` to the `outputs`, each behind its gate.
    pub fn new(flow: &str, store: Arc<S>, outputs: &Outputs<P>, gates: Gates) -> Self {
        let publisher = Arc::clone(outputs.publisher());
        Self { flow: flow.to_owned(), store, publisher, gates }
    }

    /// Publishes all that there is.
    ///
    /// # Errors
    /// When the lease is lost, a dependency stays unavailable, or a topic does not take a record.
    pub async fn all(&self, lease: &Lease) -> Result<(), Stop> {
        while self.some(lease).await? > 0 {}
        Ok(())
    }

    /// Publishes what comes until all `is_over`, and then what is left, unless a `stop` is requested.
    pub(crate) async fn until(
        &self,
        lease: &Lease,
        has_committed: &Notify,
        is_over: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), Stop> {
        loop {
            // Asked before it is looked: what was committed before the end is then seen.
            let is_last = is_over.is_cancelled();
            let published = self.some(lease).await?;
            if is_last && (published == 0 || stop.is_cancelled()) {
                return Ok(());
            }
            if published > 0 {
                continue;
            }
            tokio::select! {
                () = has_committed.notified() => {}
                () = is_over.cancelled() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Publishes the first records and deletes them; how many.
    async fn some(&self, lease: &Lease) -> Result<usize, Stop> {
        let Gates { database, publish, .. } = &self.gates;
        let found = database.pass(|| self.store.outbox(lease, BATCH)).await?;
        let Some(last) = found.last().map(|record| record.number) else { return Ok(0) };
        let (numbers, records): (Vec<i64>, Vec<OutgoingRecord>) =
            found.into_iter().map(|record| (record.number, record.record)).unzip();
        let too_large = publish_records(&*self.publisher, publish, &records).await?;
        if let Some(&index) = too_large.first() {
            let (topic, number) = (&records[index].topic, numbers[index]);
            let message = format!(
                "record {number} of position {} in the outbox of {} is larger than {topic} takes: raise its max.message.bytes",
                lease.position_id, self.flow
            );
            return Err(Stop { kind: StopKind::Setting, message });
        }
        count(&self.flow, records.iter());
        database.pass(|| self.store.published(lease, last)).await?;
        Ok(records.len())
    }
}

/// Shows how many records of the flow are not published yet. Never returns.
pub async fn show_outbox<S: Outbox>(store: Arc<S>, flow: String) {
    let mut beat = interval(COUNT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        match store.unpublished(&flow).await {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            Ok(backlog) => {
                gauge!(metric::OUTBOX_BACKLOG, "flow" => flow.clone()).set(backlog as f64);
            }
            Err(fault) => tracing::debug!("the outbox cannot be counted: {fault}"),
        }
    }
}
