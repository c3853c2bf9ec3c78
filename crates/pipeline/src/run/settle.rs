//! Commits a batch that was published in a transaction and not committed to the database.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tally_domain::{Publication, Record};
use tally_ports::progress::Standing;
use tally_ports::{
    Batch, Commit, DeadLetter, Enrich, Outbox, Position, Positions, Publish, PublishedBatch, Row,
    Sink, Source, Stop, StopKind, Way,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::stages::{ReadBatch, Run};
use super::{Partition, Pipeline};
use crate::Totals;
use crate::prepare::{Prepared, prepare};

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
        let is_direct = Way::of(&*self.flow) == Some(Way::Direct);
        let Position { lease, log, pass, next, .. } = partition.position;
        let publisher = self.publisher(&partition.stream, lease);
        let Some(publisher) = publisher.filter(|found| is_direct && found.is_exactly_once()) else {
            return Ok(partition);
        };
        let progress = tokio::select! {
            progress = publisher.progress() => progress?,
            () = stop.cancelled() => return Ok(partition),
        };
        let Some(batch) = progress.batch else { return Ok(partition) };
        match batch.standing(log, pass, next) {
            Standing::Settled => return Ok(partition),
            Standing::Pending => {}
            Standing::Ahead => return Err(publisher.is_ahead(&format!("position {next}"))),
        }
        tracing::info!(
            "committing positions {} to {} of {}, which were published before",
            batch.first,
            batch.last,
            partition.stream.label
        );
        let started = Instant::now();
        let source = open(&partition.position).await?;
        let run = Run { pipeline: Arc::clone(self), partition, publisher: None };
        let reading = run.read_again(source, &batch);
        let found = tokio::select! {
            found = reading => found?,
            () = stop.cancelled() => return Ok(run.partition),
        };
        let (mut commit, judged) = run.restore(found, &batch, started)?;
        run.add_sums(&mut commit, &batch).await?;
        let commit = Arc::new(commit);
        let result = run.commit(&commit).await?;
        totals.add(&commit, judged, &result);
        committed(totals, &commit);
        let mut partition = run.partition;
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
        while found.items.len() < wanted {
            let left = wanted - found.items.len();
            let read_on = || async { source.lock().await.next_batch(left).await };
            let Some(more) = gate.pass(read_on).await? else { break };
            if more.is_idle() {
                continue;
            }
            found.items.extend(more.items);
            (found.notation, found.cursor, found.is_last) =
                (more.notation, more.cursor, more.is_last);
            if more.last >= batch.last {
                break;
            }
        }
        let last = found.items.last().map_or(batch.first, |item| item.position);
        if found.items.len() != wanted || last > batch.last || found.cursor != batch.cursor {
            let PublishedBatch { first, last, .. } = batch;
            let message = format!(
                "{}: positions {first} to {last} were published and are not committed, and other records are there now, {} \
                 instead of {wanted}. Set the position by positions set",
                self.partition.stream.label,
                found.items.len()
            );
            return Err(Stop { kind: StopKind::Data, message });
        }
        found.last = batch.last;
        found.passed = batch.passed().unwrap_or_default();
        Ok(found)
    }

    /// What is committed of it, and how many of its records the quality rules judge.
    fn restore(
        &self,
        mut found: Batch,
        published: &PublishedBatch,
        started: Instant,
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
        Ok((self.to_commit(batch, rows, dead_letters), judged))
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
