//! Counts the records of a source.

use std::sync::Arc;

use metrics::counter;
use tally_domain::Flow;
use tally_ports::{Batch, Fault, Source};

/// A source whose records are counted by flow.
pub(crate) struct Counted<S> {
    source: S,
    metric: &'static str,
    flow: Arc<dyn Flow>,
}

impl<S> Counted<S> {
    pub(crate) fn new(source: S, metric: &'static str, flow: &Arc<dyn Flow>) -> Self {
        Self { source, metric, flow: Arc::clone(flow) }
    }
}

impl<S: Source> Source for Counted<S> {
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch>, Fault> {
        let batch = self.source.next_batch(limit).await?;
        if let Some(batch) = &batch {
            counter!(self.metric, "flow" => self.flow.name().to_owned())
                .increment(batch.items.len() as u64);
        }
        Ok(batch)
    }
}
