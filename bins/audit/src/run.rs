//! The parts of the audit, opened as the settings say.

use std::slice;
use std::sync::Arc;

use tally_adapter_kafka::Cluster;
use tally_app::{Flows, Layers, LedgerReader, Settings, kafka};
use tally_ports::{Fault, KnownFlow, Stop};
use tally_runs::audit::{self, Audited, File, Outputs, Topic};

use crate::arguments::Arguments;

/// Audits the store that the settings name.
///
/// # Errors
/// When a source or the store cannot be read, or is unavailable: an audit does not wait.
pub async fn run(
    flows: &Flows,
    arguments: &Arguments,
    layers: impl Fn(&KnownFlow) -> Result<Layers, Stop>,
) -> Result<Audited, Stop> {
    let known = flows.chosen(&arguments.flow)?;
    let settings = layers(known)?.settings;
    let meant = if arguments.flow.is_given() { slice::from_ref(known) } else { flows.all() };
    let mut of_files = Vec::with_capacity(meant.len());
    for known in meant {
        of_files.push((Arc::clone(&known.flow), layers(known)?.settings.csv));
    }
    let mut files = Vec::with_capacity(arguments.source.len());
    for path in &arguments.source {
        files.push(File::open(path, &of_files).await?);
    }
    let (mut topic, mut outputs) = (None, None);
    if arguments.topic.has_brokers() {
        let cluster = Cluster::new(&kafka::settings(&settings)?).map_err(Fault::into_stop)?;
        let delivery = settings.kafka.delivery;
        let (flow, topics) = (Arc::clone(&known.flow), settings.topics(&*known.flow));
        outputs = Outputs::new(flow, cluster.clone(), topics, delivery);
        let mut read = of_topic(known, cluster, &settings)?;
        // A flow that publishes may read files alone.
        if outputs.is_none() || arguments.topic.has_topic() {
            read.look_up().await.map_err(Fault::into_stop)?;
        }
        topic = Some(read);
    }
    let ledger =
        LedgerReader::open(&settings.database_url, flows.all()).await.map_err(Fault::into_stop)?;
    let all = flows.all().iter().map(|known| Arc::clone(&known.flow));
    audit::run(&ledger, all, files, topic, outputs).await
}

fn of_topic(known: &KnownFlow, cluster: Cluster, settings: &Settings) -> Result<Topic, Stop> {
    let flow = Arc::clone(&known.flow);
    let decoder = kafka::decoder(settings, &*flow, kafka::registry(settings)?);
    let (group, topic) = (&settings.kafka.group, &settings.kafka.topic);
    Ok(Topic::new(flow, cluster, decoder, group, topic))
}
