//! What was published of a partition before its position is set.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use tally_adapter_kafka::KafkaSource;
use tally_domain::Flow;
use tally_pipeline::{Heartbeat, Outputs, Partition, Pipeline, Totals};
use tally_ports::{
    Begin, Claim, Lease, Outbox, Position, Positions, Publish, Sink, Stop, StopKind, Stream,
};
use tokio::time::timeout;

use super::{ExistingTopic, Settings};
use crate::{GRACE, Process};

/// What became of what was published in a transaction and not committed to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// There was nothing.
    Nothing,
    /// It is committed, up to before this position.
    Committed { next: i64 },
    /// It cannot be committed, as this says, and is known no more.
    Forgotten(Stop),
}

/// Settles what was published of a partition, which was read before, so that its position may be set under the lease that is
/// returned.
///
/// # Errors
/// When another process owns the partition, or a dependency stays unavailable.
pub async fn settle<P, S>(
    process: &Process,
    flow: &Arc<dyn Flow>,
    outputs: Outputs<P>,
    store: &Arc<S>,
    found: &ExistingTopic,
    settings: Settings,
    partition: i32,
) -> Result<(Settled, Lease), Stop>
where
    P: Publish,
    S: Sink + Positions + Outbox,
{
    let stream = Arc::new(Stream {
        flow: flow.name().to_owned(),
        name: settings.stream(),
        partition,
        label: settings.topic.clone(),
    });
    let (lease, begin) = (settings.lease, Begin::default());
    let claim = || store.claim(&stream, &process.name, lease, begin);
    let position = match process.gates.database.pass(claim).await? {
        Claim::Owned(position) => position,
        Claim::Held { owner, remaining, .. } => {
            let message = format!(
                "partition {partition} of {} is owned by {owner}, whose lease lives for another {:.1} s: stop it first",
                settings.topic,
                remaining.as_secs_f64()
            );
            return Err(Stop { kind: StopKind::Taken, message });
        }
        Claim::Finished(_) => {
            let message = format!("partition {partition} of {} has ended", settings.topic);
            return Err(Stop { kind: StopKind::Setting, message });
        }
    };
    let mut heartbeat = Heartbeat::start(Arc::clone(store), position.lease);
    let pipeline = Arc::new(Pipeline::new(
        Arc::clone(flow),
        None::<Arc<Infallible>>,
        Some(outputs),
        Arc::clone(store),
        process.gates.clone(),
        Arc::clone(&process.status),
        settings.pipeline,
    ));
    let (lease, before) = (position.lease, position.next);
    let worker = Arc::clone(&process.name);
    let owned = Partition { stream, worker, position };
    let settling = async {
        let open = |position: &Position| {
            let (cluster, decoder) = (found.cluster.clone(), Arc::clone(&found.decoder));
            let (next, cursor) = (position.next, &position.cursor);
            let topic = &settings.topic;
            ready(Ok(KafkaSource::new(cluster, decoder, topic, partition, next, cursor, None).0))
        };
        let totals = &mut Totals::default();
        match pipeline.settle(owned.clone(), open, &process.stop, totals, |_, _| {}).await {
            Ok(settled) if settled.position.next == before => Ok(Settled::Nothing),
            Ok(settled) => Ok(Settled::Committed { next: settled.position.next }),
            Err(why)
                if matches!(why.kind, StopKind::Setting | StopKind::Data | StopKind::Blocked) =>
            {
                pipeline.forget_published(&owned).await?;
                Ok(Settled::Forgotten(why))
            }
            Err(stop) => Err(stop),
        }
    };
    let settled = tokio::select! {
        settled = settling => settled,
        stop = heartbeat.lost() => Err(stop),
    };
    if settled.is_err() {
        let _expires_by_itself = timeout(GRACE, store.release(&lease)).await;
    }
    Ok((settled?, lease))
}
