//! Sends rows of files, which are read ahead, or generated records to the topic.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::CommandFactory;
use clap::error::ErrorKind;
use tally_adapter_csv::CsvFile;
use tally_adapter_kafka::wire::Encoder;
use tally_adapter_kafka::{Cluster, Sending};
use tally_app::{Settings, Worker};
use tally_domain::{Flow, Reason, Stage};
use tally_ports::{KnownFlow, Stop, StopKind};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::arguments::{Arguments, Format};
use crate::chunks::{self, Chunk, File, Input, SourceRow};
use crate::output::Output;
use crate::rate_limiter::{RateLimiter, rows_at_once};
use crate::rejects::Rejects;
use crate::summary::Summary;

/// Rows read at once.
const ROWS: usize = 10_000;
/// Chunks that wait to be sent.
const AHEAD: usize = 1;

/// Sends all rows and returns when all are acknowledged, a stop was requested, or sending failed.
pub async fn run(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
) -> (Summary, Result<(), Stop>) {
    let mut summary = Summary::new();
    let result = send_all(known, arguments, settings, worker, &mut summary).await;
    (summary, result)
}

async fn send_all(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
    summary: &mut Summary,
) -> Result<(), Stop> {
    let input = open(known, arguments, settings).await?;
    let Some(topic) = open_topic(known, arguments, settings, worker).await? else { return Ok(()) };
    // Last of all checks: creating it erases the rejected rows of an earlier run.
    let mut rejects = match (&arguments.rejects, &input) {
        (Some(path), Input::Files(files)) => {
            let files = files.iter().map(|file| &file.file);
            let inputs = arguments.files.iter().map(PathBuf::as_path).zip(files);
            Some(Rejects::create(path, inputs)?)
        }
        _ => None,
    };
    let run = Run { flow: &known.flow, arguments, settings, worker };
    let sent = run.send_input(input, topic, rejects.as_mut(), summary).await;
    let closed = rejects.map_or(Ok(()), Rejects::close);
    sent.and(closed)
}

/// The topic and the format of its records; `None` when a stop was requested before the brokers answered.
async fn open_topic(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
) -> Result<Option<(Output, Encoder)>, Stop> {
    let of_kafka = tally_app::kafka::settings(settings)?;
    let wrong = |message: String| Stop { kind: StopKind::Setting, message };
    let avro = match (arguments.format, tally_app::kafka::registry(settings)?, known.avro) {
        (Format::Json, ..) => None,
        (Format::Avro, Some(registry), Some(schema)) => Some((registry, schema)),
        (Format::Avro, None, _) => {
            let message = "--format avro needs kafka.registry_url (SCHEMA_REGISTRY_URL)";
            return Err(wrong(message.to_owned()));
        }
        (Format::Avro, _, None) => {
            let flow = known.flow.name();
            return Err(wrong(format!("the flow {flow} has no Avro schema: use --format json")));
        }
    };
    let topic = &settings.kafka.topic;
    let prefix = &settings.kafka.transactional_id_prefix;
    let id = arguments.transactional.then(|| format!("{prefix}/producer/{topic}"));
    let opening = worker.process.gates.source.pass(|| async {
        let cluster = Cluster::new(&of_kafka)?;
        let output = Output::open(&cluster, topic, id.as_deref()).await?;
        let encoder = match &avro {
            None => Encoder::json(),
            Some((registry, schema)) => Encoder::avro(registry, topic, schema).await?,
        };
        Ok((output, encoder))
    });
    worker.process.unless_stopped(opening).await.transpose()
}

/// The parts that all chunks share.
struct Run<'a> {
    flow: &'a Arc<dyn Flow>,
    arguments: &'a Arguments,
    settings: &'a Settings,
    worker: &'a Worker,
}

impl Run<'_> {
    async fn send_input(
        &self,
        input: Input,
        (output, encoder): (Output, Encoder),
        rejects: Option<&mut Rejects>,
        summary: &mut Summary,
    ) -> Result<(), Stop> {
        let Self { flow, arguments, worker, .. } = self;
        worker.process.status.set_in_progress(true);
        let rows = arguments.rate.map_or(ROWS, |rate| rows_at_once(rate).min(ROWS));
        let (sender, mut chunks) = mpsc::channel(AHEAD);
        let (flow, repeat, keeps) = (Arc::clone(flow), arguments.repeat, rejects.is_some());
        let reader = AbortOnDropHandle::new(tokio::spawn(async move {
            match input {
                Input::Files(files) => {
                    chunks::read(files, flow, encoder, rows, repeat, keeps, sender).await
                }
                Input::Generated(records) => {
                    chunks::generate(records, rows, sender).await;
                    Ok(())
                }
            }
        }));
        let mut file = OpenFile::default();
        let sent = self.send_chunks(&mut chunks, &output, rejects, summary, &mut file).await;
        if output.is_by_file() {
            // What is not committed by now is part of a file that ends here.
            summary.not_committed(file.records, "aborted");
            let aborted = worker.process.unless_stopped(output.abort()).await;
            if let Some(Err(fault)) = aborted {
                tracing::warn!("{fault}; the broker aborts what was sent of the last file");
            }
        }
        worker.process.status.set_in_progress(false);
        sent?;
        drop(chunks);
        match reader.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Returns when all chunks are acknowledged, and as far as files are transactions committed, or a stop was requested.
    async fn send_chunks(
        &self,
        chunks: &mut mpsc::Receiver<Chunk>,
        output: &Output,
        mut rejects: Option<&mut Rejects>,
        summary: &mut Summary,
        file: &mut OpenFile,
    ) -> Result<(), Stop> {
        let Self { arguments, worker, .. } = self;
        let mut rate_limiter = RateLimiter::new(arguments.rate);
        let (stop, gate) = (&worker.shutdown.token, &worker.process.gates.source);
        let mut on_its_way = None;
        loop {
            let chunk = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                chunk = chunks.recv() => chunk,
            };
            let Some(mut chunk) = chunk else { break };
            tokio::select! {
                () = rate_limiter.wait(chunk.records.len()) => {}
                () = stop.cancelled() => break,
            }
            let (path, ends_file) = (chunk.path.clone(), chunk.ends_file);
            let records = std::mem::take(&mut chunk.records);
            let sending = gate.pass(|| output.send(records.clone()));
            let Some(sending) = worker.process.unless_stopped(sending).await else { break };
            // The one before is on its way meanwhile.
            let before = on_its_way.replace((chunk, sending?));
            let last = if ends_file { on_its_way.take() } else { None };
            for sent in before.into_iter().chain(last) {
                if !self.acknowledged(sent, output, rejects.as_deref_mut(), summary, file).await? {
                    return Ok(());
                }
            }
            if ends_file && output.is_by_file() {
                self.end_file(&path, output, rejects.is_some(), summary, file).await?;
            }
        }
        if let Some(sent) = on_its_way {
            self.acknowledged(sent, output, rejects, summary, file).await?;
        }
        Ok(())
    }

    /// Counts a chunk once it is written; whether that was in time for a stop.
    async fn acknowledged(
        &self,
        (chunk, sending): (Chunk, Sending),
        output: &Output,
        rejects: Option<&mut Rejects>,
        summary: &mut Summary,
        file: &mut OpenFile,
    ) -> Result<bool, Stop> {
        let Self { settings, worker, .. } = self;
        let acknowledged = worker.process.gates.source.pass(|| sending.acknowledged());
        let Some(too_large) = worker.process.finish(acknowledged, settings.drain.length()).await
        else {
            tracing::warn!(
                "what was in flight was not acknowledged in time; it may be in the topic"
            );
            return Ok(false);
        };
        let too_large = too_large?;
        let written = chunk.rows.len() - too_large.len();
        file.records += written;
        file.refused += chunk.refused.len() + too_large.len();
        if !output.is_by_file() {
            summary.sent(written);
        }
        leave_out(chunk, &too_large, rejects, summary)?;
        Ok(true)
    }

    /// Commits a file, or aborts it where a row of it is neither sent nor kept.
    async fn end_file(
        &self,
        path: &str,
        output: &Output,
        keeps_refused: bool,
        summary: &mut Summary,
        file: &mut OpenFile,
    ) -> Result<(), Stop> {
        let Self { settings, worker, .. } = self;
        let gate = &worker.process.gates.source;
        let OpenFile { records, refused } = *file;
        if refused > 0 && !keeps_refused {
            tracing::error!(
                "{path}: not sent: {refused} of its rows cannot be sent; --rejects FILE keeps them and sends the others"
            );
            gate.pass(|| output.abort()).await?;
            summary.not_committed(records, "aborted");
            *file = OpenFile::default();
            return Ok(());
        }
        let committing = gate.pass(|| output.commit());
        let Some(committed) = worker.process.finish(committing, settings.drain.length()).await
        else {
            summary.not_committed(records, "unknown");
            *file = OpenFile::default();
            let message = format!(
                "{path}: it is not known whether it was committed: look whether its rows are in the topic"
            );
            return Err(Stop { kind: StopKind::Unavailable, message });
        };
        committed?;
        summary.sent(records);
        *file = OpenFile::default();
        Ok(())
    }
}

/// What was written of a file that is not committed yet, and how many of its rows were not.
#[derive(Clone, Copy, Debug, Default)]
struct OpenFile {
    records: usize,
    refused: usize,
}

async fn open(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
) -> Result<Input, Stop> {
    if arguments.files.is_empty() {
        let Some(generator) = known.generator else {
            let flow = known.flow.name();
            let message = format!("name the files to send: the flow {flow} has no generator");
            Arguments::command().error(ErrorKind::MissingRequiredArgument, message).exit()
        };
        let records = generator(arguments.seed, arguments.spoil);
        return Ok(Input::Generated(Box::new(records.take(arguments.count.unwrap_or(usize::MAX)))));
    }
    let mut files = Vec::with_capacity(arguments.files.len());
    for path in &arguments.files {
        let file = CsvFile::open(path, &settings.csv, known.flow.columns()).await?;
        let path = shown(path);
        if let Some(decimal) = file.amounts().explain() {
            tracing::info!("{path}: {decimal}");
        }
        files.push(File { path, file });
    }
    Ok(Input::Files(files))
}

/// Reports the rows of a chunk that were not sent, in the order of the file, and writes them to `rejects`: those that were
/// refused and those that are `too_large` for the topic.
fn leave_out(
    chunk: Chunk,
    too_large: &[usize],
    mut rejects: Option<&mut Rejects>,
    summary: &mut Summary,
) -> Result<(), Stop> {
    let Chunk { path, rows, mut refused, .. } = chunk;
    for &index in too_large {
        let message = "the record is larger than the topic takes";
        refused.push((rows[index].clone(), Reason::new(Stage::Write, "too_large", message)));
    }
    refused.sort_unstable_by_key(|(row, _)| row.row);
    for (SourceRow { row, raw }, Reason { code, message, .. }) in refused {
        summary.refused(&path, row, &code, &message);
        if let (Some(rejects), Some(raw)) = (rejects.as_deref_mut(), raw)
            && !rejects.keep(&raw)?
        {
            tracing::warn!("{path}: row {row} is longer than 1 MiB: --rejects does not keep it");
        }
    }
    Ok(())
}

fn shown(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}
