//! The topics that flows publish to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tally_ports::{Fault, OutgoingRecord, Publish};

use crate::{Cluster, Outgoing, Publisher};

/// Publishes to any topic of a cluster. Each is looked up when it is first needed.
pub struct OutputTopics {
    cluster: Cluster,
    opened: Mutex<BTreeMap<String, Arc<Publisher>>>,
}

impl OutputTopics {
    /// To topics of `cluster`. Does not connect yet.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, opened: Mutex::default() }
    }

    async fn publisher(&self, topic: &str) -> Result<Arc<Publisher>, Fault> {
        if let Some(opened) = self.opened().get(topic) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(Publisher::open(&self.cluster, topic).await?);
        self.opened().insert(topic.to_owned(), Arc::clone(&opened));
        Ok(opened)
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Publisher>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publish for OutputTopics {
    async fn limit(&self, topic: &str) -> Result<usize, Fault> {
        self.publisher(topic).await?.limit().await
    }

    async fn publish(&self, records: &[OutgoingRecord]) -> Result<Vec<usize>, Fault> {
        let mut topics: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            topics.entry(&record.topic).or_default().push(index);
        }
        let all = topics.into_iter().map(async |(topic, indices)| {
            let publisher = self.publisher(topic).await?;
            let of_topic: Vec<Outgoing> =
                indices.iter().map(|&index| outgoing(&records[index])).collect();
            let too_large = publisher.publish(&of_topic).await?;
            Ok::<_, Fault>(too_large.into_iter().map(|place| indices[place]).collect::<Vec<_>>())
        });
        let mut too_large: Vec<usize> = try_join_all(all).await?.into_iter().flatten().collect();
        too_large.sort_unstable();
        Ok(too_large)
    }
}

impl fmt::Debug for OutputTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputTopics").finish_non_exhaustive()
    }
}

fn outgoing(record: &OutgoingRecord) -> Outgoing {
    let header =
        |(name, value): &(String, Option<Bytes>)| (Bytes::from(name.clone()), value.clone());
    let headers = record.headers.iter().map(header).collect();
    Outgoing { key: record.key.clone(), value: record.value.clone(), headers }
}
