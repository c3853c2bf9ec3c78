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
    pub async fn decode(&self, flow: &dyn Flow, stored: &Stored) -> Result<Reread, Fault> {
        if is_of_file(stored) {
            return Ok(tally_adapter_csv::decode(&stored.raw, flow.columns()).await);
        }
        let payload = stored.raw.payload.as_ref();
        let fields = self.topics.decode(payload, flow.columns()).await?;
        Ok(fields.map(|fields| (fields, Notation::Plain)))
    }

    /// What the mask leaves of it, if there is one by now.
    pub fn mask(&self, flow: &dyn Flow, stored: &Stored) -> Option<Raw> {
        if self.masked.is_empty() {
            return None;
        }
        Some(if is_of_file(stored) {
            CsvMask::new(&self.masked, flow.columns()).mask(&stored.raw)
        } else {
            WireMask::new(&self.masked, flow.columns(), self.registry.clone()).mask(&stored.raw)
        })
    }
}

fn is_of_file(stored: &Stored) -> bool {
    stored.listed.place.stream.starts_with(FILE)
}
