//! `replay`: stored records through all stages again.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_http_ml::Model;
use tally_app::{Flows, kafka};
use tally_ports::{KnownFlow, LoggedAct, State};
use tally_runs::replay::{self, Reading, Stages};

use crate::act::{begin, require};
use crate::arguments::{Arguments, Output, Rate, Replay};
use crate::console::{Console, Ended, print, store};
use crate::{json, layers, report};

/// Replays what `arguments` choose, each flow with its own settings.
///
/// # Errors
/// When there are dead letters of a flow that this program does not know; then nothing is changed.
pub async fn run(
    arguments: &Replay,
    all: &Arguments,
    flows: &Flows,
    console: &Console,
) -> Result<(), Ended> {
    let (which, process) = (&arguments.which, &console.worker.process);
    require(which);
    console.check_ids(&which.ids).await?;
    // Ids are reported in whatever state they are; a filter only matches open ones.
    let state = which.ids.is_empty().then_some(State::Open);
    let mut filter = which.filters.filter(&which.ids, state);
    let known = replay::flows(process, &*console.store, &filter, flows.all()).await?;
    let overrides = arguments.csv.overrides();
    for KnownFlow { flow, .. } in &known {
        overrides.check(flow.columns())?;
    }
    let mut stages = Vec::new();
    for KnownFlow { flow, .. } in &known {
        let settings = layers(all, flows, &**flow)?.settings;
        let store = Arc::new(store(&settings, &known, &console.worker).await?);
        let model = tally_app::model(&settings, flow)?.map(Model::of_refused);
        let registry = kafka::registry(&settings)?;
        let reading = Reading {
            topics: kafka::decoder(&settings, &**flow, registry.clone()),
            overrides: overrides.clone(),
            masked: &settings.privacy.masked,
            registry,
        };
        let outputs = tally_app::outputs(&settings, &**flow)?;
        let batch_size = settings.batch_size;
        stages.push(Stages::new(process, flow, model, outputs, store, reading, batch_size));
    }

    if let [only] = &known[..] {
        filter.flow = Some(only.flow.name().to_owned());
    }
    let mut logged_act = begin(console, "replay", &filter, &arguments.reason);
    logged_act.act.target += &arguments.csv.shown();
    let (is_dry, output) = (arguments.dry_run, all.output);
    let of_run = replay::Settings {
        rate: arguments.rate.map(|Rate(rate)| rate),
        limit: arguments.limit,
        max_attempts: arguments.max_attempts,
        is_dry,
        lease: console.lease,
    };
    let tell = |letter: &_, outcome: &_| print(&report::show(outcome, letter, is_dry, output));
    let logged_act =
        replay::run(process, &*console.store, &stages, filter, logged_act, of_run, tell).await?;
    print(&summary(&logged_act, is_dry, output))
}

fn summary(logged_act: &LoggedAct, is_dry: bool, output: Output) -> String {
    let counts = &logged_act.act.result;
    if output == Output::Json {
        let act = (!is_dry).then_some(logged_act.id);
        return json::line(&Summary { dry_run: is_dry, act, counts });
    }
    let counts: Vec<String> = counts
        .as_object()
        .into_iter()
        .flatten()
        .map(|(what, count)| format!("{count} {}", what.replace('_', " ")))
        .collect();
    let counts = if counts.is_empty() { "nothing to replay".into() } else { counts.join(", ") };
    format!("{}{counts}\n", if is_dry { "dry run, nothing changed: " } else { "" })
}

/// The last line of JSON output.
#[derive(Serialize)]
struct Summary<'a> {
    dry_run: bool,
    /// The row of the table of acts.
    act: Option<uuid::Uuid>,
    /// By outcome.
    counts: &'a Value,
}
