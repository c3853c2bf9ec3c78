//! The parts of a pipeline, from the settings.

use std::sync::Arc;

use tally_adapter_http_ml::Model;
use tally_domain::Flow;
use tally_pipeline::{Outputs, Relay};
use tally_ports::{DeadLetterRelay, Stop};

use crate::Settings;
use crate::settings::{Ml, wrong};

/// The flow's model, if it has one.
///
/// # Errors
/// When its address is invalid.
pub fn model(settings: &Settings, flow: &Arc<dyn Flow>) -> Result<Option<Model>, Stop> {
    if flow.model().is_none() {
        return Ok(None);
    }
    let Ml { url, headers, connect_timeout, answer_timeout, .. } = &settings.ml;
    let settings = tally_adapter_http_ml::Settings {
        url: url.expose().to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
        bearer_token: bearer_token(&settings.ml)?,
        connect_timeout: connect_timeout.length(),
        answer_timeout: answer_timeout.length(),
        request_size: settings.ml.request_size,
        max_requests_per_second: settings.ml.max_requests_per_second,
        isolate_errors: settings.ml.isolate_errors,
    };
    Model::new(&settings, flow).map(Some)
}

/// The token, or the one in its file.
fn bearer_token(ml: &Ml) -> Result<String, Stop> {
    let (token, path) = (ml.bearer_token.expose(), &ml.bearer_token_file);
    if path.is_empty() {
        return Ok(token.to_owned());
    }
    if !token.is_empty() {
        let message =
            "ml.bearer_token and ml.bearer_token_file are both set: leave one of them out";
        return Err(wrong(message));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("cannot read ml.bearer_token_file {path}: {error}")))?;
    match text.trim() {
        "" => Err(wrong(format!("ml.bearer_token_file {path} is empty"))),
        token => Ok(token.to_owned()),
    }
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
pub fn relay<S: DeadLetterRelay>(
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
        Err(wrong(message))
    }
}

/// Publishes to topics.
#[cfg(feature = "kafka")]
pub type Publisher = tally_adapter_kafka::OutputTopics;
/// There is none: this program was built without topics.
#[cfg(not(feature = "kafka"))]
pub type Publisher = std::convert::Infallible;

/// Where the flow publishes to, if it does.
///
/// # Errors
/// When a setting of the topics is wrong, or this program was built without topics.
pub fn outputs(settings: &Settings, flow: &dyn Flow) -> Result<Option<Outputs<Publisher>>, Stop> {
    if flow.outputs().is_empty() {
        return Ok(None);
    }
    #[cfg(feature = "kafka")]
    {
        crate::kafka::outputs(settings, flow).map(Some)
    }
    #[cfg(not(feature = "kafka"))]
    {
        let _ = settings;
        let name = flow.name();
        Err(wrong(format!(
            "the flow {name} publishes to topics and this program was built without the feature `kafka`"
        )))
    }
}
