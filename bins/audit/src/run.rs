//! The parts of the audit, opened as the settings say.

use std::slice;
use std::sync::Arc;

use tally_adapter_kafka::Cluster;
use tally_app::{Flows, Layers, LedgerReader, Settings, kafka};
use tally_ports::{Fault, KnownFlow, Stop};
use tally_runs::audit::{self, Audited, File, Topic};

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
    let topic =
        if arguments.topic.has_brokers() { Some(topic(known, &settings).await?) } else { None };
    let ledger =
        LedgerReader::open(&settings.database_url, flows.all()).await.map_err(Fault::into_stop)?;
    let all = flows.all().iter().map(|known| Arc::clone(&known.flow));
    audit::run(&ledger, all, files, topic).await
}

async fn topic(known: &KnownFlow, settings: &Settings) -> Result<Topic, Stop> {
    let of_kafka = kafka::settings(settings)?;
    let cluster = Cluster::new(&of_kafka).map_err(Fault::into_stop)?;
    let flow = Arc::clone(&known.flow);
    let decoder = kafka::decoder(settings, &*flow, kafka::registry(settings)?);
    let looking_up =
        Topic::look_up(flow, cluster, decoder, &settings.kafka.group, &settings.kafka.topic);
    looking_up.await.map_err(Fault::into_stop)
}
