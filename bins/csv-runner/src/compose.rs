//! The parts of the run, opened as the settings say.

use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use tally_adapter_csv::CsvFile;
use tally_app::{Settings, Store, Worker};
use tally_domain::Flow;
use tally_ports::{KnownFlow, Stop, StopKind};
use tally_runs::Files;
use tally_runs::files::{self, Input, NullStore, Report};

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
    let inputs = open_inputs(&arguments.files, settings, &*flow).await?;
    let of_run = files::Settings {
        pipeline: tally_app::pipeline(settings),
        lease: settings.lease.length(),
        again: arguments.again,
        profiles: arguments.dry_run,
        is_dry: arguments.dry_run,
    };
    let of_run = of_run.masking(&settings.privacy.masked, &*flow);

    let nothing_to_write = arguments.dry_run || inputs.iter().all(|(_, file)| file.is_err());
    if nothing_to_write {
        let store = Arc::new(NullStore::default());
        let files = Files::new(process, flow, model, store, of_run);
        return Ok(Box::pin(files.take(inputs, screen)).await); // it is large
    }
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
    let report = Box::pin(files.take(inputs, screen)).await; // it is large
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
