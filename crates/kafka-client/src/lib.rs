//! Reads partitions of Kafka topics exactly: each record of the log as it was written, and for each offset without one
//! the reason why there is none. Writes each record once, alone or in transactions.
//!
//! ```no_run
//! # async fn run() -> Result<(), tally_kafka_client::Error> {
//! use tally_kafka_client::{Client, Fetch, Fetched, Piece, Settings};
//!
//! let client = Client::new(Settings::new(vec!["127.0.0.1:9092".to_owned()]))?;
//! let partition = client.partition("orders", 0).await?;
//! let mut next = partition.earliest().await?;
//! loop {
//!     let Fetched::Answer(answer) = partition.fetch(Fetch::from(next)).await? else { continue };
//!     for piece in answer.batches {
//!         next = piece.last() + 1;
//!         match piece {
//!             Piece::Records(batch) => {
//!                 for record in batch.records() {
//!                     println!("{}: {:?}", record.offset, record.value);
//!                 }
//!             }
//!             Piece::Passed(passed) => println!("{passed}"),
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! # What it guarantees
//! - **Every offset is explained.** The [`Piece`]s of an answer follow each other without gap or overlap. Offsets
//!   without a record are the end of a transaction, an aborted transaction, an empty batch, a hole that compaction left,
//!   or a batch that cannot be decoded, with its exact range and what is [`Broken`]; reading continues after it. Where
//!   damage on its disk keeps a broker from finding an offset, the batches before it are asked for, which show it; else
//!   [`Error::Damaged`] says so.
//! - **Aborted records are left out** with [`Isolation::ReadCommitted`], and so are those of open transactions.
//! - **A recreated topic is noticed** by its id, at once by brokers from Kafka 3.1 on ([`Error::Recreated`]).
//! - **Memory is bounded.** An answer takes at most [`Settings::max_answer_bytes`], and a batch that does not fit is passed by
//!   its header; batches are unpacked one at a time, each up to [`Fetch::max_batch_bytes`]. Records and headers are slices of that, made while they are iterated.
//! - **Every call has a time limit**: it ends within [`Settings::connect_timeout`] and [`Settings::request_timeout`] for each broker that it
//!   asks, beyond what a quota makes it wait. It may be dropped at any time: its connection goes with it.
//! - **Leader changes and unavailable brokers are handled**: any broker that the settings or other brokers name is asked
//!   for the new leader. Errors tell whether a retry may help ([`Error::is_retriable`]).
//! - **A record is written once and in order** ([`Producer`]): batches carry sequence numbers, by which brokers leave out
//!   what they have. What cannot be written yet goes on being sent, and whoever waits is told ([`Undelivered`]). Only where a broker lost
//!   what it had acknowledged, or a call was given up while nobody knew, may a record be there twice. What is larger than the
//!   topic takes is told apart and stops nothing else.
//! - **Transactions** ([`TransactionalProducer`]) are committed whole or not at all, as brokers before and from Kafka 4.0 on
//!   have them (KIP-890), and a successor fences whoever had the transactional id.
//! - **It creates no topic by asking for one**, only by [`Client::create_topic`]. It can commit offsets for a consumer group, for tools that show lag.
//!
//! It works with Kafka 2.1 and later, creates topics from 2.4 on, and knows them by id from 2.8 on. Each concurrent call has its own connection, as
//! a broker answers the requests of a connection one by one.
//!
//! ```no_run
//! # async fn run(client: tally_kafka_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use tally_kafka_client::{ProducerRecord, ProducerSettings};
//!
//! let producer = client.producer(ProducerSettings::default());
//! let record = ProducerRecord { value: Some("hello".into()), ..ProducerRecord::default() };
//! let mut delivery = producer.send("orders", vec![record]).await?;
//! while let Err(undelivered) = delivery.wait().await {
//!     if !undelivered.is_on_its_way {
//!         return Err(undelivered.into());
//!     }
//!     println!("still sending: {undelivered}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it leaves out
//! Formats before v2 (Kafka 0.11) are refused by name. It asks for one partition at a time, has no fetch sessions, joins
//! no consumer group, commits no offsets as part of a transaction, does not read from followers, and does not look for records that an unclean election took back. A
//! damaged batch that is the first of a log or of one of its segments, and whose length leads past the end of that, is
//! answered by its broker like one that compaction removed. The numbers in a broker's answer beside its record batches are
//! trusted by the codec: one that claims two thousand million
//! topics would have it ask for as much memory.
//!
//! Where the first batch of a log, or of one of its segments, has a length that leads past the end, its broker answers
//! as if compaction had removed it. So it does for offsets within a batch that damage has turned into an uncompressed
//! one of format v1, but not from its first offset on.

mod api;
mod batch;
mod client;
mod compression;
mod connection;
mod coordinator;
mod create_topic;
mod error;
mod fetch;
mod group;
mod metadata;
mod offsets;
mod partition;
mod producer;
mod security;
mod topic_settings;

/// Kafka's error codes.
pub use kafka_protocol::error::ResponseError;

pub use self::api::Api;
pub use self::batch::{
    AbortedTransaction, Batches, Broken, Headers, Marker, Passed, Piece, Reading, Record,
    RecordBatch, Records, Timestamps, Why,
};
pub use self::client::{Client, Settings};
pub use self::compression::Codec;
pub use self::error::{About, BrokerVersions, Error};
pub use self::fetch::{Answer, Fetch, Fetched};
pub use self::metadata::{Led, Topic};
pub use self::offsets::Isolation;
pub use self::partition::Partition;
pub use self::producer::{
    Delivery, Producer, ProducerRecord, ProducerSettings, TopicRecords, TransactionalProducer,
    Undelivered,
};
pub use self::security::{Mechanism, Sasl, Security};
