//! The stages that a batch of one partition goes through.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value as Json;
use tally_domain::{AnsweredColumn, Raw, Record};
use tally_ports::{
    Answers, Commit, Committed, DeadLetter, Enrich, Outbox, Passed, Positions, Publish, Row, Sink,
    Source, Stop, failpoint,
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{Ended, Partition, Pipeline, Settings};
use crate::Gate;
use crate::inquire::inquire;
use crate::measure::{self, count, observe};
use crate::prepare::{Prepared, prepare};
use crate::publish::PartitionPublisher;

pub(super) struct Run<E, P: Publish, S> {
    pub(super) pipeline: Arc<Pipeline<E, P, S>>,
    pub(super) partition: Partition,
    /// None where the flow publishes nothing.
    pub(super) publisher: Option<Arc<PartitionPublisher<P, S>>>,
}

/// What is known of a batch once it is read and judged.
pub(super) struct ReadBatch {
    pub(super) id: Uuid,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) read: i64,
    pub(super) cursor: Json,
    pub(super) stats: Json,
    pub(super) quality: tally_domain::quality::Report,
    pub(super) passed: Passed,
    pub(super) started: Instant,
}

/// A batch that is at the model.
pub(super) struct InFlight {
    batch: ReadBatch,
    judged: usize,
    dead_letters: Vec<DeadLetter>,
    counted: measure::InFlight,
    rows: AbortOnDropHandle<Result<Enriched, Stop>>,
}

/// A batch that was at the model.
struct Enriched {
    rows: Vec<Row>,
    refused: Vec<DeadLetter>,
}

impl<E: Enrich, P: Publish, S: Sink + Outbox + Positions> Run<E, P, S> {
    /// Reads batch after batch, validates and judges it, and sends it to the model.
    pub(super) async fn read(
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
            // Before it is read, so that no batch is in memory without a place.
            let Ok(place) = sender.reserve().await else {
                return Ok(Ended::Interrupted); // the committer stopped and has its own reason
            };
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
            let permit = match self.pipeline.enrich {
                Some(_) => Arc::clone(&self.pipeline.at_model).acquire_owned().await.ok(),
                None => None,
            };
            let in_flight = InFlight {
                batch: ReadBatch {
                    id: Uuid::now_v7(),
                    first: batch.first,
                    last: batch.last,
                    read: i64::try_from(read).unwrap_or(i64::MAX),
                    cursor: batch.cursor,
                    stats: stats.clone(),
                    quality,
                    passed: batch.passed,
                    started,
                },
                judged: records.len() + quarantined(&dead_letters),
                dead_letters,
                counted,
                rows: AbortOnDropHandle::new(tokio::spawn(
                    Arc::clone(&self).enrich(records, places, permit),
                )),
            };
            place.send(in_flight);
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
        let columns = AnsweredColumn::all(pipeline.flow.tables());
        for (mut record, (position, raw)) in records.into_iter().zip(places) {
            let answer = if record.is_asked { answers.next() } else { None };
            let answer = match answer.transpose() {
                Ok(answer) => answer,
                Err(reason) => {
                    enriched.refused.push(DeadLetter::first(position, reason, raw));
                    continue;
                }
            };
            if let Some(answer) = answer {
                record.take_answer(&columns, &answer);
            }
            enriched.rows.push(Row { position, record, raw });
        }
        drop(permit);
        if pipeline.enrich.is_some() {
            observe("enrich", began);
        }
        Ok(enriched)
    }

    /// The batch with the model's answers, and how many of its records the quality rules judged.
    pub(super) async fn wait_for_model(
        &self,
        in_flight: InFlight,
    ) -> Result<(Commit, usize, measure::InFlight), Stop> {
        let InFlight { batch, judged, mut dead_letters, counted, rows } = in_flight;
        let Enriched { rows, refused } = joined(rows.await)?;
        if !refused.is_empty() {
            dead_letters.extend(refused);
            dead_letters.sort_by_key(|letter| letter.position);
        }
        Ok((self.to_commit(batch, rows, dead_letters), judged, counted))
    }

    /// What is committed of a batch; masks the dead letters.
    pub(super) fn to_commit(
        &self,
        batch: ReadBatch,
        rows: Vec<Row>,
        mut dead_letters: Vec<DeadLetter>,
    ) -> Commit {
        let mask = self.pipeline.settings.mask.clone();
        if let Some(mask) = &mask {
            for letter in &mut dead_letters {
                letter.raw = mask.mask(&letter.raw);
            }
        }
        let Partition { stream, worker, position } = &self.partition;
        let ReadBatch { id, first, last, read, cursor, stats, quality, passed, started } = batch;
        Commit {
            flow: Arc::clone(&self.pipeline.flow),
            id,
            stream: Arc::clone(stream),
            lease: position.lease,
            worker: Arc::clone(worker),
            pass: position.pass,
            log: position.log,
            first,
            last,
            read,
            rows,
            dead_letters,
            topics: self.pipeline.topics(),
            cursor,
            stats,
            quality,
            passed,
            started,
            mask,
            dead_letter_budget: None,
        }
    }

    /// Commits until the database answers, then says so in metrics and status.
    pub(super) async fn commit(&self, commit: &Arc<Commit>) -> Result<Committed, Stop> {
        let began = Instant::now();
        let gate = &self.pipeline.gates.database;
        failpoint("begin-before");
        let committed = gate.pass(|| self.pipeline.sink.commit(commit)).await?;
        failpoint("commit-after");
        observe("commit", began);
        self.pipeline.status.committed();
        count(commit, &committed);
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

/// The result of a task of ours; its panic goes on here.
pub(super) fn joined<T>(
    result: Result<Result<T, Stop>, tokio::task::JoinError>,
) -> Result<T, Stop> {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
