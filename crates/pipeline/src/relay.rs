//! The relay: publishes committed dead letters to a topic.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tally_ports::{DeadLetterRelay, PublishDeadLetters, metric};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Gate, Status};

/// How many dead letters are published at once.
const BATCH: usize = 500;
/// How long to wait for new ones.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How long to wait after a fault that a retry does not change.
const AFTER_A_STOP: Duration = Duration::from_secs(10);

/// Publishes the dead letters of a flow in the background; its outages never delay other work. Ends when dropped.
pub struct Relay {
    finish: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Relay {
    /// Begins with what was never published, whichever process committed it.
    pub fn start<O: DeadLetterRelay>(
        store: Arc<O>,
        publisher: impl PublishDeadLetters,
        flow: &str,
    ) -> Self {
        let (finish, flow) = (CancellationToken::new(), flow.to_owned());
        let until = finish.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                () = publish(&*store, &publisher, &flow, &until) => {}
                () = count(&*store, &flow) => {}
            }
            show_backlog(&*store, &flow).await;
        }));
        Self { finish, task }
    }

    /// Publishes what is left, for at most `limit`; the next start publishes the rest.
    pub async fn drain(self, limit: Duration) {
        self.finish.cancel();
        if timeout(limit, self.task).await.is_err() {
            tracing::warn!(
                "not all dead letters could be published in time; the next start publishes the rest"
            );
        }
    }
}

/// Returns when nothing is left and `finish` is cancelled.
async fn publish<O: DeadLetterRelay>(
    store: &O,
    publisher: &impl PublishDeadLetters,
    flow: &str,
    finish: &CancellationToken,
) {
    // A status of its own: what is unavailable here is unavailable for the relay only.
    let gate = Gate::new("dead-letter topic", "relay", None, Arc::new(Status::default()));
    loop {
        let pause = match gate.pass(|| store.relay(flow, BATCH, publisher)).await {
            Ok(0) => LOOK_EVERY,
            Ok(count) => {
                counter!(metric::RELAY_PUBLISHED, "flow" => flow.to_owned())
                    .increment(u64::try_from(count).unwrap_or(u64::MAX));
                continue;
            }
            Err(stop) => {
                tracing::error!("dead letters cannot be published: {stop}");
                AFTER_A_STOP
            }
        };
        if finish.is_cancelled() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = finish.cancelled() => {}
        }
    }
}

/// Never returns.
async fn count<O: DeadLetterRelay>(store: &O, flow: &str) {
    let mut beat = interval(COUNT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        show_backlog(store, flow).await;
    }
}

async fn show_backlog<O: DeadLetterRelay>(store: &O, flow: &str) {
    match store.backlog(flow).await {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(backlog) => gauge!(metric::RELAY_BACKLOG, "flow" => flow.to_owned()).set(backlog as f64),
        Err(fault) => tracing::debug!("the backlog cannot be counted: {fault}"),
    }
}
