//! The stages that records of one flow are replayed or repaired through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tally_adapter_csv::Overrides;
use tally_adapter_kafka::wire::{self, Registry, View};
use tally_domain::{Flow, Incoming, Reason};
use tally_pipeline::{Outputs, Replayer};
use tally_ports::publish::Outgoing;
use tally_ports::{
    Enrich, Origin, Outbox, Positions, Publish, Raw, Replay, StopKind, StoredDeadLetter, Topics,
};
use tokio::sync::Mutex;

use super::decode::Decoder;
use super::repair::{Corrected, Correction};
use super::{Ended, wait};
use crate::Process;
use crate::unowned::publish_unowned;

/// How stored records are read.
pub struct Reading<'a> {
    /// Those of topics.
    pub topics: wire::Decoder,
    /// Those of files: what replaces the settings that they were read with.
    pub overrides: Overrides,
    /// The fields of these names are not kept of records that fail again.
    pub masked: &'a [String],
    /// By which records of topics are masked.
    pub registry: Option<Registry>,
}

/// The stages of one flow.
pub struct Stages<E, P, S> {
    pub(super) flow: Arc<dyn Flow>,
    pub(super) decoder: Decoder,
    pub(super) replayer: Replayer<E, P, S>,
    outputs: Option<Outputs<P>>,
    store: Arc<S>,
    pub(super) batch_size: usize,
    /// Shows what is corrected.
    view: View,
    /// Where records are repaired instead of replayed.
    pub(super) correction: Option<Correction>,
    /// The limits of the topics that they go back into.
    limits: Mutex<BTreeMap<Arc<str>, Result<usize, String>>>,
}

impl<E: Enrich, P: Publish, S: Replay + Outbox + Positions> Stages<E, P, S> {
    /// Takes records of `flow` through `model`, if it has one, into `store`, at most `batch_size` of them to the model at once,
    /// and what they publish to `outputs`.
    pub fn new(
        process: &Process,
        flow: &Arc<dyn Flow>,
        model: Option<E>,
        outputs: Option<Outputs<P>>,
        store: Arc<S>,
        reading: Reading<'_>,
        batch_size: usize,
    ) -> Self {
        let view = View::new(&[], &[], reading.registry.clone());
        let (decoder, gates) = (Decoder::new(flow, reading), process.gates.clone());
        let (model, of_replayer) = (model.map(Arc::new), Arc::clone(&store));
        let replayer = Replayer::new(Arc::clone(flow), model, outputs.clone(), of_replayer, gates);
        Self {
            flow: Arc::clone(flow),
            decoder,
            replayer,
            outputs,
            store,
            batch_size,
            view,
            correction: None,
            limits: Mutex::default(),
        }
    }

    /// The same, where records are corrected so and put back into their topics.
    #[must_use]
    pub fn repairing(self, correction: Correction) -> Self {
        Self { correction: Some(correction), ..self }
    }

    /// The corrected record, or why the dead letter cannot be repaired.
    pub(super) async fn repair(
        &self,
        process: &Process,
        stored: &StoredDeadLetter,
        correction: &Correction,
    ) -> Result<Result<Corrected, String>, Ended> {
        let (flow, decoder) = (&*self.flow, &self.decoder);
        let correcting = || correction.correct(flow, decoder, &self.view, stored);
        let corrected = match wait(process, process.gates.source.pass(correcting)).await? {
            Ok(corrected) => corrected,
            Err(why) => return Ok(Err(why)),
        };
        let Corrected { record, .. } = &corrected;
        let identity = &stored.summary.identity;
        let raw = Raw { payload: record.value.clone(), ..stored.raw.clone() };
        let stored = StoredDeadLetter { summary: stored.summary.clone(), raw };
        let decoding = process.gates.source.pass(|| decoder.decode(&stored));
        let read = wait(process, decoding).await?.and_then(|(fields, notation)| {
            flow.read(Incoming { fields, notation, raw: &stored.raw })
        });
        let refused = match read {
            Ok(read) => wait(process, self.replayer.refusal(identity, read)).await?,
            Err(reason) => Some(reason),
        };
        if let Some(Reason { code, message, .. }) = refused {
            return Ok(Err(format!("it would not be valid: {code}: {message}")));
        }
        let limit = match self.limit_of(process, &record.topic).await? {
            Ok(limit) => limit,
            Err(why) => return Ok(Err(why)),
        };
        let origin = Origin {
            flow: &*self.flow,
            id: 0,
            stream: &identity.stream,
            partition: identity.partition,
            log: i64::MAX,
        };
        let topics = Topics::default();
        let whole = Outgoing::new(origin, &topics, true).repaired(record, identity);
        if whole.size() > limit {
            return Ok(Err(format!("it would be larger than {} takes", record.topic)));
        }
        Ok(Ok(corrected))
    }

    /// The greatest size of a record that the topic takes, or why it takes none: it does not exist. Looked up once.
    async fn limit_of(
        &self,
        process: &Process,
        topic: &Arc<str>,
    ) -> Result<Result<usize, String>, Ended> {
        let Some(outputs) = &self.outputs else {
            return Ok(Err("this program does not publish".to_owned()));
        };
        let mut limits = self.limits.lock().await;
        if let Some(known) = limits.get(topic) {
            return Ok(known.clone());
        }
        let asking = outputs.limit_of(&process.gates.publish, topic);
        let limit = match wait(process, asking).await {
            Err(Ended::Stopped(stop)) if stop.kind == StopKind::Setting => Err(stop.message),
            limit => Ok(limit?),
        };
        limits.insert(Arc::clone(topic), limit.clone());
        Ok(limit)
    }

    pub(super) async fn publish(&self, process: &Process, duration: Duration) -> Result<(), Ended> {
        let Some(outputs) = &self.outputs else { return Ok(()) };
        let name = self.flow.name();
        wait(process, publish_unowned(process, name, &self.store, outputs, duration)).await
    }
}
