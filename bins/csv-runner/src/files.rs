//! The run over all files: one after the other through the pipeline into the store.

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tally_adapter_csv::{CsvFile, CsvMask, byte_of};
use tally_adapter_http_ml::Model;
use tally_app::{GRACE, Settings, Store, Worker};
use tally_domain::Flow;
use tally_pipeline::{Ended, Heartbeat, Ownership, Partition, Pipeline, Totals, own};
use tally_ports::position::FILE;
use tally_ports::{
    Begin, Commit, Fault, Finished, KnownFlow, Lease, Position, Positions, Sink, Stop, StopKind,
    Stream, Tolerance,
};

use crate::arguments::Arguments;
use crate::columns::{Columns, Noting};
use crate::dry_run::Nowhere;
use crate::rejection;
use crate::screen::Screen;
use crate::summary::{FileReport, Report, State};

/// A path as it was given, and the file behind it if it is a table with the flow's columns.
type Input = (PathBuf, Result<CsvFile, Stop>);

/// Takes the files, in order, into the store. A file that cannot be read is reported and the rest go on.
///
/// # Errors
/// When nothing could begin: a setting is wrong, the store stayed away.
pub async fn run(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
    screen: &Screen,
) -> Result<Report, Stop> {
    let flow = &known.flow;
    let model = tally_app::model(settings, flow)?;
    let inputs = open_inputs(&arguments.files, settings, &**flow).await?;

    let nothing_to_write = arguments.dry_run || inputs.iter().all(|(_, file)| file.is_err());
    if nothing_to_write {
        let store = Arc::new(Nowhere::default());
        let run = Run::new(flow, arguments, settings, worker, screen, model, store);
        return Ok(run.take(inputs).await);
    }
    let opening = worker.gates.database.pass(|| Store::open(settings, slice::from_ref(known)));
    let Some(store) = worker.unless_stopped(opening).await else {
        return Ok(Report::default());
    };
    let store = Arc::new(store?);
    let relay = tally_app::relay(settings, &store, &**flow, "csv-runner")?;
    let run = Run::new(flow, arguments, settings, worker, screen, model, store);
    let report = run.take(inputs).await;
    if let Some(relay) = relay {
        relay.drain(settings.drain.length()).await;
    }
    Ok(report)
}

async fn open_inputs(
    paths: &[PathBuf],
    settings: &Settings,
    flow: &dyn Flow,
) -> Result<Vec<Input>, Stop> {
    let mut inputs = Vec::with_capacity(paths.len());
    for path in paths {
        match CsvFile::open(path, &settings.csv, flow.columns()).await {
            Err(stop) if stop.kind != StopKind::Input => return Err(stop),
            opened => inputs.push((path.clone(), opened)),
        }
    }
    Ok(inputs)
}

/// What the files of a run have in common.
struct Run<'a, S> {
    flow: &'a Arc<dyn Flow>,
    arguments: &'a Arguments,
    worker: &'a Worker,
    screen: &'a Screen,
    lease: Duration,
    tolerance: Tolerance,
    store: Arc<S>,
    pipeline: Arc<Pipeline<Model, S>>,
    columns: Option<Columns>,
    /// Those of the files before.
    totals: Totals,
    began: bool,
}

impl<'a, S: Sink + Positions> Run<'a, S> {
    fn new(
        flow: &'a Arc<dyn Flow>,
        arguments: &'a Arguments,
        settings: &Settings,
        worker: &'a Worker,
        screen: &'a Screen,
        model: Option<Model>,
        store: Arc<S>,
    ) -> Self {
        let columns = flow.columns();
        let pipeline = Pipeline::new(
            Arc::clone(flow),
            model.map(Arc::new),
            Arc::clone(&store),
            worker.gates.clone(),
            Arc::clone(&worker.status),
            tally_app::pipeline(settings, |masked| CsvMask::new(masked, columns)),
        );
        Self {
            flow,
            arguments,
            worker,
            screen,
            lease: settings.lease.length(),
            tolerance: settings.budget.of_pass(),
            store,
            pipeline: Arc::new(pipeline),
            columns: arguments.dry_run.then(Columns::default),
            totals: Totals::default(),
            began: false,
        }
    }

    async fn take(mut self, inputs: Vec<Input>) -> Report {
        let started = Instant::now();
        let mut files = Vec::with_capacity(inputs.len());
        let mut stopped = None;
        for (path, input) in inputs {
            let mut report = FileReport::new(&path);
            let mut totals = Totals::default();
            let result = match input {
                Ok(file) => self.take_file(&path, &file, &mut report, &mut totals).await,
                Err(stop) => Err(stop),
            };
            report.count(&totals);
            self.totals.merge(totals);
            let others_go_on = report.state == State::Rejected
                || result.as_ref().is_err_and(|stop| stop.kind == StopKind::Input);
            files.push(report);
            if let Err(stop) = result {
                self.screen.close();
                tracing::error!("{stop}");
                // What ends the run has the last word; of files, one that was rejected.
                if !others_go_on || stopped != Some(StopKind::Data) {
                    stopped = Some(stop.kind);
                }
                if !others_go_on {
                    break;
                }
            }
            if self.worker.shutdown.token.is_cancelled() {
                break;
            }
        }
        let columns = self
            .columns
            .map(|columns| columns.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Report {
            totals: self.totals,
            took: started.elapsed(),
            files,
            columns,
            began: self.began,
            stop: stopped,
        }
    }

    async fn take_file(
        &mut self,
        path: &Path,
        file: &CsvFile,
        report: &mut FileReport,
        totals: &mut Totals,
    ) -> Result<(), Stop> {
        if !file.unknown_columns().is_empty() {
            tracing::warn!(
                "{}: ignoring the unknown columns {}",
                path.display(),
                file.unknown_columns().join(", ")
            );
        }
        let Some(fingerprint) = self.worker.unless_stopped(file.fingerprint()).await else {
            return Ok(());
        };
        let fingerprint = fingerprint.map_err(Fault::into_stop)?;
        let label = path.display().to_string();
        let (flow, name) = (self.flow.name().to_owned(), format!("{FILE}{fingerprint}"));
        let stream = Stream { flow, name, partition: 0, label };
        report.fingerprint = Some(fingerprint);

        let Worker { name, gates, shutdown, status, .. } = self.worker;
        let begin = Begin { at: 0, again: self.arguments.again };
        let stop = &shutdown.token;
        let owning = own(&*self.store, &gates.database, &stream, name, self.lease, begin, stop);
        match self.worker.unless_stopped(owning).await.unwrap_or(Ok(Ownership::Interrupted))? {
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
                let ended = self.take_rows(file, stream, position, totals).await;
                report.note(file.amounts(), file.blank_rows());
                let taken = match ended {
                    Ok(Ended::AtEnd { next }) => {
                        self.finish(path, &lease, next, report, totals).await
                    }
                    not_at_end => {
                        let _expires_by_itself =
                            tokio::time::timeout(GRACE, self.store.release(&lease)).await;
                        not_at_end.map(|_| ())
                    }
                };
                status.set_in_progress(false);
                taken
            }
        }
    }

    /// Marks a file as finished whose rows are all committed, and judges it.
    async fn finish(
        &self,
        path: &Path,
        lease: &Lease,
        next: i64,
        report: &mut FileReport,
        totals: &Totals,
    ) -> Result<(), Stop> {
        let gate = &self.worker.gates.database;
        let finishing = gate.pass(|| self.store.finish(lease, next, self.tolerance));
        let Some(finished) = self.worker.unless_stopped(finishing).await else { return Ok(()) };
        let finished = finished?;
        if !finished.is_rejected {
            report.state = State::Done;
            return Ok(());
        }
        report.state = State::Rejected;
        self.pipeline.forget_records();
        let (path, ratio, dry_run) =
            (path.display().to_string(), self.tolerance.ratio, self.arguments.dry_run);
        Err(rejection::now(&path, &finished, ratio, &totals.top_codes(), dry_run))
    }

    /// From the partition's position to the end of the file.
    async fn take_rows(
        &mut self,
        file: &CsvFile,
        stream: Stream,
        position: Position,
        totals: &mut Totals,
    ) -> Result<Ended, Stop> {
        if position.next > 0 {
            tracing::info!("{}: going on at row {}", stream.label, position.next);
        }
        self.screen.begin(&stream.label, file.size(), byte_of(&position.cursor).unwrap_or(0));
        let reader = file.read_from(position.next, &position.cursor).await?;
        let source = Noting::new(reader, self.flow, self.columns.clone());
        let mut heartbeat = Heartbeat::start(Arc::clone(&self.store), position.lease);
        let partition =
            Partition { stream: Arc::new(stream), worker: Arc::clone(&self.worker.name), position };
        self.began = true;

        let stop = &self.worker.shutdown.token;
        let (screen, rows_before) = (self.screen, self.totals.read);
        let show = |totals: &Totals, commit: &Commit| {
            screen.advance(byte_of(&commit.cursor).unwrap_or(0), rows_before + totals.read);
        };
        tokio::select! {
            ended = self.pipeline.run(source, partition, stop, totals, show) => ended,
            stop = heartbeat.lost() => Err(stop),
        }
    }
}
