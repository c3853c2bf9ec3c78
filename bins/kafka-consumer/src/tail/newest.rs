//! The last records of a topic.

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use tally_ports::{Raw, Stop};

use super::reading::{Ends, Record, Topic};

/// The last `count` records before the `ends`, in all of them together, by time. Within a partition they stay in the order
/// of their offsets: one that is older than one before it counts as old as that.
pub async fn newest(topic: &Topic, ends: &[Ends], count: usize) -> Result<Vec<Record>, Stop> {
    let found = try_join_all(ends.iter().map(|ends| of_partition(topic, *ends, count))).await?;
    Ok(merged(found, count))
}

fn merged(of_partitions: Vec<VecDeque<Record>>, count: usize) -> Vec<Record> {
    let mut found: Vec<(Option<DateTime<Utc>>, Record)> = Vec::new();
    for records in of_partitions {
        let mut latest = None;
        for record in records {
            latest = latest.max(record.raw.timestamp);
            found.push((latest, record));
        }
    }
    found.sort_by_key(|(at, _)| *at);
    let left_out = found.len().saturating_sub(count);
    found.drain(..left_out);
    found.into_iter().map(|(_, record)| record).collect()
}

/// The last `count` records of a partition. As not every offset has one, it looks back further and further.
async fn of_partition(topic: &Topic, ends: Ends, count: usize) -> Result<VecDeque<Record>, Stop> {
    let Ends { partition, first, end } = ends;
    let mut back = i64::try_from(count).unwrap_or(i64::MAX);
    loop {
        let from = end.saturating_sub(back).max(first);
        let mut kept = VecDeque::new();
        let mut reading = topic.read(partition, from, Some(end));
        while let Some(records) = reading.next().await? {
            for record in records {
                if kept.len() == count {
                    kept.pop_front();
                }
                kept.push_back(Record { raw: copied(&record.raw), ..record });
            }
        }
        if kept.len() == count || from == first {
            return Ok(kept);
        }
        back = back.saturating_mul(2);
    }
}

/// The same in memory of its own: the source reads no further while its batches are kept.
fn copied(raw: &Raw) -> Raw {
    let copy = |bytes: &Option<Bytes>| bytes.as_deref().map(Bytes::copy_from_slice);
    let headers = raw.headers.iter().map(|(name, value)| (name.clone(), copy(value)));
    Raw { key: copy(&raw.key), payload: copy(&raw.payload), headers: headers.collect(), ..*raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(partition: i32, seconds: &[i64]) -> VecDeque<Record> {
        let record = |(offset, seconds): (i64, &i64)| {
            let timestamp = DateTime::from_timestamp(*seconds, 0).filter(|_| *seconds >= 0);
            Record { partition, offset, raw: Raw { timestamp, ..Raw::default() } }
        };
        (0..).zip(seconds).map(record).collect()
    }

    #[test]
    fn the_last_of_all_partitions_are_the_last_of_each() {
        let found = |count| {
            let of_partitions =
                vec![records(0, &[10, 40, 20, 60]), records(1, &[30, 50]), records(2, &[-1, -1])];
            let found = merged(of_partitions, count).into_iter();
            found.map(|record| (record.partition, record.offset)).collect::<Vec<_>>()
        };
        let all = [(2, 0), (2, 1), (0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (0, 3)];
        for count in 0..10 {
            assert_eq!(found(count), all[all.len().saturating_sub(count)..], "{count}");
        }
    }
}
