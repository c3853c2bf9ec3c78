//! The relay of outboxes: publishes committed records in the order of their numbers.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tally_ports::{Lease, Outbox, Positions, Publish, Stop, Stream, failpoint, metric};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::publish::{PartitionPublisher, count};
use crate::{Gates, Outputs};

/// How many records are published at once.
const BATCH: usize = 500;
/// How long to wait for new ones, which a replay may add at any time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Publishes what the outbox of a partition holds, for its owner.
pub struct OutboxRelay<P: Publish, S> {
    publisher: Arc<PartitionPublisher<P, S>>,
    store: Arc<S>,
    gates: Gates,
    flow: String,
    lease: Lease,
}

impl<P: Publish, S: Outbox + Positions> OutboxRelay<P, S> {
    /// From the `store` to the `outputs`, each behind its gate, while `lease` is the partition's.
    pub fn new(
        store: Arc<S>,
        outputs: &Outputs<P>,
        gates: Gates,
        stream: Arc<Stream>,
        lease: Lease,
    ) -> Self {
        let (flow, gate) = (stream.flow.clone(), Arc::clone(&gates.publish));
        let publisher =
            PartitionPublisher::new(outputs.clone(), gate, Arc::clone(&store), stream, lease);
        Self::with(Arc::new(publisher), store, gates, flow, lease)
    }

    pub(crate) const fn with(
        publisher: Arc<PartitionPublisher<P, S>>,
        store: Arc<S>,
        gates: Gates,
        flow: String,
        lease: Lease,
    ) -> Self {
        Self { publisher, store, gates, flow, lease }
    }

    /// Publishes all that there is.
    ///
    /// # Errors
    /// When the lease is lost, a dependency stays unavailable, or a topic does not take a record.
    pub async fn all(&self) -> Result<(), Stop> {
        while self.some().await? > 0 {}
        Ok(())
    }

    /// Publishes what comes until all `is_over`, and then what is left, unless a `stop` is requested.
    pub(crate) async fn until(
        &self,
        has_committed: &Notify,
        is_over: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), Stop> {
        loop {
            // Asked before it is looked: what was committed before the end is then seen.
            let is_last = is_over.is_cancelled();
            let published = self.some().await?;
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
    async fn some(&self) -> Result<usize, Stop> {
        let (database, lease) = (&self.gates.database, &self.lease);
        let mut records = database.pass(|| self.store.outbox(lease, BATCH)).await?;
        let published = self.publisher.outbox(&records).await?;
        records.truncate(published);
        let Some(last) = records.last() else { return Ok(0) };
        count(&self.flow, records.iter().map(|record| &record.record));
        failpoint("mark-before");
        database.pass(|| self.store.published(lease, last.number)).await?;
        failpoint("mark-after");
        Ok(published)
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
