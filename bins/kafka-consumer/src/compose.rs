//! The parts of the run, opened as the settings say.

use std::slice;
use std::sync::Arc;

use tally_adapter_kafka::wire::Decoder;
use tally_adapter_kafka::{Cluster, Start};
use tally_app::{Settings, Store, Worker};
use tally_ports::{KnownFlow, Stop, StopKind};
use tally_runs::retention::OldDays;
use tally_runs::stream::{self, ExistingTopic};

use crate::arguments::Arguments;
use crate::top;

/// How the topic's records are read, and how a run over all of it works.
///
/// # Errors
/// When a setting is wrong.
pub fn reading(
    known: &KnownFlow,
    settings: &Settings,
    who: String,
) -> Result<(Arc<Decoder>, stream::Settings), Stop> {
    let flow = &*known.flow;
    let start: Start =
        settings.kafka.start.parse().map_err(|error| wrong(format!("kafka.start: {error}")))?;
    let registry = tally_app::kafka::registry(settings)?;
    let decoder = Arc::new(tally_app::kafka::decoder(settings, flow, registry.clone()));
    let of_run = stream::Settings {
        pipeline: tally_app::pipeline(settings),
        lease: settings.lease.length(),
        topic: settings.kafka.topic.clone(),
        group: settings.kafka.group.clone(),
        start,
        until_end: false,
        accepted: Vec::new(),
        who,
        report_offsets: settings.kafka.report_offsets,
    };
    Ok((decoder, of_run.masking(&settings.privacy.masked, flow, registry)))
}

/// Consumes until a stop is requested, or until the end with `--until-end`, and prints the flow's tops; returns the exit
/// code.
///
/// # Errors
/// What ended the run before.
pub async fn run(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
) -> Result<u8, Stop> {
    let (flow, process) = (&known.flow, &worker.process);
    let topic = &settings.kafka.topic;
    for gap in &arguments.accept_gap {
        if gap.topic != *topic {
            return Err(wrong(format!("--accept-gap {gap} does not name the topic {topic}")));
        }
    }
    let model = tally_app::model(settings, flow)?;
    let outputs = tally_app::kafka::outputs(settings, &**flow)?;
    let of_kafka = tally_app::kafka::settings(settings)?;
    let (decoder, mut of_run) = reading(known, settings, tally_app::who(&process.host))?;
    (of_run.until_end, of_run.accepted) = (arguments.until_end, arguments.accept_gap.clone());

    let looking_up = process.gates.source.pass(|| async {
        ExistingTopic::look_up(Cluster::new(&of_kafka)?, Arc::clone(&decoder), &of_run).await
    });
    let Some(found) = process.unless_stopped(looking_up).await else { return Ok(0) };
    let found = found?;
    let looking_up = outputs.look_up(&process.gates.publish, found.partitions());
    let Some(looked_up) = process.unless_stopped(looking_up).await else { return Ok(0) };
    looked_up?;
    let opening = process.gates.database.pass(|| Store::open(settings, slice::from_ref(known)));
    let Some(store) = process.unless_stopped(opening).await else { return Ok(0) };
    let store = Arc::new(store?);
    let relay = tally_app::relay(settings, &store, &**flow, "kafka-consumer")?;
    tally_app::show_counts(flow, &store, &worker.counts);
    let who = of_run.who.clone();
    let old_days =
        settings.retention.limit().map(|kept| Arc::new(OldDays::new(flow, &store, kept, who)));
    if let Some(old_days) = &old_days {
        tokio::spawn(Arc::clone(old_days).delete_each_hour());
    }

    let running = stream::run(process, flow, model, Some(outputs), &store, found, of_run);
    let ended = Box::pin(running).await; // it is large
    if let Some(old_days) = old_days.filter(|_| arguments.until_end) {
        let _unless_stopped = process.unless_stopped(old_days.delete()).await;
    }
    let printed = top::at_end(&**flow, &store).await;
    // After a signal the next start publishes the rest.
    if let Some(relay) = relay
        && !process.stop.is_cancelled()
    {
        let _in_time = process.unless_stopped(relay.drain(settings.drain.length())).await;
    }
    ended.map(|()| printed)
}

pub fn wrong(message: impl Into<String>) -> Stop {
    Stop { kind: StopKind::Setting, message: message.into() }
}
