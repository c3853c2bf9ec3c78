//! The loop: batches of one partition from the source to the store, in order, several of them in flight.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tally_domain::Flow;
use tally_domain::quality::Rules;
use tally_ports::{
    Admission, Commit, Committed, DeadLetter, Enrich, Mask, Position, Row, Sink, Source, Stop,
    StopKind, Stream,
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::guard::{Budget, Entrant, Guard};
use crate::inquire::inquire;
use crate::measure::{self, count, observe};
use crate::prepare::{Prepared, prepare};
use crate::{Gates, Status, Totals};

/// How often it is said that a quality rule is above its threshold.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// How a pipeline works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most records of a batch.
    pub batch_size: usize,
    /// How many batches may be at the model at once; about as many more wait to be committed.
    pub ahead: usize,
    /// How long what is in flight may take once a stop was asked for.
    pub drain: Duration,
    /// The quality rules' settings.
    pub rules: Rules,
    /// How many records may become dead letters.
    pub budget: Budget,
    /// Takes out of dead letters what must not be kept.
    pub mask: Option<Arc<dyn Mask>>,
}

impl Default for Settings {
    fn default() -> Self {
        let drain = Duration::from_secs(10);
        Self {
            batch_size: 1000,
            ahead: 4,
            drain,
            rules: Rules::new(),
            budget: Budget::default(),
            mask: None,
        }
    }
}

/// Takes the records of a partition through every stage into the store.
pub struct Pipeline<F, E, S> {
    enrich: Arc<E>,
    sink: Arc<S>,
    gates: Gates,
    status: Arc<Status>,
    settings: Settings,
    /// One permit for each batch that may be at the model.
    at_model: Arc<Semaphore>,
    guard: Arc<std::sync::Mutex<Guard>>,
    /// When each quality rule was last said to be above its threshold.
    said: std::sync::Mutex<BTreeMap<String, Instant>>,
    flow: PhantomData<F>,
}

/// How a run ended that nothing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The source has no more records; all are committed and `next` follows the last one.
    AtEnd {
        /// The position after the last record.
        next: i64,
    },
    /// A stop was asked for; what was in flight is committed unless the time for it ran out.
    Interrupted,
}

/// A partition that we own: what every batch of a run has in common.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its name in the ledger.
    pub stream: Arc<Stream>,
    /// Who commits.
    pub worker: Arc<str>,
    /// Where to go on, and the right to commit.
    pub position: Position,
}

struct Run<F: Flow, E, S> {
    pipeline: Arc<Pipeline<F, E, S>>,
    partition: Partition,
}

/// A batch that is at the model.
struct InFlight<F: Flow> {
    id: Uuid,
    first: i64,
    last: i64,
    read: usize,
    judged: usize,
    cursor: Value,
    stats: Value,
    quality: tally_domain::quality::Report,
    gap: Option<String>,
    dead_letters: Vec<DeadLetter>,
    started: Instant,
    counted: measure::InFlight,
    rows: AbortOnDropHandle<Result<Enriched<F>, Stop>>,
}

/// A batch that was at the model.
struct Enriched<F: Flow> {
    rows: Vec<Row<F>>,
    refused: Vec<DeadLetter>,
}

impl<F: Flow, E: Enrich<F>, S: Sink<F>> Pipeline<F, E, S> {
    /// A pipeline for the flow `F` through `enrich` into `sink`, each behind its gate.
    pub fn new(
        enrich: Arc<E>,
        sink: Arc<S>,
        gates: Gates,
        status: Arc<Status>,
        settings: Settings,
    ) -> Self {
        let at_model = Arc::new(Semaphore::new(settings.ahead.max(1)));
        let guard = Arc::new(std::sync::Mutex::new(Guard::new(settings.budget)));
        let said = std::sync::Mutex::default();
        Self { enrich, sink, gates, status, settings, at_model, guard, said, flow: PhantomData }
    }

    /// Whether to say again that a quality rule is above its threshold. The ledger holds every finding; a stream's batches
    /// are many and small.
    fn may_say(&self, rule: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let may = said.get(rule).is_none_or(|at| at.elapsed() >= SAID_EVERY);
        if may {
            said.insert(rule.to_owned(), Instant::now());
        }
        may
    }

    /// Begins to judge the budget anew: the records before were judged otherwise, and must not stop what comes after. For a
    /// time between two runs.
    pub fn forget_records(&self) {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).forget();
    }

    /// The gates that its calls pass.
    pub const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Reads `source`, which stands at the partition's position, to its end and commits every batch, in order.
    ///
    /// `totals` counts what was committed, whatever the result; `committed` is called after each commit with what was
    /// committed. When `stop` is cancelled, reading stops and what is in flight is committed.
    ///
    /// # Errors
    /// The first [`Stop`] in the order of the positions; what was read before it is committed.
    pub async fn run(
        self: &Arc<Self>,
        source: impl Source<F> + 'static,
        partition: Partition,
        stop: &CancellationToken,
        totals: &mut Totals,
        mut committed: impl FnMut(&Totals, &Commit<F>) + Send,
    ) -> Result<Ended, Stop> {
        let run = Arc::new(Run { pipeline: Arc::clone(self), partition });
        let (sender, mut receiver) = mpsc::channel(self.settings.ahead.max(1));
        let reader = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&run).read(
            source,
            sender,
            stop.clone(),
        )));

        let commit_all = async {
            while let Some(batch) = receiver.recv().await {
                let (mut commit, judged, counted) = run.wait_for_model(batch).await?;
                let entrant = Arc::new(Entrant::enter(&self.guard, &commit)?);
                commit.admission = Some(Arc::clone(&entrant) as Arc<dyn Admission>);
                let commit = Arc::new(commit);
                let result = run.commit(&commit).await?;
                entrant.was_committed();
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
                tracing::warn!("what was in flight could not be committed in time; what the ledger lacks will be read again");
                Ok(Ended::Interrupted)
            }
        }
    }
}

impl<F: Flow, E: Enrich<F>, S: Sink<F>> Run<F, E, S> {
    /// Reads batch after batch, validates and judges it, and sends it to the model.
    async fn read(
        self: Arc<Self>,
        source: impl Source<F>,
        sender: mpsc::Sender<InFlight<F>>,
        stop: CancellationToken,
    ) -> Result<Ended, Stop> {
        let Settings { batch_size, rules, .. } = &self.pipeline.settings;
        let source = Mutex::new(source);
        let read_on = || async { source.lock().await.next_batch(*batch_size).await };
        let mut stats = self.stats_of_position()?;
        let mut next = self.partition.position.next;
        loop {
            let started = Instant::now();
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Interrupted),
                batch = self.pipeline.gates.source.pass(read_on) => batch?,
            };
            let Some(mut batch) = batch else {
                return Ok(Ended::AtEnd { next });
            };
            if batch.is_idle() {
                continue;
            }
            observe("read", started);
            let counted = measure::InFlight::begin();
            next = batch.last + 1;

            let preparing = Instant::now();
            let read = batch.items.len();
            let Prepared { records, places, dead_letters, quality } =
                prepare::<F>(&mut batch, rules, &mut stats)?;
            observe("validate", preparing);
            // Here and not in the task, so that batches are asked about in order. It is never closed.
            let permit = Arc::clone(&self.pipeline.at_model).acquire_owned().await.ok();
            let in_flight = InFlight {
                id: Uuid::now_v7(),
                first: batch.first,
                last: batch.last,
                read,
                judged: records.len() + quarantined(&dead_letters),
                cursor: batch.cursor,
                stats: to_json(&stats)?,
                quality,
                gap: batch.gap,
                dead_letters,
                started,
                counted,
                rows: AbortOnDropHandle::new(tokio::spawn(
                    Arc::clone(&self).enrich(records, places, permit),
                )),
            };
            if sender.send(in_flight).await.is_err() {
                return Ok(Ended::Interrupted); // the committer stopped and has its own reason
            }
        }
    }

    /// Asks the model until it answers; then `permit` may be another batch's.
    async fn enrich(
        self: Arc<Self>,
        records: Vec<F::Record>,
        places: Vec<(i64, tally_ports::Raw)>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Enriched<F>, Stop> {
        let asked = Instant::now();
        let mut enriched =
            Enriched { rows: Vec::with_capacity(records.len()), refused: Vec::new() };
        if records.is_empty() {
            return Ok(enriched);
        }
        let gate = &self.pipeline.gates.model;
        let answers = inquire(&*self.pipeline.enrich, gate, &records).await?;
        for ((record, (position, raw)), answer) in records.into_iter().zip(places).zip(answers) {
            match answer {
                Ok(answer) => enriched.rows.push(Row { position, record, answer, raw }),
                Err(reason) => enriched.refused.push(DeadLetter::first(position, reason, raw)),
            }
        }
        drop(permit);
        observe("enrich", asked);
        Ok(enriched)
    }

    /// The batch with the model's answers, and how many of its records the quality rules judged.
    async fn wait_for_model(
        &self,
        batch: InFlight<F>,
    ) -> Result<(Commit<F>, usize, measure::InFlight), Stop> {
        let Enriched { rows, refused } = joined(batch.rows.await)?;
        let mut dead_letters = batch.dead_letters;
        if !refused.is_empty() {
            dead_letters.extend(refused);
            dead_letters.sort_by_key(|letter| letter.position);
        }
        let mask = self.pipeline.settings.mask.clone();
        if let Some(mask) = &mask {
            for letter in &mut dead_letters {
                letter.raw = mask.mask(&letter.raw);
            }
        }
        let Partition { stream, worker, position } = &self.partition;
        let commit = Commit {
            id: batch.id,
            stream: Arc::clone(stream),
            lease: position.lease,
            worker: Arc::clone(worker),
            pass: position.pass,
            first: batch.first,
            last: batch.last,
            read: i64::try_from(batch.read).unwrap_or(i64::MAX),
            rows,
            dead_letters,
            cursor: batch.cursor,
            stats: batch.stats,
            quality: batch.quality,
            gap: batch.gap,
            started: batch.started,
            mask,
            admission: None,
        };
        Ok((commit, batch.judged, batch.counted))
    }

    /// Commits until the database answers, then says so in metrics, log and status.
    async fn commit(&self, commit: &Arc<Commit<F>>) -> Result<Committed, Stop> {
        let began = Instant::now();
        let gate = &self.pipeline.gates.database;
        let committed = gate.pass(|| self.pipeline.sink.commit(commit)).await?;
        observe("commit", began);
        self.pipeline.status.committed();
        count(commit, &committed);
        for (rule, finding) in &commit.quality {
            if finding.above_threshold && self.pipeline.may_say(rule) {
                let (rate, first, last) = (finding.rate, commit.first, commit.last);
                tracing::warn!(rule, rate, first, last, "quality rule above its threshold");
            }
        }
        Ok(committed)
    }

    fn stats_of_position(&self) -> Result<F::Stats, Stop> {
        let position = &self.partition.position;
        match &position.stats {
            Value::Null => Ok(F::Stats::default()),
            stored => serde_json::from_value(stored.clone()).map_err(|error| Stop {
                kind: StopKind::Data,
                message: format!(
                    "the statistics stored at position {} are not ours: {error}",
                    position.lease.position
                ),
            }),
        }
    }
}

fn quarantined(dead_letters: &[DeadLetter]) -> usize {
    dead_letters.iter().filter(|letter| letter.reason.stage == tally_domain::Stage::Quality).count()
}

fn to_json(stats: &impl serde::Serialize) -> Result<Value, Stop> {
    serde_json::to_value(stats).map_err(|error| Stop {
        kind: StopKind::Data,
        message: format!("the statistics are no JSON: {error}"),
    })
}

/// The result of a task of ours; its panic goes on here.
fn joined<T>(result: Result<Result<T, Stop>, tokio::task::JoinError>) -> Result<T, Stop> {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
