//! What the outboxes of partitions without a live owner hold.

use std::sync::Arc;
use std::time::Duration;

use tally_pipeline::{Heartbeat, OutboxRelay, Outputs};
use tally_ports::{Outbox, Positions, Publish, Stop};
use tokio::time::timeout;
#[cfg(feature = "kafka")]
use tokio::time::{Instant, sleep};

use crate::{GRACE, Process};

/// Publishes what the outboxes of the flow's partitions without a live owner hold, also where their last passes have ended; a
/// live owner publishes that of its own.
///
/// # Errors
/// When a dependency stays unavailable, or a topic does not take a record.
pub(crate) async fn publish_unowned<P, S>(
    process: &Process,
    flow: &str,
    store: &Arc<S>,
    outputs: &Outputs<P>,
    duration: Duration,
) -> Result<(), Stop>
where
    P: Publish,
    S: Outbox + Positions,
{
    let claim = || store.claim_outbox(flow, &process.name, duration);
    while let Some((stream, lease)) = process.gates.database.pass(claim).await? {
        tracing::info!("publishing what {} has in its outbox", stream.label);
        let (stream, gates) = (Arc::new(stream), process.gates.clone());
        let relay = OutboxRelay::new(Arc::clone(store), outputs, gates, stream, lease);
        let mut heartbeat = Heartbeat::start(Arc::clone(store), lease);
        let relayed = tokio::select! {
            relayed = relay.all() => relayed,
            stop = heartbeat.lost() => Err(stop),
        };
        drop(heartbeat);
        let _expires_by_itself = timeout(GRACE, store.release(&lease)).await;
        relayed?;
    }
    Ok(())
}

/// The same until nothing of the flow is left: an owner that has died holds what it has left until its lease expires. What is
/// left after two leases, a live owner publishes.
///
/// # Errors
/// As [`publish_unowned`].
#[cfg(feature = "kafka")]
pub(crate) async fn publish_rest<P, S>(
    process: &Process,
    flow: &str,
    store: &Arc<S>,
    outputs: &Outputs<P>,
    duration: Duration,
) -> Result<(), Stop>
where
    P: Publish,
    S: Outbox + Positions,
{
    let until = Instant::now() + 2 * duration;
    loop {
        publish_unowned(process, flow, store, outputs, duration).await?;
        let left = process.gates.database.pass(|| store.unpublished(flow)).await?;
        if left == 0 || Instant::now() > until {
            return Ok(());
        }
        sleep(duration / 5).await;
    }
}
