//! One partition of a Kafka topic as a [`Source`](tally_ports::Source), a publisher, and the wire formats.
//!
//! [`Cluster`] knows the brokers, topics and offsets; [`KafkaSource`] reads one partition, and its [`PartitionProgress`] shows its
//! lag; [`Publisher`] writes. There are no consumer groups: the store decides who reads which partition, and
//! from where.
//!
//! # From offsets to items
//!
//! A batch reaches from the requested offset to the last one passed; not every offset in between is a record.
//!
//! | at an offset | becomes |
//! | --- | --- |
//! | a record | an item, with key, payload and headers as they were sent; of headers with the same name the last one |
//! | a record without a value (a tombstone) | an item without any field |
//! | a record of an aborted transaction | an item like any other: the client does not tell them apart |
//! | the end of a transaction | is passed with the batch around it, or alone where nothing follows |
//! | nothing, as it was compacted away | the same between two records of one fetch; else a batch without items whose `gap` says so |
//! | a batch that the client cannot decode | [`Blocked`](tally_ports::StopKind::Blocked), after all records before it |
//! | nothing, as retention deleted it | the same |
//! | something else than was read there before, or nothing at all: the topic was recreated | the same |
//!
//! The client cannot decode a header without a value or with a name that is not UTF-8, an unknown compression, and
//! batches of the formats before Kafka 0.11. It also fails on the ends of transactions, which are told from these by
//! their error text and by fetching one batch at a time.
//!
//! Records of an open transaction are not read: the log ends there for now (the last stable offset).
//!
//! # Blocked partitions
//!
//! A source that is blocked says so in each answer, and its [`PartitionProgress::gap`] holds the exact range as a [`Gap`]: for a
//! batch that cannot be decoded from its first offset up to the last one that yields no other batch; for what was
//! deleted up to the log's start; for a topic recreated everything from 0 up to the position, after which reading
//! begins where the new log does.
//!
//! A recreated topic is recognized by the cursor `{"offset": O, "timestamp": MILLISECONDS, "crc": CRC32C}` of the
//! last record read: it is fetched again before the first batch, after every fault, and when nothing was fetched for a
//! second. Where it was deleted or compacted away, only an end of the log before the position shows it.
//!
//! # Faults
//!
//! Nothing here retries, and every call ends within [`Settings::timeout`]. Brokers that are unavailable, leaders that move
//! and broken connections are outages, after which the client is replaced; wrong passwords, certificates that are not
//! trusted, topics that do not exist or are not allowed are wrong settings. (The client itself retries for two
//! seconds.) A topic is looked up in the list of all topics before it is opened, so that a misspelt name never creates
//! one.
//!
//! # Memory
//!
//! A source holds about four times [`Settings::fetch_bytes`] (or the largest batch of the log, if that is larger, as
//! the client decompresses it) and one batch of at most 4 MiB; a publisher 512 KiB for each partition.

mod cluster;
mod fault;
mod gap;
mod partitioner;
mod progress;
mod publisher;
mod security;
mod source;
pub mod wire;

pub use cluster::{Cluster, Settings, Start};
pub use gap::Gap;
pub use progress::{Lag, PartitionProgress};
pub use publisher::{Outgoing, Publisher};
pub use security::Security;
pub use source::{KafkaSource, is_of_another_topic};
pub use tally_kafka_client::{Mechanism, Sasl};
