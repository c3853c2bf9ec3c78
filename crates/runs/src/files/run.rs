//! The run over all files: one after another through the pipeline into the store.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tally_adapter_csv::{CsvFile, CsvMask, CsvSource, byte_of};
use tally_domain::Flow;
use tally_pipeline::{
    Ended, Heartbeat, Outputs, Ownership, Partition, Pipeline, Totals, own, show_outbox,
};
use tally_ports::position::FILE;
use tally_ports::{
    Begin, Commit, Enrich, Fault, Finished, Lease, Outbox, Position, Positions, Publish, Sink,
    Stop, StopKind, Stream, Tolerance, metric,
};
use tokio_util::task::AbortOnDropHandle;

use super::profile::{Profiled, Profiles};
use super::report::{FileReport, Report, State};
use super::{Watch, rejection};
use crate::counted::Counted;
use crate::unowned::publish_unowned;
use crate::{GRACE, Process};

/// A path as given, and its file if that is a CSV table with the flow's columns.
pub type Input = (PathBuf, Result<CsvFile, Stop>);

/// How a run over files works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the pipeline works.
    pub pipeline: tally_pipeline::Settings,
    /// How long an owner of a file may be silent before another takes over.
    pub lease: Duration,
    /// Whether finished and rejected files are read again.
    pub again: bool,
    /// Whether to profile the columns.
    pub profiles: bool,
    /// Whether nothing is written, so that there is nothing to read again.
    pub is_dry: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pipeline: tally_pipeline::Settings::default(),
            lease: Duration::from_secs(5),
            again: false,
            profiles: false,
            is_dry: false,
        }
    }
}

impl Settings {
    /// The same, with the columns of these names masked in dead letters.
    #[must_use]
    pub fn masking(mut self, names: &[String], flow: &dyn Flow) -> Self {
        if !names.is_empty() {
            self.pipeline.mask = Some(Arc::new(CsvMask::new(names, flow.columns())));
        }
        self
    }
}

/// What is done about a file that another process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnedByAnother {
    /// Its lease may end.
    Awaited,
    /// It is left to it.
    Left,
}

/// A run of files of one flow into a store.
pub struct Files<E, P, S> {
    pub(super) process: Process,
    pub(super) flow: Arc<dyn Flow>,
    pub(super) store: Arc<S>,
    pipeline: Arc<Pipeline<E, P, S>>,
    outputs: Option<Outputs<P>>,
    lease: Duration,
    tolerance: Tolerance,
    again: bool,
    pub(super) owned: OwnedByAnother,
    is_dry: bool,
    profiles: Option<Profiles>,
    /// Shows how many records are not published yet.
    _shown: Option<AbortOnDropHandle<()>>,
    /// The counts of the earlier files.
    totals: Totals,
    began: bool,
}

impl<E: Enrich, S: Sink + Positions + Outbox> Files<E, Infallible, S> {
    /// Takes files of `flow` through `model`, if it has one, into `store`. Publishes nothing.
    pub fn new(
        process: Process,
        flow: Arc<dyn Flow>,
        model: Option<E>,
        store: Arc<S>,
        settings: Settings,
    ) -> Self {
        Self::publishing(process, flow, model, None, store, settings)
    }
}

impl<E: Enrich, P: Publish, S: Sink + Positions + Outbox> Files<E, P, S> {
    /// Takes files of `flow` through `model`, if it has one, to `outputs`, where it publishes, and into `store`.
    pub fn publishing(
        process: Process,
        flow: Arc<dyn Flow>,
        model: Option<E>,
        outputs: Option<Outputs<P>>,
        store: Arc<S>,
        settings: Settings,
    ) -> Self {
        let Settings { pipeline, lease, again, profiles, is_dry } = settings;
        let tolerance = pipeline.budget.of_pass();
        let shown = outputs.is_some().then(|| {
            let showing = show_outbox(Arc::clone(&store), flow.name().to_owned());
            AbortOnDropHandle::new(tokio::spawn(showing))
        });
        let pipeline = Pipeline::new(
            Arc::clone(&flow),
            model.map(Arc::new),
            outputs.clone(),
            Arc::clone(&store),
            process.gates.clone(),
            Arc::clone(&process.status),
            pipeline,
        );
        Self {
            process,
            flow,
            store,
            pipeline: Arc::new(pipeline),
            outputs,
            _shown: shown,
            lease,
            tolerance,
            again,
            owned: OwnedByAnother::Awaited,
            is_dry,
            profiles: profiles.then(Profiles::default),
            totals: Totals::default(),
            began: false,
        }
    }

    /// Publishes what a replay has left in the outboxes of passes that have ended. What cannot be published is left for the next
    /// run.
    pub(super) async fn publish_left(&self) {
        let Some(outputs) = self.outputs.as_ref().filter(|_| !self.is_dry) else { return };
        let name = self.flow.name();
        let publishing = publish_unowned(&self.process, name, &self.store, outputs, self.lease);
        if let Some(Err(stop)) = self.process.unless_stopped(publishing).await {
            tracing::error!("an outbox is not empty: {stop}");
        }
    }

    /// Takes the files, in order. One that cannot be read is reported and the rest continue.
    pub async fn take(mut self, inputs: Vec<Input>, watch: &impl Watch) -> Report {
        let started = Instant::now();
        let mut files = Vec::with_capacity(inputs.len());
        let mut stopped = None;
        self.publish_left().await;
        for (path, input) in inputs {
            let (report, result) = self.take_one(&path, input, watch).await;
            let others_go_on = report.state == State::Rejected
                || result.as_ref().is_err_and(|stop| stop.kind == StopKind::Input);
            files.push(report);
            if let Err(stop) = result {
                watch.close();
                tracing::error!("{stop}");
                // What ends the run decides; among files, one that was rejected.
                if !others_go_on || stopped != Some(StopKind::Data) {
                    stopped = Some(stop.kind);
                }
                if !others_go_on {
                    break;
                }
            }
            if self.process.stop.is_cancelled() {
                break;
            }
        }
        self.report(started.elapsed(), files, stopped)
    }

    /// The report of the run.
    pub(super) fn report(
        self,
        took: Duration,
        files: Vec<FileReport>,
        stop: Option<StopKind>,
    ) -> Report {
        let columns = self
            .profiles
            .map(|profiles| profiles.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Report { totals: self.totals, took, files, columns, began: self.began, stop }
    }

    /// Takes one file, and counts it.
    pub(super) async fn take_one(
        &mut self,
        path: &Path,
        input: Result<CsvFile, Stop>,
        watch: &impl Watch,
    ) -> (FileReport, Result<(), Stop>) {
        let mut report = FileReport::new(path);
        let mut totals = Totals::default();
        let result = match input {
            Ok(file) => self.take_file(path, &file, watch, &mut report, &mut totals).await,
            Err(stop) => Err(stop),
        };
        report.count(&totals);
        self.totals.merge(totals);
        (report, result)
    }

    async fn take_file(
        &mut self,
        path: &Path,
        file: &CsvFile,
        watch: &impl Watch,
        report: &mut FileReport,
        totals: &mut Totals,
    ) -> Result<(), Stop> {
        say_columns(path, file);
        let Some(fingerprint) = self.process.unless_stopped(file.fingerprint()).await else {
            return Ok(());
        };
        let fingerprint = fingerprint.map_err(Fault::into_stop)?;
        let label = path.display().to_string();
        let (flow, name) = (self.flow.name().to_owned(), format!("{FILE}{fingerprint}"));
        let stream = Stream { flow, name, partition: 0, label };
        report.fingerprint = Some(fingerprint);

        let Process { name, gates, stop, status, .. } = &self.process.clone();
        let begin = Begin { at: 0, again: self.again };
        let waits = (self.owned == OwnedByAnother::Awaited).then_some(stop);
        let owning = own(&*self.store, &gates.database, &stream, name, self.lease, begin, waits);
        match self.process.unless_stopped(owning).await.unwrap_or(Ok(Ownership::Interrupted))? {
            Ownership::Interrupted => Ok(()),
            Ownership::Finished(finished) => {
                self.began = true;
                if finished.is_rejected {
                    report.state = State::Rejected;
                    return Err(rejection::before(&stream.label, &finished));
                }
                let Finished { at, read, .. } = finished;
                let at = at.format("%Y-%m-%d %H:%M:%S");
                tracing::info!(
                    "{} was finished at {at} UTC with {read} rows; --again reads it once more",
                    stream.label
                );
                report.state = State::AlreadyDone;
                Ok(())
            }
            Ownership::Owned(position) => {
                status.set_in_progress(true);
                let lease = position.lease;
                report.resumed_at = Some(position.next).filter(|&row| row > 0);
                let stream = Arc::new(stream);
                let partition =
                    Partition { stream: Arc::clone(&stream), worker: Arc::clone(name), position };
                let ended = self.take_rows(file, partition, watch, totals).await;
                report.note(file.amounts(), file.blank_rows());
                if let Some(line) = file.swallowing_line() {
                    tracing::warn!(
                        "{}: a quoted field of the record in line {line} holds what look like whole rows: look for a quote \
                         that is not closed",
                        path.display()
                    );
                }
                let taken = match ended {
                    Ok(Ended::AtEnd { next }) => {
                        self.finish(path, &stream, lease, next, report, totals).await
                    }
                    not_at_end => not_at_end.map(|_| ()),
                };
                if !matches!(report.state, State::Done | State::Rejected) {
                    let _expires_by_itself =
                        tokio::time::timeout(GRACE, self.store.release(&lease)).await;
                }
                status.set_in_progress(false);
                taken
            }
        }
    }

    /// Marks a file as finished whose rows are all committed, and judges it.
    async fn finish(
        &self,
        path: &Path,
        stream: &Arc<Stream>,
        lease: Lease,
        next: i64,
        report: &mut FileReport,
        totals: &Totals,
    ) -> Result<(), Stop> {
        let finishing = async {
            let gate = &self.process.gates.database;
            loop {
                if let Some(finished) =
                    gate.pass(|| self.store.finish(&lease, next, self.tolerance)).await?
                {
                    return Ok(finished);
                }
                // A replay has added some since.
                let mut heartbeat = Heartbeat::start(Arc::clone(&self.store), lease);
                tokio::select! {
                    relayed = self.pipeline.relay_outbox(stream, lease) => relayed?,
                    stop = heartbeat.lost() => return Err(stop),
                }
            }
        };
        let Some(finished) = self.process.unless_stopped(finishing).await else { return Ok(()) };
        let finished = finished?;
        if !finished.is_rejected {
            report.state = State::Done;
            return Ok(());
        }
        report.state = State::Rejected;
        self.pipeline.forget_records();
        let (path, ratio, dry_run) =
            (path.display().to_string(), self.tolerance.ratio, self.is_dry);
        Err(rejection::now(&path, &finished, ratio, &totals.top_codes(), dry_run))
    }

    /// From the partition's position to the end of the file.
    async fn take_rows(
        &mut self,
        file: &CsvFile,
        partition: Partition,
        watch: &impl Watch,
        totals: &mut Totals,
    ) -> Result<Ended, Stop> {
        let position = &partition.position;
        if position.next > 0 {
            tracing::info!("{}: resuming at row {}", partition.stream.label, position.next);
        }
        watch.begin(&partition.stream.label, file.size(), byte_of(&position.cursor).unwrap_or(0));
        let mut heartbeat = Heartbeat::start(Arc::clone(&self.store), position.lease);
        self.began = true;

        let stop = &self.process.stop;
        let rows_before = self.totals.read;
        let show = |totals: &Totals, commit: &Commit| {
            watch.advance(byte_of(&commit.cursor).unwrap_or(0), rows_before + totals.read);
        };
        let take = async {
            let open = |position: &Position| self.open(file, position.clone());
            let partition = self.pipeline.settle(partition, open, stop, totals, show).await?;
            let source = self.open(file, partition.position.clone()).await?;
            self.pipeline.run(source, partition, stop, totals, show).await
        };
        tokio::select! {
            ended = take => ended,
            stop = heartbeat.lost() => Err(stop),
        }
    }

    async fn open(
        &self,
        file: &CsvFile,
        position: Position,
    ) -> Result<Profiled<Counted<CsvSource>>, Stop> {
        let reader = file.read_from(position.next, &position.cursor).await?;
        let reader = Counted::new(reader, metric::CSV_ROWS_READ, &self.flow);
        Ok(Profiled::new(reader, &self.flow, self.profiles.clone()))
    }
}

/// Says which names of the header are read as columns that are spelt otherwise, and which columns are ignored.
fn say_columns(path: &Path, file: &CsvFile) {
    let path = path.display();
    if !file.respelt().is_empty() {
        let names = file.respelt().iter();
        let names: Vec<String> =
            names.map(|(name, column)| format!("{name:?} as {column}")).collect();
        tracing::info!(
            "{path}: the header's names are read without case and blanks: {}",
            names.join(", ")
        );
    }
    if !file.unknown_columns().is_empty() {
        let names = file.unknown_columns().join(", ");
        tracing::warn!("{path}: ignoring the unknown columns {names}");
    }
}
