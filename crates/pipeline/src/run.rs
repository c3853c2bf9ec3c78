//! The loop: batches of one partition from the source to the store, in order, several of them in flight.

mod quality_log;
mod stages;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tally_domain::Flow;
use tally_domain::quality::Rules;
use tally_ports::{Commit, DeadLetterBudget, Enrich, Mask, Position, Sink, Source, Stop, Stream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::quality_log::QualityLog;
pub(crate) use self::stages::ask;
use self::stages::{Run, joined};
use crate::budget::{Budget, BudgetWindow, BudgetedBatch};
use crate::{Gates, Status, Totals};

/// How a pipeline works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most records of a batch.
    pub batch_size: usize,
    /// How many batches may be at the model, or wait to be committed, beside the one that is committed.
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
pub struct Pipeline<E, S> {
    flow: Arc<dyn Flow>,
    enrich: Option<Arc<E>>,
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

impl<E: Enrich, S: Sink> Pipeline<E, S> {
    /// A pipeline for `flow` through `enrich`, where it has a model, into `sink`, each behind its gate.
    pub fn new(
        flow: Arc<dyn Flow>,
        enrich: Option<Arc<E>>,
        sink: Arc<S>,
        gates: Gates,
        status: Arc<Status>,
        settings: Settings,
    ) -> Self {
        let at_model = Arc::new(Semaphore::new(settings.ahead.max(1)));
        let budget_window = Arc::new(std::sync::Mutex::new(BudgetWindow::new(settings.budget)));
        Self { flow, enrich, sink, gates, status, settings, at_model, budget_window }
    }

    /// Restarts the budget between two runs: the records of the first must not stop the second.
    pub fn forget_records(&self) {
        self.budget_window.lock().unwrap_or_else(PoisonError::into_inner).forget();
    }

    /// The gates of its dependencies.
    pub const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Reads `source` from the partition's position to its end and commits every batch, in order.
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
        let run = Arc::new(Run { pipeline: Arc::clone(self), partition });
        let (sender, mut receiver) = mpsc::channel(self.settings.ahead.max(1));
        let reader = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&run).read(
            source,
            sender,
            stop.clone(),
        )));

        let commit_all = async {
            let mut quality_log = QualityLog::default();
            while let Some(batch) = receiver.recv().await {
                let (mut commit, judged, counted) = run.wait_for_model(batch).await?;
                let budgeted = Arc::new(BudgetedBatch::enter(&self.budget_window, &commit)?);
                commit.dead_letter_budget =
                    Some(Arc::clone(&budgeted) as Arc<dyn DeadLetterBudget>);
                let commit = Arc::new(commit);
                let result = run.commit(&commit).await?;
                quality_log.note(&commit, &self.settings.rules);
                budgeted.was_committed();
                drop(counted);
                totals.add(&commit, judged, &result);
                committed(totals, &commit);
            }
            joined(reader.await)
        };
        let out_of_time = async {
            stop.cancelled().await;
            tokio::time::sleep(self.settings.drain).await;
        };
        tokio::select! {
            result = commit_all => result,
            () = out_of_time => {
                tracing::warn!("what was in flight could not be committed in time; uncommitted records will be read again");
                Ok(Ended::Interrupted)
            }
        }
    }
}
