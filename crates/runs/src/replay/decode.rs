//! Decodes a stored record as its source does.

use std::sync::Arc;

use bytes::Bytes;
use tally_adapter_csv::{CsvMask, Overrides};
use tally_adapter_kafka::wire::{self, WireMask};
use tally_domain::amount::Notation;
use tally_domain::{Flow, Reason};
use tally_ports::position::FILE;
use tally_ports::{DecodedRecord, Fault, Mask, Raw, StoredDeadLetter};

use super::stages::Reading;

/// The formats of all sources of one flow, and the masks of its fields.
pub(super) struct Decoder {
    flow: Arc<dyn Flow>,
    topics: wire::Decoder,
    of_file: CsvMask,
    of_topic: WireMask,
    has_mask: bool,
    overrides: Overrides,
}

impl Decoder {
    pub(super) fn new(
        flow: &Arc<dyn Flow>,
        Reading { topics, registry, masked, overrides }: Reading<'_>,
    ) -> Self {
        let flow = Arc::clone(flow);
        Self {
            topics,
            of_file: CsvMask::new(masked, flow.columns()),
            of_topic: WireMask::new(masked, flow.columns(), registry),
            has_mask: !masked.is_empty(),
            overrides,
            flow,
        }
    }

    /// The record and how amounts are written in it, or why it cannot be decoded; a fault is the schema registry's.
    pub(super) async fn decode(&self, stored: &StoredDeadLetter) -> Result<DecodedRecord, Fault> {
        if is_of_file(stored) {
            let (raw, columns) = (&stored.raw, self.flow.columns());
            return Ok(tally_adapter_csv::decode(raw, columns, &self.overrides).await);
        }
        let fields = self.topics.decode(stored.raw.payload.as_ref()).await?;
        Ok(fields.map(|fields| (fields, Notation::Plain)))
    }

    /// The value of a topic's record with each JSON at its path, or why it cannot be changed so.
    pub(super) async fn edited(
        &self,
        payload: &Bytes,
        values: &[(String, String)],
    ) -> Result<Result<Bytes, Reason>, Fault> {
        self.topics.edited(payload, values).await
    }

    /// The masked record, if a mask is set.
    pub(super) fn mask(&self, stored: &StoredDeadLetter) -> Option<Raw> {
        let mask: &dyn Mask = if is_of_file(stored) { &self.of_file } else { &self.of_topic };
        self.has_mask.then(|| mask.mask(&stored.raw))
    }
}

fn is_of_file(stored: &StoredDeadLetter) -> bool {
    stored.summary.identity.stream.starts_with(FILE)
}
