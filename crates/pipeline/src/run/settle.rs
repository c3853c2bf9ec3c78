//! Commits a batch that was published in a transaction and not committed to the database.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tally_domain::{Publication, Record};
use tally_ports::progress::{BatchState, digest};
use tally_ports::{
    Batch, Commit, DeadLetter, Enrich, Outbox, Position, Positions, Publish, PublishedBatch, Row,
    Sink, Source, Stop, StopKind, Way,
};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stages::{ReadBatch, Run};
use super::{Partition, Pipeline};
use crate::Totals;
use crate::budget::NoneRefused;
use crate::prepare::{Prepared, prepare};

/// A source that gives nothing for so long has nothing.
const IDLE: Duration = Duration::from_secs(10);

impl<E: Enrich, P: Publish, S: Sink + Outbox + Positions> Pipeline<E, P, S> {
    /// The partition, once the batch that was published in a transaction and not committed to the database, if there is one,
    /// is committed as it was published: the same records, under the same id, with the same outcomes. Nothing of it is
    /// published or asked of the model again. `open` opens the source at a position.
    ///
    /// `totals` and `committed` as in [`run`](Self::run). Once `stop` is cancelled, the partition stays as it is.
    ///
    /// # Errors
    /// [`StopKind::Setting`] where something else than the next batch was published; [`StopKind::Data`] where its records can
    /// no longer be read.
    pub async fn settle<Opening, Opened>(
        self: &Arc<Self>,
        partition: Partition,
        open: impl FnOnce(&Position) -> Opening + Send,
        stop: &CancellationToken,
        totals: &mut Totals,
        mut committed: impl FnMut(&Totals, &Commit) + Send,
    ) -> Result<Partition, Stop>
    where
        Opening: Future<Output = Result<Opened, Stop>> + Send,
        Opened: Source,
    {
        let Position { lease, log, pass, next, .. } = partition.position;
        let publisher = self.publisher(&partition.stream, lease);
        let Some(publisher) = publisher.filter(|found| found.is_exactly_once()) else {
            return Ok(partition);
        };
        let progress = tokio::select! {
            progress = publisher.progress() => progress?,
            () = stop.cancelled() => return Ok(partition),
        };
        let Some(batch) = &progress.batch else { return Ok(partition) };
        let is_direct = Way::of(&*self.flow) == Some(Way::Direct);
        match batch.state(log, pass, next) {
            BatchState::Settled => return Ok(partition),
            BatchState::Pending if is_direct => {}
            BatchState::Pending | BatchState::Ahead => {
                let knows = format!("is at position {next} of pass {pass} over log {log}");
                return Err(publisher.ahead(&progress.to_string(), &knows));
            }
        }
        tracing::info!(
            "committing positions {} to {} of {}, which were published before",
            batch.first,
            batch.last,
            partition.stream.label
        );
        let started = std::time::Instant::now();
        let source = open(&partition.position).await?;
        let run = Run { pipeline: Arc::clone(self), partition, publisher: None };
        let reading = run.read_again(source, batch);
        let found = tokio::select! {
            found = reading => found?,
            () = stop.cancelled() => return Ok(run.partition),
        };
        let (mut commit, judged) = run.restore(found, batch, started)?;
        let committing = async {
            run.add_sums(&mut commit, batch).await?;
            let commit = Arc::new(commit);
            Ok((run.commit(&commit).await?, commit))
        };
        let out_of_time = async {
            stop.cancelled().await;
            tokio::time::sleep(self.settings.drain).await;
        };
        let (result, commit) = tokio::select! {
            result = committing => result?,
            () = out_of_time => return Ok(run.partition),
        };
        totals.add(&commit, judged, &result);
        committed(totals, &commit);
        let mut partition = run.partition.clone();
        partition.position.next = commit.last + 1;
        partition.position.cursor.clone_from(&commit.cursor);
        partition.position.stats.clone_from(&commit.stats);
        Ok(partition)
    }

    /// Forgets what transactions published for the partition, as its position is set by an operator.
    ///
    /// # Errors
    /// When the lease is lost, or the topics stay unavailable.
    pub async fn forget_published(&self, partition: &Partition) -> Result<(), Stop> {
        match self.publisher(&partition.stream, partition.position.lease) {
            Some(publisher) if publisher.is_exactly_once() => publisher.forget().await,
            _ => Ok(()),
        }
    }
}

impl<E: Enrich, P: Publish, S: Sink + Outbox + Positions> Run<E, P, S> {
    /// The records of the batch, once more.
    async fn read_again(&self, source: impl Source, batch: &PublishedBatch) -> Result<Batch, Stop> {
        let (gate, source) = (&self.pipeline.gates.source, Mutex::new(source));
        let mut found = Batch::idle(batch.first);
        let wanted = usize::try_from(batch.read).unwrap_or(usize::MAX);
        let mut read_at = Instant::now();
        while found.items.len() < wanted {
            let left = wanted - found.items.len();
            let read_on = || async { source.lock().await.next_batch(left).await };
            let more = gate.pass(read_on).await.map_err(|stop| match stop.kind {
                StopKind::Unavailable => stop,
                _ => self.cannot_settle(batch, &stop),
            })?;
            let Some(more) = more else { break };
            if more.is_idle() {
                if read_at.elapsed() > IDLE {
                    break;
                }
                continue;
            }
            read_at = Instant::now();
            found.items.extend(more.items);
            (found.notation, found.cursor, found.is_last) =
                (more.notation, more.cursor, more.is_last);
            if more.last >= batch.last {
                break;
            }
        }
        let last = found.items.last().map_or(batch.first, |item| item.position);
        if found.items.len() != wanted || last > batch.last {
            let message =
                format!("{} records are there now instead of {wanted}", found.items.len());
            return Err(self.cannot_settle(batch, &Stop { kind: StopKind::Data, message }));
        }
        let unknown = || {
            let message = format!("it passed positions for an unknown reason: {}", batch.passed);
            self.cannot_settle(batch, &Stop { kind: StopKind::Data, message })
        };
        found.last = batch.last;
        found.passed = batch.passed().ok_or_else(unknown)?;
        Ok(found)
    }

    /// Says which records are published, and what can be done.
    fn cannot_settle(&self, batch: &PublishedBatch, why: &Stop) -> Stop {
        let PublishedBatch { first, last, .. } = batch;
        let message = format!(
            "{}: positions {first} to {last} are published and cannot be committed: {why}. Set the position by positions \
             set, or kafka.progress_topic to a new topic",
            self.partition.stream.label
        );
        Stop { kind: why.kind, message }
    }

    /// What is committed of it, and how many of its records the quality rules judge.
    fn restore(
        &self,
        mut found: Batch,
        published: &PublishedBatch,
        started: std::time::Instant,
    ) -> Result<(Commit, usize), Stop> {
        let flow = &*self.pipeline.flow;
        let places: Vec<_> =
            found.items.iter().map(|item| (item.position, item.raw.clone())).collect();
        let mut stats = self.partition.position.stats.clone();
        let rules = self.pipeline.settings.rules.only_warning();
        let Prepared { records, places: valid, quality, .. } =
            prepare(flow, &mut found, &rules, &mut stats)?;
        let judged = records.len();
        let mut details = valid.iter().map(|(position, _)| *position).zip(records);
        let mut detail = details.next();

        let (mut rows, mut dead_letters) = (Vec::new(), Vec::new());
        let mut reasons = published.dead_letters.iter().peekable();
        for (position, raw) in places {
            let mut record = Record::default();
            if let Some((_, found)) = detail.take_if(|(at, _)| *at == position) {
                record.detail = found.detail;
                detail = details.next();
            }
            if let Some((_, reason)) = reasons.next_if(|(at, _)| *at == position) {
                dead_letters.push(DeadLetter::first(position, reason.clone(), raw));
                continue;
            }
            if !published.has_skipped(position) {
                record.publications = vec![Publication::default()];
            }
            rows.push(Row { position, record, raw });
        }
        let batch = ReadBatch {
            id: published.id,
            first: published.first,
            last: published.last,
            read: published.read,
            cursor: found.cursor,
            stats,
            quality,
            passed: found.passed,
            started,
        };
        let mut commit = self.to_commit(batch, rows, dead_letters);
        if digest(&commit.rows) != published.digest {
            let message = "other records are there now".to_owned();
            return Err(self.cannot_settle(published, &Stop { kind: StopKind::Data, message }));
        }
        commit.dead_letter_budget = Some(Arc::new(NoneRefused));
        Ok((commit, judged))
    }

    /// Lets a row that no earlier pass has counted add what all of them add to counters.
    async fn add_sums(&self, commit: &mut Commit, published: &PublishedBatch) -> Result<(), Stop> {
        let sums = published.writes(&*commit.flow)?;
        if sums.is_empty() {
            return Ok(());
        }
        let earlier = self.earlier(commit).await?;
        let counts = |row: &&mut Row| {
            !row.record.publications.is_empty() && !earlier.has_counted(row.position)
        };
        let row = commit.rows.iter_mut().find(counts).ok_or_else(|| Stop {
            kind: StopKind::Data,
            message: format!("no record of the published batch {} is left to count", published.id),
        })?;
        row.record.writes = sums;
        Ok(())
    }
}
