//! A stored record, read again as it was where it came from.

use tally_adapter_csv::CsvMask;
use tally_adapter_kafka::wire::{self, WireMask};
use tally_app::Settings;
use tally_domain::Flow;
use tally_domain::amount::Notation;
use tally_ports::position::FILE;
use tally_ports::{Fault, Mask, Raw, Reread, Stop, Stored};

/// The formats of all sources, and what must not be kept of them.
pub struct Decoder {
    topics: wire::Decoder,
    registry: Option<wire::Registry>,
    masked: Vec<String>,
}

impl Decoder {
    /// # Errors
    /// When a setting of the schema registry is wrong.
    pub fn new(settings: &Settings) -> Result<Self, Stop> {
        let registry = tally_app::kafka::registry(settings)?;
        let topics = wire::Decoder::new(registry.clone());
        Ok(Self { topics, registry, masked: settings.privacy.masked.clone() })
    }

    /// The record and how amounts are written in it, or why it is none; a fault is the schema registry's.
    pub async fn decode<F: Flow>(&self, stored: &Stored) -> Result<Reread<F>, Fault> {
        if is_of_file(stored) {
            return Ok(tally_adapter_csv::decode::<F>(&stored.raw).await);
        }
        let wire = self.topics.decode::<F>(stored.raw.payload.as_deref()).await?;
        Ok(wire.map(|wire| (wire, Notation::Plain)))
    }

    /// What the mask leaves of it, if there is one by now.
    pub fn mask<F: Flow>(&self, stored: &Stored) -> Option<Raw> {
        if self.masked.is_empty() {
            return None;
        }
        Some(if is_of_file(stored) {
            CsvMask::new::<F>(&self.masked).mask(&stored.raw)
        } else {
            WireMask::new::<F>(&self.masked, self.registry.clone()).mask(&stored.raw)
        })
    }
}

fn is_of_file(stored: &Stored) -> bool {
    stored.listed.place.stream.starts_with(FILE)
}
