//! The loop: batches of one partition from the source to the store, in order, several of them in flight.

mod publish;
mod quality_log;
mod settle;
mod stages;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tally_domain::Flow;
use tally_domain::quality::Rules;
use tally_ports::{
    Commit, DeadLetterBudget, Enrich, Lease, Mask, Outbox, Position, Positions, Publish, Sink,
    Source, Stop, StopKind, Stream, Topics, Way, failpoint,
};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::quality_log::QualityLog;
pub(crate) use self::stages::ask;
use self::stages::{Run, joined};
use crate::budget::{Budget, BudgetWindow, BudgetedBatch, NoneRefused};
use crate::publish::PartitionPublisher;
use crate::{Gates, OutboxRelay, Outputs, Status, Totals};

/// How a pipeline works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most records of a batch.
    pub batch_size: usize,
    /// How many batches may be read, at the model, or wait to be committed, beside the one that is committed; one without a
    /// model.
    pub ahead: usize,
    /// How long what is in flight may take after a stop request.
    pub drain: Duration,
    /// The quality rules' settings.
    pub rules: Rules,
    /// How many records may become dead letters.
    pub budget: Budget,
    /// Masks fields in dead letters.
    pub mask: Option<Arc<dyn Mask>>,
}

impl Default for Settings {
    fn default() -> Self {
        let drain = Duration::from_secs(10);
        Self {
            batch_size: 1000,
            ahead: 4,
            drain,
            rules: Rules::default(),
            budget: Budget::default(),
            mask: None,
        }
    }
}

/// Takes the records of a partition through every stage into the store.
pub struct Pipeline<E, P, S> {
    flow: Arc<dyn Flow>,
    enrich: Option<Arc<E>>,
    outputs: Option<Outputs<P>>,
    sink: Arc<S>,
    gates: Gates,
    status: Arc<Status>,
    settings: Settings,
    /// One permit for each batch that may be at the model.
    at_model: Arc<Semaphore>,
    budget_window: Arc<std::sync::Mutex<BudgetWindow>>,
}

/// How a run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The source has no more records; all are committed and `next` follows the last one.
    AtEnd {
        /// The position after the last record.
        next: i64,
    },
    /// A stop was requested; what was in flight is committed unless the time for it ran out.
    Interrupted,
}

/// An owned partition: what every batch of a run has in common.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its name in the ledger.
    pub stream: Arc<Stream>,
    /// Who commits.
    pub worker: Arc<str>,
    /// The position to start from, and the right to commit.
    pub position: Position,
}

impl<E: Enrich, P: Publish, S: Sink + Outbox + Positions> Pipeline<E, P, S> {
    /// A pipeline for `flow` through `enrich`, where it has a model, to `outputs`, where it publishes, and into `sink`, each
    /// behind its gate. Without `outputs` nothing is published.
    pub fn new(
        flow: Arc<dyn Flow>,
        enrich: Option<Arc<E>>,
        outputs: Option<Outputs<P>>,
        sink: Arc<S>,
        gates: Gates,
        status: Arc<Status>,
        mut settings: Settings,
    ) -> Self {
        if enrich.is_none() {
            settings.ahead = 1;
        }
        let at_model = Arc::new(Semaphore::new(settings.ahead.max(1)));
        let budget_window = Arc::new(std::sync::Mutex::new(BudgetWindow::new(settings.budget)));
        Self { flow, enrich, outputs, sink, gates, status, settings, at_model, budget_window }
    }

    /// Restarts the budget between two runs: the records of the first must not stop the second.
    pub fn forget_records(&self) {
        self.budget_window.lock().unwrap_or_else(PoisonError::into_inner).forget();
    }

    /// The gates of its dependencies.
    pub const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Publishes all that the outbox of the partition holds.
    ///
    /// # Errors
    /// When it cannot be published, also as the flow has no outputs.
    pub async fn relay_outbox(&self, stream: &Arc<Stream>, lease: Lease) -> Result<(), Stop> {
        let relay = self.relay(self.publisher(stream, lease), lease).ok_or_else(|| Stop {
            kind: StopKind::Setting,
            message: format!(
                "the outbox of {} holds records, and the flow has no outputs in this program",
                self.flow.name()
            ),
        })?;
        relay.all().await
    }

    fn topics(&self) -> Topics {
        self.outputs.as_ref().map_or_else(Topics::default, Outputs::topics)
    }

    fn publisher(
        &self,
        stream: &Arc<Stream>,
        lease: Lease,
    ) -> Option<Arc<PartitionPublisher<P, S>>> {
        let (outputs, gate) = (self.outputs.clone()?, Arc::clone(&self.gates.publish));
        let (store, stream) = (Arc::clone(&self.sink), Arc::clone(stream));
        Some(Arc::new(PartitionPublisher::new(outputs, gate, store, stream, lease)))
    }

    fn relay(
        &self,
        publisher: Option<Arc<PartitionPublisher<P, S>>>,
        lease: Lease,
    ) -> Option<OutboxRelay<P, S>> {
        let (store, flow) = (Arc::clone(&self.sink), self.flow.name().to_owned());
        Some(OutboxRelay::with(publisher?, store, self.gates.clone(), flow, lease))
    }

    /// Reads `source` from the partition's position, which is [settled](Self::settle), to its end and commits every batch, in
    /// order. What a batch publishes directly is acknowledged before it is committed; the outbox is relayed meanwhile, and empty at the end.
    ///
    /// `totals` counts what was committed, whatever the result; `committed` is called after each commit with what was
    /// committed. When `stop` is cancelled, reading stops and what is in flight is committed.
    ///
    /// # Errors
    /// The first [`Stop`] in the order of the positions; what was read before it is committed.
    pub async fn run(
        self: &Arc<Self>,
        source: impl Source + 'static,
        partition: Partition,
        stop: &CancellationToken,
        totals: &mut Totals,
        mut committed: impl FnMut(&Totals, &Commit) + Send,
    ) -> Result<Ended, Stop> {
        let lease = partition.position.lease;
        let publisher = self.publisher(&partition.stream, lease);
        let relay = self.relay(publisher.clone(), lease);
        let is_relayed = Way::of(&*self.flow) == Some(Way::Outbox);
        let run = Arc::new(Run { pipeline: Arc::clone(self), partition, publisher });
        let (sender, mut receiver) = mpsc::channel(self.settings.ahead.max(1));
        let reader = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&run).read(
            source,
            sender,
            stop.clone(),
        )));

        let (has_committed, is_over) = (Notify::new(), CancellationToken::new());
        let commit_all = async {
            let mut quality_log = QualityLog::default();
            while let Some(batch) = receiver.recv().await {
                let (mut commit, judged, counted) = run.wait_for_model(batch).await?;
                failpoint("model-after");
                let outgoing = run.prepare_to_publish(&mut commit).await?;
                let is_once = run.is_published_once(&outgoing);
                let mut budgeted = BudgetedBatch::enter(&self.budget_window, &commit)?;
                if run.publish(&mut commit, outgoing).await? {
                    drop(budgeted);
                    budgeted = BudgetedBatch::enter(&self.budget_window, &commit)?;
                }
                let budgeted = Arc::new(budgeted);
                let budget: Arc<dyn DeadLetterBudget> =
                    if is_once { Arc::new(NoneRefused) } else { Arc::clone(&budgeted) as _ };
                commit.dead_letter_budget = Some(budget);
                let commit = Arc::new(commit);
                let result = run.commit(&commit).await?;
                quality_log.note(&commit, &self.settings.rules);
                budgeted.was_committed();
                drop(counted);
                if is_relayed {
                    has_committed.notify_one();
                }
                totals.add(&commit, judged, &result);
                committed(totals, &commit);
            }
            let ended = joined(reader.await);
            is_over.cancel();
            ended
        };
        let relay_all = async {
            let Some(relay) = &relay else { return Ok(()) };
            relay.until(&has_committed, &is_over, stop).await
        };
        let all = async { tokio::try_join!(commit_all, relay_all).map(|(ended, ())| ended) };
        let out_of_time = async {
            stop.cancelled().await;
            tokio::time::sleep(self.settings.drain).await;
        };
        tokio::select! {
            result = all => result,
            () = out_of_time => {
                tracing::warn!("what was in flight could not be committed in time; uncommitted records will be read again");
                Ok(Ended::Interrupted)
            }
        }
    }
}
