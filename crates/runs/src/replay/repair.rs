//! Corrected records.

use std::sync::Arc;

use tally_adapter_kafka::wire::{Value, View};
use tally_domain::Flow;
use tally_ports::position::FILE;
use tally_ports::publish::REPAIRED_FROM;
use tally_ports::{Fault, OutgoingRecord, Raw, StoredDeadLetter};
use uuid::Uuid;

use super::decode::Decoder;

/// How records are corrected.
#[derive(Clone, Debug)]
pub enum Correction {
    /// By their flow's rule.
    Rule,
    /// By hand: at each path, whose points lead into inner objects, this JSON.
    Values(Vec<(String, String)>),
}

/// A corrected record.
#[derive(Debug)]
pub struct Corrected {
    /// For the topic that it came from.
    pub record: OutgoingRecord,
    /// The value before and after, as JSON where it can be shown as JSON.
    pub shown: [Option<String>; 2],
}

impl Correction {
    /// The corrected record, or why there is none. A fault is the schema registry's.
    pub(super) async fn correct(
        &self,
        flow: &dyn Flow,
        decoder: &Decoder,
        view: &View,
        StoredDeadLetter { summary, raw }: &StoredDeadLetter,
    ) -> Result<Result<Corrected, String>, Fault> {
        let refused = |why: &str| Ok(Err(why.to_owned()));
        if summary.identity.stream.starts_with(FILE) {
            return refused(
                "it came from a file, which nothing is put back into: correct the file",
            );
        }
        let Some(topic) = summary.label.as_deref() else {
            return refused("the topic that it came from is not known");
        };
        let first = raw.header(REPAIRED_FROM).and_then(|id| Uuid::try_parse_ascii(id).ok());
        if let Some(first) = first {
            return Ok(Err(format!("it was repaired before, as {first}, and has failed again")));
        }
        let Some(payload) = &raw.payload else { return refused("it has no value") };
        let value = match self {
            Self::Rule => flow.repair(raw).ok_or_else(|| {
                let flow = flow.name();
                format!("the rule of {flow} finds nothing to correct: --set and --set-json do it by hand")
            }),
            Self::Values(values) => {
                decoder.edited(payload, values).await?.map_err(|reason| reason.message)
            }
        };
        let value = match value {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        };
        let corrected = Raw { payload: Some(value.clone()), ..Raw::default() };
        let before = Raw { payload: raw.payload.clone(), ..Raw::default() };
        let shown = [json(view, &before).await?, json(view, &corrected).await?];
        if shown[0] == shown[1] {
            return refused("the correction changes nothing");
        }
        let headers = raw.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str().into(), value.clone())).collect();
        let (topic, key) = (Arc::from(topic), raw.key.clone());
        let record = OutgoingRecord { topic, key, value: Some(value), headers };
        Ok(Ok(Corrected { record, shown }))
    }
}

async fn json(view: &View, raw: &Raw) -> Result<Option<String>, Fault> {
    Ok(match view.show(raw).await?.value {
        Some(Value::Json(json)) => Some(json),
        _ => None,
    })
}
