//! Corrected records.

use std::sync::Arc;

use tally_domain::json_object::unframed;
use tally_domain::{Flow, JsonObject};
use tally_ports::position::FILE;
use tally_ports::publish::REPAIRED_FROM;
use tally_ports::{OutgoingRecord, StoredDeadLetter};
use uuid::Uuid;

/// How records are corrected.
#[derive(Clone, Debug)]
pub enum Correction {
    /// By their flow's rule.
    Rule,
    /// By hand: at each path, whose points lead into inner objects, this JSON.
    Values(Vec<(String, String)>),
}

impl Correction {
    /// The corrected record for the topic that it came from, or why there is none.
    pub(super) fn record(
        &self,
        flow: &dyn Flow,
        StoredDeadLetter { summary, raw }: &StoredDeadLetter,
    ) -> Result<OutgoingRecord, String> {
        if summary.identity.stream.starts_with(FILE) {
            return Err(
                "it came from a file, which nothing is put back into: correct the file".to_owned()
            );
        }
        let topic = summary.label.as_deref().ok_or("the topic that it came from is not known")?;
        let first = raw.header(REPAIRED_FROM).and_then(|id| Uuid::try_parse_ascii(id).ok());
        if let Some(first) = first {
            return Err(format!("it was repaired before, as {first}, and has failed again"));
        }
        let payload = raw.payload.as_ref().ok_or("it has no value")?;
        let value = match self {
            Self::Rule => flow.repair(raw).ok_or_else(|| {
                let flow = flow.name();
                format!("the rule of {flow} finds nothing to correct: --set and --set-json do it by hand")
            })?,
            Self::Values(values) => {
                let (frame, _) = unframed(payload);
                let mut object = object(payload).ok_or("its value is not a JSON object")?;
                for (path, json) in values {
                    if !object.set_at(path, json) {
                        return Err(format!("nothing in it leads to {path}"));
                    }
                }
                object.framed(frame)
            }
        };
        if object(&value) == object(payload) {
            return Err("the correction changes nothing".to_owned());
        }
        let headers = raw.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str().into(), value.clone())).collect();
        let (topic, key) = (Arc::from(topic), raw.key.clone());
        Ok(OutgoingRecord { topic, key, value: Some(value), headers })
    }
}

fn object(payload: &[u8]) -> Option<JsonObject<'_>> {
    let (_, text) = unframed(payload);
    JsonObject::parse(str::from_utf8(text).ok()?)
}
