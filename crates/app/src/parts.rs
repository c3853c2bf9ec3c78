//! The parts of a pipeline, from the settings.

use std::sync::Arc;

use tally_adapter_http_ml::Model;
use tally_domain::Flow;
use tally_pipeline::Relay;
use tally_ports::{Outbox, Stop};

use crate::Settings;

/// The flow's model, if it has one.
///
/// # Errors
/// When its address is invalid.
pub fn model(settings: &Settings, flow: &Arc<dyn Flow>) -> Result<Option<Model>, Stop> {
    if flow.model().is_none() {
        return Ok(None);
    }
    let settings = tally_adapter_http_ml::Settings {
        url: settings.ml.url.expose().to_owned(),
        connect_timeout: settings.ml.connect_timeout.length(),
        answer_timeout: settings.ml.answer_timeout.length(),
    };
    Model::new(&settings, flow).map(Some)
}

/// The pipeline's settings; the source's format adds the mask.
pub fn pipeline(settings: &Settings) -> tally_pipeline::Settings {
    tally_pipeline::Settings {
        mask: None,
        batch_size: settings.batch_size,
        ahead: settings.ml.concurrency,
        drain: settings.drain.length(),
        rules: settings.quality.clone(),
        budget: settings.budget,
    }
}

/// The relay of dead letters, if there is a topic for them; `service` is the binary's name.
///
/// # Errors
/// When a setting of the topic is wrong, or this program was built without topics.
pub fn relay<S: Outbox>(
    settings: &Settings,
    store: &Arc<S>,
    flow: &dyn Flow,
    service: &'static str,
) -> Result<Option<Relay>, Stop> {
    if settings.kafka.dlq_topic.is_empty() {
        return Ok(None);
    }
    #[cfg(feature = "kafka")]
    {
        let topic = crate::kafka::DeadLetters::new(settings, service)?;
        Ok(Some(Relay::start(Arc::clone(store), topic, flow.name())))
    }
    #[cfg(not(feature = "kafka"))]
    {
        let _ = (store, flow, service);
        let message =
            "kafka.dlq_topic is set and this program was built without the feature `kafka`";
        Err(crate::settings::wrong(message))
    }
}
