//! The parts of the run, opened as the settings say.

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use tally_adapter_csv::{CsvFile, Folder};
use tally_app::{Settings, Store, Watch, Worker};
use tally_domain::Flow;
use tally_ports::{KnownFlow, Stop, StopKind};
use tally_runs::Files;
use tally_runs::files::{self, Input, NullStore, Report, Watching};

use crate::arguments::Arguments;
use crate::screen::Screen;

/// Takes the files, in order, into the store. A file that cannot be read is reported and the rest continue.
///
/// # Errors
/// When nothing could begin: a setting is wrong, or the store stayed unavailable.
pub async fn run(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
    screen: &Screen,
) -> Result<Report, Stop> {
    let (flow, process) = (Arc::clone(&known.flow), worker.process.clone());
    let model = tally_app::model(settings, &flow)?;
    let outputs = tally_app::outputs(settings, &*flow)?;
    let of_run = files::Settings {
        pipeline: tally_app::pipeline(settings),
        lease: settings.lease.length(),
        again: arguments.again,
        profiles: arguments.dry_run,
        is_dry: arguments.dry_run,
    };
    let of_run = of_run.masking(&settings.privacy.masked, &*flow);

    let input = match &arguments.watch {
        Some(place) => watched(place).await?,
        None => Inputs::Files(open_inputs(&arguments.files, settings, &*flow).await?),
    };
    let all_failed = |files: &[Input]| files.iter().all(|(_, file)| file.is_err());
    let input = match input {
        Inputs::Files(inputs) if arguments.dry_run || all_failed(&inputs) => {
            let store = Arc::new(NullStore::default());
            let files = Files::new(process, flow, model, store, of_run);
            return Ok(Box::pin(files.take(inputs, screen)).await); // it is large
        }
        input => input,
    };
    if let Some(outputs) = &outputs {
        let looking_up = outputs.look_up(&process.gates.publish, 1);
        let Some(found) = process.unless_stopped(looking_up).await else {
            return Ok(Report::default());
        };
        found?;
    }
    let opening = process.gates.database.pass(|| Store::open(settings, slice::from_ref(known)));
    let Some(store) = process.unless_stopped(opening).await else {
        return Ok(Report::default());
    };
    let store = Arc::new(store?);
    let relay = tally_app::relay(settings, &store, &*flow, "csv-runner")?;
    let files = Files::publishing(process, flow, model, outputs, store, of_run);
    let report = match input {
        Inputs::Files(inputs) => Box::pin(files.take(inputs, screen)).await, // it is large
        Inputs::Folder(folder) => {
            Box::pin(files.watch(&folder, &watching(arguments, settings), screen)).await
        }
        #[cfg(feature = "s3")]
        Inputs::Bucket(bucket) => {
            Box::pin(files.watch(&bucket, &watching(arguments, settings), screen)).await
        }
    };
    if let Some(relay) = relay {
        relay.drain(settings.drain.length()).await;
    }
    Ok(report)
}

/// What is read.
enum Inputs {
    Files(Vec<Input>),
    Folder(Folder),
    #[cfg(feature = "s3")]
    Bucket(tally_adapter_s3::Bucket),
}

/// The place that is watched, which can be looked at.
#[cfg_attr(not(feature = "s3"), expect(clippy::unused_async, reason = "a bucket is asked"))]
async fn watched(place: &str) -> Result<Inputs, Stop> {
    let of_input = |message| Stop { kind: StopKind::Input, message };
    #[cfg(feature = "s3")]
    if let Some(bucket) = tally_adapter_s3::Bucket::open(place).await {
        return bucket.map(Inputs::Bucket).map_err(of_input);
    }
    #[cfg(not(feature = "s3"))]
    if place.starts_with("s3://") {
        let message = "this program was built without the feature `s3`".to_owned();
        return Err(Stop { kind: StopKind::Setting, message });
    }
    Folder::open(Path::new(place)).map(Inputs::Folder).map_err(of_input)
}

fn watching(arguments: &Arguments, settings: &Settings) -> Watching {
    let Watch { settle, poll, retry, done_marker } = settings.watch;
    Watching {
        pattern: arguments.pattern.clone(),
        settle: settle.length(),
        poll: poll.length(),
        retry: retry.length(),
        done_marker,
        expect_by: arguments.expect_by,
        csv: settings.csv.clone(),
    }
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
