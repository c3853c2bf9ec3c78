//! Publishes records to a topic.

mod fault;
mod writer;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chrono::Utc;
use futures_util::future::join_all;
use rskafka::record::Record;
use tally_ports::Fault;
use tokio::sync::Mutex;

use self::writer::{Log, Refused, Writer};
use crate::Cluster;
use crate::partitioner::partition_of;

/// A request holds at most this many bytes of records, or one record.
const REQUEST_BYTES: usize = 512 * 1024;

/// A record to be published. Its `Debug` shows only lengths.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Records of one key go to one partition, in order.
    pub key: Option<Bytes>,
    /// Its content; none for a tombstone.
    pub value: Option<Bytes>,
    /// Names and values; of those with the same name the last one is sent.
    pub headers: Vec<(String, Bytes)>,
}

/// Appends records to a topic.
pub struct Publisher {
    writer: Writer,
    topic: String,
    lanes: Vec<Lane>,
    /// Counts the calls: records without a key go to another partition in each.
    calls: AtomicUsize,
}

/// One partition of the topic.
struct Lane {
    partition: i32,
    /// Held during a request, so that there is one at a time.
    log: Mutex<Option<Log>>,
}

impl Publisher {
    /// A publisher to the topic's current partitions. Never creates a topic.
    ///
    /// # Errors
    /// As [`Cluster::partitions`].
    pub async fn open(cluster: &Cluster, topic: &str) -> Result<Self, Fault> {
        let partitions = cluster.partitions(topic).await?;
        let lane = |partition| Lane { partition, log: Mutex::default() };
        Ok(Self {
            writer: Writer::new(cluster.clone()),
            topic: topic.to_owned(),
            lanes: partitions.into_iter().map(lane).collect(),
            calls: AtomicUsize::new(0),
        })
    }

    /// Appends `records`; returns once all in-sync replicas have all of them, except single records over the topic's limit,
    /// whose indices in `records` it returns in order.
    ///
    /// At least once, and in order within a partition: one request is in flight for each. A record with a key goes where Java's
    /// producer would send it; those without a key go to one partition, in the next call to the next one.
    pub async fn publish(&self, records: &[Outgoing]) -> Result<Vec<usize>, Fault> {
        let turn = self.calls.fetch_add(1, Ordering::Relaxed) % self.lanes.len().max(1);
        let mut parts = vec![Vec::new(); self.lanes.len()];
        for (index, record) in records.iter().enumerate() {
            let lane = match &record.key {
                Some(key) => partition_of(key, self.lanes.len()),
                None => turn,
            };
            parts[lane].push(index);
        }
        let parts = self.lanes.iter().zip(&parts).filter(|(_, part)| !part.is_empty());
        let all = parts.map(|(lane, part)| self.append(lane, records, part));
        let mut too_large = Vec::new();
        for of_lane in join_all(all).await {
            too_large.extend(of_lane?);
        }
        too_large.sort_unstable();
        Ok(too_large)
    }

    /// Appends those of `records` that `part` names to a partition, in order; those of them that are too large.
    async fn append(
        &self,
        lane: &Lane,
        records: &[Outgoing],
        part: &[usize],
    ) -> Result<Vec<usize>, Fault> {
        let mut log = lane.log.lock().await;
        let mut too_large = Vec::new();
        for request in requests(records, part) {
            // A request over the limit is split in halves; the top of the stack comes first.
            let mut to_send = vec![request];
            while let Some(range) = to_send.pop() {
                let open = match log.take() {
                    Some(open) => open,
                    None => self.writer.open(&self.topic, lane.partition).await?,
                };
                let now = Utc::now();
                let batch = part[range.clone()].iter().map(|index| records[*index].to_record(now));
                let produced = open.produce(batch.collect()).await;
                if let Err(Refused::Fault(fault)) = produced {
                    return Err(fault);
                }
                *log = Some(open);
                if let Err(Refused::TooLarge) = produced {
                    let Range { start, end } = range;
                    let middle = start + (end - start) / 2;
                    if middle == start {
                        too_large.push(part[start]);
                    } else {
                        to_send.extend([middle..end, start..middle]);
                    }
                }
            }
        }
        Ok(too_large)
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Outgoing {
    fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }

    fn to_record(&self, timestamp: chrono::DateTime<Utc>) -> Record {
        Record {
            key: self.key.as_ref().map(|key| key.to_vec()),
            value: self.value.as_ref().map(|value| value.to_vec()),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.to_vec()))
                .collect(),
            timestamp,
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map(Bytes::len);
        f.debug_struct("Outgoing")
            .field("key_bytes", &length(&self.key))
            .field("value_bytes", &length(&self.value))
            .field("headers", &self.headers.len())
            .finish()
    }
}

/// The requests for `part`, as ranges of it.
fn requests(records: &[Outgoing], part: &[usize]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, index) in part.iter().enumerate() {
        let size = records[*index].size();
        if place > start && bytes + size > REQUEST_BYTES {
            ranges.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += size;
    }
    if start < part.len() {
        ranges.push(start..part.len());
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sizes: &[usize], expected: &[Range<usize>]) {
        let record = |size: &usize| Outgoing {
            value: Some(Bytes::from(vec![0; *size])),
            ..Outgoing::default()
        };
        let records: Vec<_> = sizes.iter().map(record).collect();
        let part: Vec<usize> = (0..records.len()).collect();
        assert_eq!(requests(&records, &part), expected);
    }

    #[test]
    fn requests_are_bounded_unless_one_record_is_larger() {
        const ALL: usize = REQUEST_BYTES;
        check(&[], &[]);
        check(&[ALL, ALL], &[0..1, 1..2]);
        check(&[ALL / 2, ALL / 2, 1], &[0..2, 2..3]);
        check(&[1, ALL, 1], &[0..1, 1..2, 2..3]);
        check(&[ALL * 3, ALL * 2], &[0..1, 1..2]);
    }

    #[test]
    fn debug_shows_no_content() {
        let secret = Some(Bytes::from_static(b"secret"));
        let headers = vec![("name".to_owned(), Bytes::from_static(b"secret"))];
        let shown = format!("{:?}", Outgoing { key: secret.clone(), value: secret, headers });
        assert!(!shown.contains("secret") && shown.contains('6'), "{shown}");
    }
}
