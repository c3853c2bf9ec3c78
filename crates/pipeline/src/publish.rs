//! What may be published of a row.

mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::counter;
use tally_domain::{Flow, Reason};
use tally_ports::publish::{Outgoing, too_large};
use tally_ports::{
    DeliveryGuarantee, Origin, OutgoingRecord, Publish, Row, Stop, Topics, Way, check_counters,
    metric,
};
use tokio::sync::OnceCell;

pub(crate) use self::partition::PartitionPublisher;
use crate::Gate;

/// Where a flow publishes to. Clones share what is known of the topics.
pub struct Outputs<P> {
    publisher: Arc<P>,
    topics: Topics,
    guarantee: DeliveryGuarantee,
    /// In the order of the topics.
    limits: Arc<OnceCell<Vec<usize>>>,
}

impl<P> Clone for Outputs<P> {
    fn clone(&self) -> Self {
        Self {
            publisher: Arc::clone(&self.publisher),
            topics: Arc::clone(&self.topics),
            guarantee: self.guarantee,
            limits: Arc::clone(&self.limits),
        }
    }
}

impl<P: Publish> Outputs<P> {
    /// The `topics` of a flow's outputs, in the same order.
    pub fn new(publisher: P, topics: Topics, guarantee: DeliveryGuarantee) -> Self {
        Self { publisher: Arc::new(publisher), topics, guarantee, limits: Arc::default() }
    }

    /// Asks the topics for their limits, once: so that an outage later holds up nothing but what is published. Where all is
    /// published exactly once, makes the progress topic for a stream of so many `partitions`.
    ///
    /// # Errors
    /// When a topic does not exist or is not fit, or its brokers stay unavailable.
    pub async fn look_up(&self, gate: &Gate, partitions: i32) -> Result<(), Stop> {
        self.limits(gate).await?;
        match self.guarantee {
            DeliveryGuarantee::AtLeastOnce => Ok(()),
            DeliveryGuarantee::ExactlyOnce => {
                gate.pass(|| self.publisher.prepare_transactions(partitions)).await
            }
        }
    }

    pub(crate) async fn limits(&self, gate: &Gate) -> Result<&[usize], Stop> {
        let asking = || async {
            let mut limits = Vec::new();
            for topic in &*self.topics {
                limits.push(gate.pass(|| self.publisher.limit(topic)).await?);
            }
            Ok(limits)
        };
        self.limits.get_or_try_init(asking).await.map(Vec::as_slice)
    }
}

impl<P: Publish> Outputs<P> {
    /// The greatest [size](OutgoingRecord::size) of a record that any `topic` of the same brokers takes.
    ///
    /// # Errors
    /// As [`Outputs::look_up`].
    pub async fn limit_of(&self, gate: &Gate, topic: &str) -> Result<usize, Stop> {
        gate.pass(|| self.publisher.limit(topic)).await
    }
}

impl<P> Outputs<P> {
    pub(crate) fn topics(&self) -> Topics {
        Arc::clone(&self.topics)
    }
}

/// Checks what rows publish, before any of it is.
pub(crate) struct Check<'a> {
    flow: &'a dyn Flow,
    outgoing: Outgoing<'a>,
    /// In the order of the topics.
    limits: &'a [usize],
    /// Whether it is published before the database is asked.
    is_direct: bool,
}

impl<'a> Check<'a> {
    /// Asks the topics for their limits, behind `gate`, unless they are known.
    pub(crate) async fn new<P: Publish>(
        origin: Origin<'a>,
        outputs: &'a Outputs<P>,
        gate: &Gate,
        is_replay: bool,
    ) -> Result<Self, Stop> {
        let limits = outputs.limits(gate).await?;
        let is_direct = !is_replay && Way::of(origin.flow) == Some(Way::Direct);
        let flow = origin.flow;
        let outgoing = Outgoing::new(origin, &outputs.topics, is_replay);
        Ok(Self { flow, outgoing, limits, is_direct })
    }

    /// The records that the row publishes, or why it is a dead letter.
    pub(crate) fn records(
        &mut self,
        row: &Row,
    ) -> Result<Result<Vec<OutgoingRecord>, Reason>, Stop> {
        if row.record.publications.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let records = self.outgoing.records(row)?;
        if self.is_direct
            && let Err(reason) = check_counters(self.flow, &row.record)
        {
            return Ok(Err(reason));
        }
        for (record, publication) in records.iter().zip(&row.record.publications) {
            if record.size() > self.limits[publication.output] {
                return Ok(Err(too_large(&record.topic)));
            }
        }
        Ok(Ok(records))
    }
}

/// Counts records that were published.
pub(crate) fn count<'a>(flow: &str, records: impl Iterator<Item = &'a OutgoingRecord>) {
    let mut topics: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        *topics.entry(&record.topic).or_default() += 1;
    }
    for (topic, published) in topics {
        let labels = [("flow", flow.to_owned()), ("topic", topic.to_owned())];
        counter!(metric::PUBLISHED, &labels).increment(published);
    }
}
