//! A stored record, read again as it was where it came from.

use tally_app::Settings;
use tally_domain::{Flow, Reason};
use tally_ports::{Fault, Stop, Stored};

/// The formats of all sources.
pub struct Decoder {
    #[cfg(feature = "kafka")]
    topics: tally_adapter_kafka::wire::Decoder,
}

impl Decoder {
    /// # Errors
    /// When a setting of the schema registry is wrong.
    #[cfg(feature = "kafka")]
    pub fn new(settings: &Settings) -> Result<Self, Stop> {
        let registry = tally_app::kafka::registry(settings)?;
        Ok(Self { topics: tally_adapter_kafka::wire::Decoder::new(registry) })
    }

    /// Of files only.
    #[cfg(not(feature = "kafka"))]
    #[expect(clippy::unnecessary_wraps, reason = "as with topics")]
    pub fn new(_: &Settings) -> Result<Self, Stop> {
        Ok(Self {})
    }

    /// The record, or why it is none; a fault is the schema registry's.
    pub async fn decode<F: Flow>(&self, stored: &Stored) -> Result<Result<F::Wire, Reason>, Fault> {
        if stored.listed.place.stream.starts_with("file/") {
            return Ok(tally_adapter_csv::decode::<F>(&stored.raw).await);
        }
        self.decode_of_topic::<F>(stored).await
    }

    #[cfg(feature = "kafka")]
    async fn decode_of_topic<F: Flow>(
        &self,
        stored: &Stored,
    ) -> Result<Result<F::Wire, Reason>, Fault> {
        self.topics.decode::<F>(stored.raw.payload.as_deref()).await
    }

    #[cfg(not(feature = "kafka"))]
    #[expect(clippy::unused_async, reason = "as with topics")]
    async fn decode_of_topic<F: Flow>(&self, _: &Stored) -> Result<Result<F::Wire, Reason>, Fault> {
        let message = "records of topics need a program built with the feature `kafka`";
        Err(Fault::stop(tally_ports::StopKind::Setting, message))
    }
}
