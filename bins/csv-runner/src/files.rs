//! The run over all files: one after the other through the pipeline into the store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tally_adapter_csv::{CsvFile, CsvMask, byte_of};
use tally_adapter_http_ml::Model;
use tally_app::{GRACE, Settings, Store, Stored, Worker};
use tally_domain::Classified;
use tally_pipeline::{Ended, Heartbeat, Ownership, Partition, Pipeline, Totals, own};
use tally_ports::position::FILE;
use tally_ports::{Begin, Commit, Fault, Position, Positions, Sink, Stop, StopKind, Stream};

use crate::arguments::Arguments;
use crate::columns::{Columns, Noting};
use crate::dry_run::Nowhere;
use crate::screen::Screen;
use crate::summary::{FileReport, Report, State};

/// A path as it was given, and the file behind it if it is a table of the flow.
type Input<F> = (PathBuf, Result<CsvFile<F>, Stop>);

/// Takes the files, in order, into the store. A file that cannot be read is reported and the rest go on.
///
/// # Errors
/// When nothing could begin: a setting is wrong, the store stayed away.
pub async fn run<F: Stored + Classified>(
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
    screen: &Screen,
) -> Result<Report, Stop> {
    let model = tally_app::model(settings)?;
    let inputs: Vec<Input<F>> = open_inputs(&arguments.files, settings).await?;

    let nothing_to_write = arguments.dry_run || inputs.iter().all(|(_, file)| file.is_err());
    if nothing_to_write {
        let run = Run::new(arguments, settings, worker, screen, model, Arc::new(Nowhere));
        return Ok(run.take(inputs).await);
    }
    let opening = worker.gates.database.pass(|| Store::open::<F>(settings));
    let Some(store) = worker.unless_stopped(opening).await else {
        return Ok(Report::default());
    };
    let store = Arc::new(store?);
    let relay = tally_app::relay(settings, &store, F::NAME, "csv-runner")?;
    let run = Run::new(arguments, settings, worker, screen, model, store);
    let report = run.take(inputs).await;
    if let Some(relay) = relay {
        relay.drain(settings.drain.length()).await;
    }
    Ok(report)
}

async fn open_inputs<F: Stored>(
    paths: &[PathBuf],
    settings: &Settings,
) -> Result<Vec<Input<F>>, Stop> {
    let mut inputs = Vec::with_capacity(paths.len());
    for path in paths {
        match CsvFile::open(path, &settings.csv).await {
            Err(stop) if stop.kind != StopKind::Input => return Err(stop),
            opened => inputs.push((path.clone(), opened)),
        }
    }
    Ok(inputs)
}

/// What the files of a run have in common.
struct Run<'a, F: Stored + Classified, S> {
    arguments: &'a Arguments,
    worker: &'a Worker,
    screen: &'a Screen,
    lease: Duration,
    store: Arc<S>,
    pipeline: Arc<Pipeline<F, Model, S>>,
    columns: Option<Columns>,
    totals: Totals,
    began: bool,
}

impl<'a, F: Stored + Classified, S: Sink<F> + Positions> Run<'a, F, S> {
    fn new(
        arguments: &'a Arguments,
        settings: &Settings,
        worker: &'a Worker,
        screen: &'a Screen,
        model: Model,
        store: Arc<S>,
    ) -> Self {
        let pipeline = Pipeline::new(
            Arc::new(model),
            Arc::clone(&store),
            worker.gates.clone(),
            Arc::clone(&worker.status),
            tally_app::pipeline(settings, CsvMask::new::<F>),
        );
        Self {
            arguments,
            worker,
            screen,
            lease: settings.lease.length(),
            store,
            pipeline: Arc::new(pipeline),
            columns: arguments.dry_run.then(Columns::default),
            totals: Totals::default(),
            began: false,
        }
    }

    async fn take(mut self, inputs: Vec<Input<F>>) -> Report {
        let started = Instant::now();
        let mut files = Vec::with_capacity(inputs.len());
        let mut first_stop = None;
        for (path, input) in inputs {
            let mut report = FileReport::new(&path);
            let before = self.totals.read;
            let result = match input {
                Ok(file) => self.take_file(&path, &file, &mut report).await,
                Err(stop) => Err(stop),
            };
            report.read = self.totals.read - before;
            files.push(report);
            if let Err(stop) = result {
                self.screen.close();
                tracing::error!("{stop}");
                let others_go_on = stop.kind == StopKind::Input;
                if !others_go_on || first_stop.is_none() {
                    first_stop = Some(stop.kind);
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
            stop: first_stop,
        }
    }

    async fn take_file(
        &mut self,
        path: &Path,
        file: &CsvFile<F>,
        report: &mut FileReport,
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
        let stream =
            Stream { flow: F::NAME, name: format!("{FILE}{fingerprint}"), partition: 0, label };
        report.fingerprint = Some(fingerprint);

        let Worker { name, gates, shutdown, status, .. } = self.worker;
        let begin = Begin { at: 0, again: self.arguments.again };
        let stop = &shutdown.token;
        let owning = own(&*self.store, &gates.database, &stream, name, self.lease, begin, stop);
        match self.worker.unless_stopped(owning).await.unwrap_or(Ok(Ownership::Interrupted))? {
            Ownership::Interrupted => Ok(()),
            Ownership::Finished { at, records } => {
                let at = at.format("%Y-%m-%d %H:%M:%S");
                tracing::info!(
                    "{} was finished at {at} UTC with {records} rows; --again reads it once more",
                    stream.label
                );
                report.state = State::AlreadyDone;
                self.began = true;
                Ok(())
            }
            Ownership::Owned(position) => {
                status.set_in_progress(true);
                let lease = position.lease;
                report.resumed_at = Some(position.next).filter(|&row| row > 0);
                let ended = self.take_rows(file, stream, position).await;
                report.note(file.amounts(), file.blank_rows());
                if let Ok(Ended::AtEnd { next }) = ended {
                    let finishing = gates.database.pass(|| self.store.finish(&lease, next));
                    if let Some(finished) = self.worker.unless_stopped(finishing).await {
                        finished?;
                        report.state = State::Done;
                    }
                } else {
                    let _expires_by_itself =
                        tokio::time::timeout(GRACE, self.store.release(&lease)).await;
                }
                status.set_in_progress(false);
                ended.map(|_| ())
            }
        }
    }

    /// From the partition's position to the end of the file.
    async fn take_rows(
        &mut self,
        file: &CsvFile<F>,
        stream: Stream,
        position: Position,
    ) -> Result<Ended, Stop> {
        if position.next > 0 {
            tracing::info!("{}: going on at row {}", stream.label, position.next);
        }
        self.screen.begin(&stream.label, file.size(), byte_of(&position.cursor).unwrap_or(0));
        let reader = file.read_from(position.next, &position.cursor).await?;
        let source = Noting { source: reader, columns: self.columns.clone() };
        let mut heartbeat = Heartbeat::start(Arc::clone(&self.store), position.lease);
        let partition =
            Partition { stream: Arc::new(stream), worker: Arc::clone(&self.worker.name), position };
        self.began = true;

        let stop = &self.worker.shutdown.token;
        let screen = self.screen;
        let show = |totals: &Totals, commit: &Commit<F>| {
            screen.advance(byte_of(&commit.cursor).unwrap_or(0), totals);
        };
        tokio::select! {
            ended = self.pipeline.run(source, partition, stop, &mut self.totals, show) => ended,
            stop = heartbeat.lost() => Err(stop),
        }
    }
}
