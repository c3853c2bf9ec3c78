//! A stored record, read again as it was where it came from.

use tally_adapter_kafka::wire;
use tally_app::Settings;
use tally_domain::{Flow, Reason};
use tally_ports::{Fault, Stop, Stored};

/// The formats of all sources.
pub struct Decoder {
    topics: wire::Decoder,
}

impl Decoder {
    /// # Errors
    /// When a setting of the schema registry is wrong.
    pub fn new(settings: &Settings) -> Result<Self, Stop> {
        let registry = tally_app::kafka::registry(settings)?;
        Ok(Self { topics: wire::Decoder::new(registry) })
    }

    /// The record, or why it is none; a fault is the schema registry's.
    pub async fn decode<F: Flow>(&self, stored: &Stored) -> Result<Result<F::Wire, Reason>, Fault> {
        if stored.listed.place.stream.starts_with("file/") {
            return Ok(tally_adapter_csv::decode::<F>(&stored.raw).await);
        }
        self.topics.decode::<F>(stored.raw.payload.as_deref()).await
    }
}
