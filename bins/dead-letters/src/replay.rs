//! `replay`: stored records through all stages again; `repair`: corrected and back into their topics.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_csv::Overrides;
use tally_adapter_http_ml::Model;
use tally_app::{Flows, kafka};
use tally_ports::{KnownFlow, LoggedAct, State};
use tally_runs::replay::{self, Correction, Reading, Seen, Stages};

use crate::act::{begin, require};
use crate::arguments::{Arguments, Output, Rate, Repair, Replay, Which};
use crate::console::{Console, Ended, print, store};
use crate::{diff, json, layers, report};

/// What is asked for.
pub struct Asked<'a> {
    verb: &'static str,
    which: &'a Which,
    /// How records are corrected, where they are repaired.
    correction: Option<Correction>,
    overrides: Overrides,
    settings: replay::Settings,
    reason: &'a str,
    /// What it says beside the filter, for the table of acts.
    more: String,
}

impl<'a> Asked<'a> {
    pub fn to_replay(replay: &'a Replay) -> Self {
        let Replay { which, dry_run, rate, limit, max_attempts, reason, csv } = replay;
        Self {
            verb: "replay",
            which,
            correction: None,
            overrides: csv.overrides(),
            settings: settings(*rate, *limit, *max_attempts, *dry_run),
            reason,
            more: csv.shown(),
        }
    }

    pub fn to_repair(repair: &'a Repair) -> Self {
        let Repair { which, dry_run, rate, limit, reason, .. } = repair;
        Self {
            verb: "repair",
            which,
            correction: Some(repair.correction()),
            overrides: Overrides::default(),
            settings: settings(*rate, *limit, i32::MAX, *dry_run),
            reason,
            more: repair.shown(),
        }
    }
}

fn settings(
    rate: Option<Rate>,
    limit: Option<usize>,
    max_attempts: i32,
    is_dry: bool,
) -> replay::Settings {
    let rate = rate.map(|Rate(rate)| rate);
    replay::Settings { rate, limit, max_attempts, is_dry, lease: Duration::ZERO }
}

/// Replays or repairs what is `asked` for, each flow with its own settings.
///
/// # Errors
/// When there are dead letters of a flow that this program does not know; then nothing is changed.
pub async fn run(
    asked: Asked<'_>,
    all: &Arguments,
    flows: &Flows,
    console: &Console,
) -> Result<(), Ended> {
    let Asked { verb, which, correction, overrides, settings: of_run, reason, more } = asked;
    let process = &console.worker.process;
    require(which);
    console.check_ids(&which.ids).await?;
    // Ids are reported in whatever state they are; a filter only matches open ones.
    let state = which.ids.is_empty().then_some(State::Open);
    let mut filter = which.filters.filter(&which.ids, state);
    let known = replay::flows(process, &*console.store, &filter, flows.all()).await?;
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
        let outputs = match &correction {
            None => tally_app::outputs(&settings, &**flow)?,
            Some(_) => Some(kafka::outputs(&settings, &**flow)?),
        };
        let batch_size = settings.batch_size;
        let of_flow = Stages::new(process, flow, model, outputs, store, reading, batch_size);
        stages.push(match &correction {
            None => of_flow,
            Some(correction) => of_flow.repairing(correction.clone()),
        });
    }

    if let [only] = &known[..] {
        filter.flow = Some(only.flow.name().to_owned());
    }
    let mut logged_act = begin(console, verb, &filter, reason);
    logged_act.act.target += &more;
    let (is_dry, output) = (of_run.is_dry, all.output);
    let of_run = replay::Settings { lease: console.lease, ..of_run };
    let tell = |seen: Seen<'_>| {
        print(&match seen {
            Seen::Corrected(letter, corrected) => diff::show(letter, &corrected.shown, output),
            Seen::Done(letter, outcome) => report::show(outcome, letter, is_dry, output),
        })
    };
    let logged_act =
        replay::run(process, &*console.store, &stages, filter, logged_act, of_run, tell).await?;
    print(&summary(&logged_act, verb, is_dry, output))
}

fn summary(logged_act: &LoggedAct, verb: &str, is_dry: bool, output: Output) -> String {
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
    let counts = if counts.is_empty() { format!("nothing to {verb}") } else { counts.join(", ") };
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
