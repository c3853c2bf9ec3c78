//! Ownership of a partition: waiting for its lease, and keeping it alive.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;
use metrics::gauge;
use tally_ports::{
    Begin, Claim, Fault, Finished, Lease, Position, Positions, Stop, StopKind, Stream, metric,
};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::Gate;

/// How waiting for a partition ended.
#[derive(Debug, PartialEq)]
pub enum Ownership {
    /// It is ours.
    Owned(Position),
    /// There is nothing left to do.
    Finished(Finished),
    /// A stop was requested while waiting.
    Interrupted,
}

/// Claims a partition, waiting while another owner's lease is alive, until `waits` is cancelled; without it, not at all.
///
/// # Errors
/// [`StopKind::Taken`] when the owner is alive: after two leases of waiting it is found to have renewed its lease.
pub async fn own<P: Positions>(
    positions: &P,
    gate: &Gate,
    stream: &Stream,
    owner: &str,
    lease: Duration,
    begin: Begin,
    waits: Option<&CancellationToken>,
) -> Result<Ownership, Stop> {
    let mut waiting: Option<Waiting> = None;
    loop {
        let claim = gate.pass(|| positions.claim(stream, owner, lease, begin)).await?;
        let (holder, remaining, renewal) = match claim {
            Claim::Owned(position) => return Ok(Ownership::Owned(position)),
            Claim::Finished(finished) => return Ok(Ownership::Finished(finished)),
            Claim::Held { owner, remaining, renewal } => (owner, remaining, renewal),
        };
        let Some(stop) = waits else {
            let message = format!("{} is owned by {holder}", stream.label);
            return Err(Stop { kind: StopKind::Taken, message });
        };
        let waiting = waiting.get_or_insert_with(|| {
            tracing::warn!(
                "{} is owned by {holder}; its lease lives for another {:.1} s, waiting",
                stream.label,
                remaining.as_secs_f64()
            );
            Waiting::begin(renewal)
        });
        if waiting.finds_alive(renewal, lease) {
            let message = format!(
                "{} is owned by {holder}, which is alive and renews its lease",
                stream.label
            );
            return Err(Stop { kind: StopKind::Taken, message });
        }
        let pause =
            remaining.clamp(Duration::from_millis(20), (lease / 5).max(Duration::from_millis(20)));
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return Ok(Ownership::Interrupted),
        }
    }
}

/// Waits for an owner that may be dead.
pub(crate) struct Waiting {
    since: Instant,
    renewal: NaiveDateTime,
}

impl Waiting {
    pub(crate) fn begin(renewal: NaiveDateTime) -> Self {
        Self { since: Instant::now(), renewal }
    }

    /// Whether the other owner has renewed within two leases of waiting, by its last `renewal`.
    pub(crate) fn finds_alive(&mut self, renewal: NaiveDateTime, lease: Duration) -> bool {
        self.renewal = self.renewal.min(renewal); // earlier than before: the store's clock went back
        self.since.elapsed() >= 2 * lease && renewal > self.renewal
    }
}

/// Renews a lease every third of its life until it is dropped.
pub struct Heartbeat {
    lost: watch::Receiver<Option<Stop>>,
    _task: AbortOnDropHandle<()>,
}

impl Heartbeat {
    /// Begins to renew `lease`. The committer reports an outage of the database; the heartbeat tries again
    /// at its next beat.
    pub fn start<P: Positions>(positions: Arc<P>, lease: Lease) -> Self {
        gauge!(metric::OWNED_PARTITIONS).increment(1.0);
        let (sender, lost) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut beat = interval(lease.duration / 3);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                match positions.renew(&lease).await {
                    Ok(()) => {}
                    Err(Fault::Outage { message, .. }) => {
                        tracing::debug!("lease not renewed: {message}");
                    }
                    Err(Fault::Stop(stop)) => {
                        sender.send_replace(Some(stop));
                        return;
                    }
                }
            }
        });
        Self { lost, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits until the lease is lost; possibly forever.
    pub async fn lost(&mut self) -> Stop {
        if let Ok(stop) = self.lost.wait_for(Option::is_some).await
            && let Some(stop) = stop.clone()
        {
            return stop;
        }
        std::future::pending().await
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        gauge!(metric::OWNED_PARTITIONS).decrement(1.0);
    }
}
