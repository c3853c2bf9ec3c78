//! Progress as records of its topic.
//!
//! The value is two lines of JSON: what the record is, and the progress. What is too long for one record goes on in others,
//! whose keys end with their numbers.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tally_ports::{Fault, Progress, StopKind};
use uuid::Uuid;

use crate::Outgoing;
use crate::fault::setting;

const VERSION: u32 = 1;
/// What a part takes at least, whatever the topic takes, and at most: where the user may not read its settings, its limit is not
/// known.
const LEAST: usize = 1024;
const MOST: usize = 256 * 1024;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    /// The prefix of the transactional ids.
    prefix: String,
    /// The same in all parts of one progress.
    set: Uuid,
    parts: usize,
}

/// The records that say so under `key`, where the topic takes `limit` bytes.
pub(super) fn records(
    key: &str,
    prefix: &str,
    progress: &Progress,
    limit: usize,
) -> Result<Vec<Outgoing>, Fault> {
    let unwritable = |error: serde_json::Error| {
        Fault::stop(StopKind::Data, format!("progress of {key}: {error}"))
    };
    let text = serde_json::to_vec(progress).map_err(unwritable)?;
    let chunks: Vec<&[u8]> = text.chunks((limit / 2).clamp(LEAST, MOST)).collect();
    let (prefix, parts) = (prefix.to_owned(), chunks.len());
    let head = Head { version: VERSION, prefix, set: Uuid::now_v7(), parts };
    let head = serde_json::to_vec(&head).map_err(unwritable)?;
    let record = |(part, chunk): (usize, &&[u8])| Outgoing {
        key: Some(key_of(key, part)),
        value: Some([&head, b"\n".as_slice(), chunk].concat().into()),
        headers: Vec::new(),
    };
    Ok(chunks.iter().enumerate().map(record).collect())
}

/// The progress under `key` among the newest values of a partition of `topic`.
///
/// # Errors
/// Where some of them is another program's, or of transactions with another prefix.
pub(super) fn read(
    topic: &str,
    key: &str,
    prefix: &str,
    values: &BTreeMap<Bytes, Bytes>,
) -> Result<Option<Progress>, Fault> {
    for (found, value) in values {
        let of_others = |what: String| {
            let found = String::from_utf8_lossy(found);
            setting(format!(
                "{topic} holds {what} under {found}: set kafka.progress_topic to a topic of its own"
            ))
        };
        let head = head(value).ok_or_else(|| of_others("no progress".to_owned()))?.0;
        if head.version != VERSION {
            return Err(of_others(format!("progress of version {}", head.version)));
        }
        if head.prefix != prefix {
            let other = head.prefix;
            return Err(of_others(format!(
                "progress with kafka.transactional_id_prefix {other:?}, which is {prefix:?} here"
            )));
        }
    }
    let part = |part| values.get(&key_of(key, part)).and_then(|value| head(value));
    let Some((first, chunk)) = part(0) else { return Ok(None) };
    let mut text = chunk.to_vec();
    for (_, chunk) in (1..first.parts).filter_map(part).filter(|(head, _)| head.set == first.set) {
        text.extend_from_slice(chunk);
    }
    let broken = |error: serde_json::Error| {
        setting(format!("{topic} holds progress under {key} that cannot be read: {error}"))
    };
    serde_json::from_slice(&text).map(Some).map_err(broken)
}

fn key_of(key: &str, part: usize) -> Bytes {
    if part == 0 { Bytes::from(key.to_owned()) } else { Bytes::from(format!("{key}#{part}")) }
}

fn head(value: &Bytes) -> Option<(Head, &[u8])> {
    let end = value.iter().position(|byte| *byte == b'\n')?;
    Some((serde_json::from_slice(&value[..end]).ok()?, &value[end + 1..]))
}

#[cfg(test)]
mod tests {
    use tally_domain::{Reason, Stage};
    use tally_ports::{Passed, PublishedBatch};

    use super::*;

    fn progress(dead_letters: i64) -> Progress {
        let reason = |position| (position, Reason::new(Stage::Validate, "odd", "it is é odd"));
        let batch = PublishedBatch {
            id: Uuid::from_u128(7),
            pass: 1,
            log: 1,
            first: 0,
            last: dead_letters,
            read: dead_letters + 1,
            digest: String::new(),
            passed: Passed::default().to_json(),
            skipped: vec![(dead_letters, dead_letters)],
            dead_letters: (0..dead_letters).map(reason).collect(),
            added: Vec::new(),
        };
        Progress { epoch: 3, batch: Some(batch), outbox: None }
    }

    fn values(records: Vec<Outgoing>) -> BTreeMap<Bytes, Bytes> {
        records.into_iter().map(|record| (record.key.unwrap(), record.value.unwrap())).collect()
    }

    #[test]
    fn what_is_too_long_for_a_record_is_in_several() {
        let before = values(records("a/b/0", "tally", &progress(500), 1).unwrap());
        assert!(before.len() > 20);
        for dead_letters in [0, 1, 100] {
            let written = records("a/b/0", "tally", &progress(dead_letters), 4_096).unwrap();
            assert_eq!(written.len() > 1, dead_letters == 100);
            // Those of a longer one that was before are still there.
            let mut found = before.clone();
            found.extend(values(written));
            let read = read("topic", "a/b/0", "tally", &found).unwrap().unwrap();
            let expected = serde_json::to_value(progress(dead_letters)).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), expected);
        }
        assert!(read("topic", "a/b", "tally", &before).unwrap().is_none());
    }

    #[test]
    fn what_is_not_ours_is_told() {
        let found = values(records("a/b/0", "other", &progress(1), 4_096).unwrap());
        let fault = read("topic", "a/c/0", "tally", &found).unwrap_err().to_string();
        assert!(fault.contains("kafka.transactional_id_prefix \"other\""), "{fault}");
        let found = BTreeMap::from([(Bytes::from("x"), Bytes::from("{}\n"))]);
        let fault = read("topic", "a/c/0", "tally", &found).unwrap_err().to_string();
        assert!(fault.contains("topic holds no progress under x"), "{fault}");
    }
}
