//! The run: our share of the topic's partitions through the pipeline into the store.

use std::slice;
use std::sync::{Arc, Mutex};

use tally_adapter_kafka::wire::{Decoder, WireMask};
use tally_adapter_kafka::{Cluster, Start};
use tally_app::{Settings, Store, Worker};
use tally_pipeline::{Crew, Pipeline};
use tally_ports::{KnownFlow, Stop, StopKind};
use tokio_util::task::AbortOnDropHandle;

use crate::arguments::Arguments;
use crate::progress::Progress;
use crate::topic::{Ends, Topic};

/// Consumes until a stop is asked for, or until the end as `arguments` say.
///
/// # Errors
/// What ended the run before.
pub async fn run(
    known: &KnownFlow,
    arguments: &Arguments,
    settings: &Settings,
    worker: &Worker,
) -> Result<(), Stop> {
    let start: Start =
        settings.kafka.start.parse().map_err(|error| wrong(format!("kafka.start: {error}")))?;
    let name = settings.kafka.topic.clone();
    for gap in &arguments.accept_gap {
        if gap.topic != name {
            return Err(wrong(format!("--accept-gap {gap} is not of the topic {name}")));
        }
    }
    let flow = &known.flow;
    let model = tally_app::model(settings, flow)?.map(Arc::new);
    let of_kafka = tally_app::kafka::settings(settings)?;
    let registry = tally_app::kafka::registry(settings)?;
    let decoder = Arc::new(Decoder::new(registry.clone()));

    let gates = &worker.gates;
    let looking_up = gates.source.pass(|| async {
        let cluster = Cluster::connect(&of_kafka).await?;
        let ends = ends(&cluster, &name, arguments.until_end).await?;
        Ok((cluster, ends))
    });
    let Some(found) = worker.unless_stopped(looking_up).await else { return Ok(()) };
    let (cluster, ends) = found?;
    let opening = gates.database.pass(|| Store::open(settings, slice::from_ref(known)));
    let Some(store) = worker.unless_stopped(opening).await else { return Ok(()) };
    let store = Arc::new(store?);
    let relay = tally_app::relay(settings, &store, &**flow, "kafka-consumer")?;

    let pipeline = Arc::new(Pipeline::new(
        Arc::clone(flow),
        model,
        Arc::clone(&store),
        gates.clone(),
        Arc::clone(&worker.status),
        tally_app::pipeline(settings, |fields| WireMask::new(fields, flow.columns(), registry)),
    ));
    let progress = Arc::new(Progress::new(name.clone()));
    let topic = Topic {
        flow: Arc::clone(flow),
        cluster: cluster.clone(),
        decoder,
        name: name.clone(),
        start,
        ends,
        pipeline,
        store: Arc::clone(&store),
        accepted: Mutex::new(arguments.accept_gap.clone()),
        who: tally_app::who(&worker.host),
        progress: Arc::clone(&progress),
        drain: settings.drain.length(),
    };
    let crew = Crew {
        store,
        partitions: Arc::new(topic),
        worker: tally_ports::Worker {
            id: Arc::clone(&worker.name),
            flow: flow.name().to_owned(),
            stream: stream_name(settings),
            host: worker.host.clone(),
            pid: std::process::id(),
        },
        label: name,
        lease: settings.lease.length(),
        gates: gates.clone(),
        status: Arc::clone(&worker.status),
    };

    let _shown = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&progress).show(cluster)));
    worker.status.set_in_progress(true);
    let ended = crew.run(&worker.shutdown.token).await;
    worker.status.set_in_progress(false);
    progress.summarize();
    // After a signal what is left is the next start's.
    if let Some(relay) = relay
        && !worker.shutdown.token.is_cancelled()
    {
        let _in_time = worker.unless_stopped(relay.drain(settings.drain.length())).await;
    }
    ended.map(|_| ())
}

/// `GROUP/TOPIC`.
pub fn stream_name(settings: &Settings) -> String {
    format!("{}/{}", settings.kafka.group, settings.kafka.topic)
}

/// The partitions' ends as they are now, if the run is to end there. Fails for a topic that does not exist.
async fn ends(
    cluster: &Cluster,
    topic: &str,
    until_end: bool,
) -> Result<Option<Ends>, tally_ports::Fault> {
    let partitions = cluster.partitions(topic).await?;
    if !until_end {
        return Ok(None);
    }
    let mut ends = Ends::new();
    for partition in partitions {
        ends.insert(partition, cluster.offset(topic, partition, Start::Latest).await?);
    }
    Ok(Some(ends))
}

pub fn wrong(message: impl Into<String>) -> Stop {
    Stop { kind: StopKind::Setting, message: message.into() }
}
