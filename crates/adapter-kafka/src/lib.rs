//! One partition of a Kafka topic as a [`Source`](tally_ports::Source), a publisher, and the wire formats.
//!
//! [`Cluster`] knows the brokers, topics and offsets; [`KafkaSource`] reads one partition, and its [`PartitionProgress`] shows its
//! lag; [`Publisher`] writes; [`ProgressTopic`] tells how far what was published in transactions goes. All by `tally-kafka-client`. There are no consumer groups: the store decides who reads which
//! partition, and from where.
//!
//! # From offsets to items
//!
//! A batch reaches from the requested offset to the last one passed; not every offset in between is a record. Those without
//! one are counted by why ([`Batch::passed`](tally_ports::Batch::passed)).
//!
//! | at an offset | becomes |
//! | --- | --- |
//! | a record | an item, with key, payload and headers as they were sent |
//! | a record without a value (a tombstone) | an item without any field |
//! | a record of an aborted transaction | passed: `aborted` |
//! | the end of a transaction | passed: `marker` |
//! | a batch that compaction has emptied | passed: `empty` |
//! | nothing, as it was compacted away | passed: `hole` |
//! | a batch that cannot be decoded, or is over [`Settings::max_batch_bytes`], unpacked or as it was sent | [`Blocked`](tally_ports::StopKind::Blocked), after all records before it |
//! | nothing, as retention deleted it | the same |
//! | something else than was read there before, or nothing at all: the topic was recreated | the same |
//!
//! Records of an open transaction are not read: the log ends there for now (the last stable offset).
//!
//! # Blocked partitions
//!
//! A source that is blocked says so in each answer, and its [`PartitionProgress::gap`] holds the exact range as a [`Gap`]: for a
//! batch that cannot be decoded its own; for what was deleted up to the log's start; for a topic recreated everything from 0
//! up to the position, after which reading begins where the new log does.
//!
//! A recreated topic is recognized by its id, which the cursor holds beside offset, timestamp and checksum of the last record
//! read: `{"topic_id": UUID, "offset": O, "timestamp": MILLISECONDS, "crc": CRC32C}`. That record is fetched again before the
//! first batch and after every fault, for cursors from before ids were looked at, and for logs that lost records to an unclean
//! election. From Kafka 3.1 on a broker answers by the topic's id, so that a topic recreated while it is read is noticed at
//! once.
//!
//! # Faults
//!
//! Nothing here retries, and every call ends, each broker that is asked within [`Settings::timeout`] beyond what a quota makes
//! it wait. Brokers that are unavailable, leaders that move and broken connections are outages; wrong passwords,
//! certificates that are not trusted, topics that do not exist or are not allowed are wrong settings. A topic that was there and is
//! gone is an outage: it may be about to be recreated.
//!
//! # Memory
//!
//! The unpacked batches of all sources of a [`Cluster`] share twice [`Settings::max_batch_bytes`]: a source waits while there is
//! no place for another one, and a batch gives its place back when the last of its records is dropped. Beside them one
//! batch at a time is unpacked to be compared with a cursor, or for [`ProgressTopic::read`], and a source
//! holds one answer of about [`Settings::fetch_bytes`], or of one batch as it is compressed; a publisher holds what is on its
//! way, at most 32 MiB.

mod cluster;
mod cursor;
mod fault;
mod gap;
mod output_topics;
mod progress;
mod progress_topic;
mod publisher;
mod security;
mod source;
pub mod wire;

pub use cluster::{Cluster, Settings, Start};
pub use gap::Gap;
pub use output_topics::OutputTopics;
pub use progress::{Lag, PartitionProgress};
pub use progress_topic::ProgressTopic;
pub use publisher::{Outgoing, Publisher, Sending, TransactionalPublisher};
pub use security::Security;
pub use source::{KafkaSource, is_recreated};
pub use tally_kafka_client::{Mechanism, Sasl};
