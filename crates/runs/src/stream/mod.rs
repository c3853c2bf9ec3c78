//! Runs over the partitions of a topic, shared with other processes.

mod group;
mod progress;
mod settle;
mod topic;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tally_adapter_kafka::wire::{Decoder, Registry, WireMask};
use tally_adapter_kafka::{Cluster, Gap, Start};
use tally_domain::Flow;
use tally_pipeline::{Coordinator, Ended, Outputs, Pipeline, show_outbox};
use tally_ports::{Enrich, Fault, Outbox, PositionAdmin, Positions, Publish, Sink, Stop, Workers};
use tokio_util::task::AbortOnDropHandle;

use self::group::GroupOffsets;
use self::progress::Progress;
pub use self::settle::{Settled, settle};
use self::topic::{Ends, Topic};
use crate::Process;
use crate::unowned::publish_rest;

/// How a run over a topic works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the pipeline works.
    pub pipeline: tally_pipeline::Settings,
    /// How long an owner of a partition may be silent before another takes over.
    pub lease: Duration,
    /// Which topic.
    pub topic: String,
    /// The group whose positions are kept.
    pub group: String,
    /// Where a new group begins.
    pub start: Start,
    /// Whether the run ends at the partitions' ends as they are when it begins.
    pub until_end: bool,
    /// The ranges that may be skipped, each once.
    pub accepted: Vec<Gap>,
    /// Who accepted them.
    pub who: String,
    /// Whether committed positions are reported to Kafka's consumer group, for tools that show its lag.
    pub report_offsets: bool,
}

impl Settings {
    /// The same, with the fields of these names masked in dead letters.
    #[must_use]
    pub fn masking(
        mut self,
        names: &[String],
        flow: &dyn Flow,
        registry: Option<Registry>,
    ) -> Self {
        if !names.is_empty() {
            let mask = WireMask::new(names, flow.columns(), registry);
            self.pipeline.mask = Some(Arc::new(mask));
        }
        self
    }

    /// The stream's name in the ledger: `GROUP/TOPIC`.
    pub fn stream(&self) -> String {
        stream_name(&self.group, &self.topic)
    }
}

/// `GROUP/TOPIC`.
pub fn stream_name(group: &str, topic: &str) -> String {
    format!("{group}/{topic}")
}

/// A topic that exists, how its records are read, and where the run ends, if it has an end.
pub struct ExistingTopic {
    cluster: Cluster,
    decoder: Arc<Decoder>,
    /// How many it has.
    partitions: i32,
    ends: Option<Ends>,
}

impl ExistingTopic {
    /// Looks the topic up.
    ///
    /// # Errors
    /// When the brokers are unavailable, or there is no such topic.
    pub async fn look_up(
        cluster: Cluster,
        decoder: Arc<Decoder>,
        settings: &Settings,
    ) -> Result<Self, Fault> {
        let numbers = cluster.partitions(&settings.topic).await?;
        let partitions = i32::try_from(numbers.len()).unwrap_or(i32::MAX);
        if !settings.until_end {
            return Ok(Self { cluster, decoder, partitions, ends: None });
        }
        let mut ends = Ends::new();
        for partition in numbers {
            let end = cluster.offset(&settings.topic, partition, Start::Latest).await?;
            ends.insert(partition, end);
        }
        Ok(Self { cluster, decoder, partitions, ends: Some(ends) })
    }

    /// How many partitions it has.
    pub const fn partitions(&self) -> i32 {
        self.partitions
    }
}

/// Consumes our share of the topic's partitions through `model`, if the flow has one, into `store`, and publishes to
/// `outputs`, if the flow publishes, until a stop is requested or, with [`Settings::until_end`], until the end.
///
/// # Errors
/// What ended the run early.
pub async fn run<E, P, S>(
    process: &Process,
    flow: &Arc<dyn Flow>,
    model: Option<E>,
    outputs: Option<Outputs<P>>,
    store: &Arc<S>,
    found: ExistingTopic,
    settings: Settings,
) -> Result<(), Stop>
where
    E: Enrich,
    P: Publish,
    S: Sink + Positions + Workers + PositionAdmin + Outbox,
{
    let ExistingTopic { cluster, decoder, ends, .. } = found;
    let (name, drain, stream) =
        (settings.topic.clone(), settings.pipeline.drain, settings.stream());
    let _outbox_shown = outputs.is_some().then(|| {
        let showing = show_outbox(Arc::clone(store), flow.name().to_owned());
        AbortOnDropHandle::new(tokio::spawn(showing))
    });
    let pipeline = Arc::new(Pipeline::new(
        Arc::clone(flow),
        model.map(Arc::new),
        outputs.clone(),
        Arc::clone(store),
        process.gates.clone(),
        Arc::clone(&process.status),
        settings.pipeline,
    ));
    let progress = Arc::new(Progress::new(name.clone()));
    let group_offsets = settings.report_offsets.then(|| {
        Arc::new(GroupOffsets::new(cluster.clone(), settings.group.clone(), name.clone()))
    });
    let topic = Topic {
        flow: Arc::clone(flow),
        cluster: cluster.clone(),
        decoder,
        name: name.clone(),
        start: settings.start,
        ends,
        pipeline,
        store: Arc::clone(store),
        accepted: Mutex::new(settings.accepted),
        who: settings.who,
        progress: Arc::clone(&progress),
        group_offsets: group_offsets.clone(),
        drain,
    };
    let coordinator = Coordinator {
        store: Arc::clone(store),
        partitions: Arc::new(topic),
        worker: tally_ports::Worker {
            id: Arc::clone(&process.name),
            flow: flow.name().to_owned(),
            stream,
            host: process.host.clone(),
            pid: std::process::id(),
        },
        label: name,
        lease: settings.lease,
        gates: process.gates.clone(),
        status: Arc::clone(&process.status),
    };

    let reporting =
        group_offsets.clone().map(|offsets| AbortOnDropHandle::new(tokio::spawn(offsets.report())));
    let _shown = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&progress).show(cluster)));
    process.status.set_in_progress(true);
    let mut ended = coordinator.run(&process.stop).await;
    if let (Ok(Ended::AtEnd { .. }), Some(outputs)) = (&ended, &outputs) {
        let publishing = publish_rest(process, flow.name(), store, outputs, settings.lease);
        if let Some(Err(stop)) = process.unless_stopped(publishing).await {
            ended = Err(stop);
        }
    }
    process.status.set_in_progress(false);
    drop(reporting);
    if let Some(offsets) = group_offsets {
        offsets.report_last().await;
    }
    progress.summarize();
    ended.map(|_| ())
}
