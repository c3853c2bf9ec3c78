//! The loop: batches of one partition from the source to the store, in order, several of them in flight.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tally_domain::quality::Rules;
use tally_domain::{ByteString, Flow, Raw, Record, Value};
use tally_ports::{
    Admission, Answers, Commit, Committed, DeadLetter, Enrich, Mask, Passed, Position, Row, Sink,
    Source, Stop, Stream,
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::guard::{Budget, Entrant, Guard};
use crate::inquire::inquire;
use crate::measure::{self, count, observe};
use crate::prepare::{Prepared, prepare};
use crate::{Gate, Gates, Status, Totals};

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
pub struct Pipeline<E, S> {
    flow: Arc<dyn Flow>,
    enrich: Option<Arc<E>>,
    sink: Arc<S>,
    gates: Gates,
    status: Arc<Status>,
    settings: Settings,
    /// One permit for each batch that may be at the model.
    at_model: Arc<Semaphore>,
    guard: Arc<std::sync::Mutex<Guard>>,
    /// When each quality rule was last said to be above its threshold.
    said: std::sync::Mutex<BTreeMap<String, Instant>>,
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

struct Run<E, S> {
    pipeline: Arc<Pipeline<E, S>>,
    partition: Partition,
}

/// A batch that is at the model.
struct InFlight {
    id: Uuid,
    first: i64,
    last: i64,
    read: usize,
    judged: usize,
    cursor: Json,
    stats: Json,
    quality: tally_domain::quality::Report,
    passed: Passed,
    gap: Option<String>,
    dead_letters: Vec<DeadLetter>,
    started: Instant,
    counted: measure::InFlight,
    rows: AbortOnDropHandle<Result<Enriched, Stop>>,
}

/// A batch that was at the model.
struct Enriched {
    rows: Vec<Row>,
    refused: Vec<DeadLetter>,
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
        let guard = Arc::new(std::sync::Mutex::new(Guard::new(settings.budget)));
        let said = std::sync::Mutex::default();
        Self { flow, enrich, sink, gates, status, settings, at_model, guard, said }
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

impl<E: Enrich, S: Sink> Run<E, S> {
    /// Reads batch after batch, validates and judges it, and sends it to the model.
    async fn read(
        self: Arc<Self>,
        source: impl Source,
        sender: mpsc::Sender<InFlight>,
        stop: CancellationToken,
    ) -> Result<Ended, Stop> {
        let Settings { batch_size, rules, .. } = &self.pipeline.settings;
        let source = Mutex::new(source);
        let read_on = || async { source.lock().await.next_batch(*batch_size).await };
        let mut stats = self.partition.position.stats.clone();
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
                prepare(&*self.pipeline.flow, &mut batch, rules, &mut stats)?;
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
                stats: stats.clone(),
                quality,
                passed: batch.passed,
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
        records: Vec<Record>,
        places: Vec<(i64, Raw)>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Enriched, Stop> {
        let began = Instant::now();
        let pipeline = &self.pipeline;
        let mut enriched =
            Enriched { rows: Vec::with_capacity(records.len()), refused: Vec::new() };
        let answers = ask(pipeline.enrich.as_deref(), &pipeline.gates.model, &records).await?;
        let mut answers = answers.into_iter();
        let tables = pipeline.flow.tables();
        for (mut record, (position, raw)) in records.into_iter().zip(places) {
            let answer = if record.is_asked { answers.next() } else { None };
            let answer = match answer.transpose() {
                Ok(answer) => answer,
                Err(reason) => {
                    enriched.refused.push(DeadLetter::first(position, reason, raw));
                    continue;
                }
            };
            let named = answer.as_ref().and_then(|answer| first_text(answer));
            if let Some(answer) = answer {
                record.take_answer(tables, &answer);
            }
            enriched.rows.push(Row { position, record, answer: named, raw });
        }
        drop(permit);
        if pipeline.enrich.is_some() {
            observe("enrich", began);
        }
        Ok(enriched)
    }

    /// The batch with the model's answers, and how many of its records the quality rules judged.
    async fn wait_for_model(
        &self,
        batch: InFlight,
    ) -> Result<(Commit, usize, measure::InFlight), Stop> {
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
            flow: Arc::clone(&self.pipeline.flow),
            id: batch.id,
            stream: Arc::clone(stream),
            lease: position.lease,
            worker: Arc::clone(worker),
            pass: position.pass,
            log: position.log,
            first: batch.first,
            last: batch.last,
            read: i64::try_from(batch.read).unwrap_or(i64::MAX),
            rows,
            dead_letters,
            cursor: batch.cursor,
            stats: batch.stats,
            quality: batch.quality,
            passed: batch.passed,
            gap: batch.gap,
            started: batch.started,
            mask,
            admission: None,
        };
        Ok((commit, batch.judged, batch.counted))
    }

    /// Commits until the database answers, then says so in metrics, log and status.
    async fn commit(&self, commit: &Arc<Commit>) -> Result<Committed, Stop> {
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
}

fn quarantined(dead_letters: &[DeadLetter]) -> usize {
    dead_letters.iter().filter(|letter| letter.reason.stage == tally_domain::Stage::Quality).count()
}

/// The model's answers to those of the `records` that it is asked about, in order; none without a model.
pub(crate) async fn ask<E: Enrich>(
    enrich: Option<&E>,
    gate: &Gate,
    records: &[Record],
) -> Result<Answers, Stop> {
    let asked: Vec<&Record> = records.iter().filter(|record| record.is_asked).collect();
    match enrich {
        Some(enrich) if !asked.is_empty() => inquire(enrich, gate, &asked).await,
        _ => Ok(Answers::new()),
    }
}

/// What a summary counts an answer by.
pub(crate) fn first_text(answer: &[Value]) -> Option<ByteString> {
    answer.iter().find_map(|value| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    })
}

/// The result of a task of ours; its panic goes on here.
fn joined<T>(result: Result<Result<T, Stop>, tokio::task::JoinError>) -> Result<T, Stop> {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
