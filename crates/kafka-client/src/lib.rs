//! Reads partitions of Kafka topics exactly.

mod api;
mod batch;
mod client;
mod compression;
mod connection;
mod error;
mod fetch;
mod metadata;
mod offsets;
mod partition;
mod security;

pub use kafka_protocol::error::ResponseError;

pub use self::api::Api;
pub use self::batch::{
    AbortedTransaction, Batches, Broken, Headers, Marker, Passed, Piece, Reading, Record,
    RecordBatch, Timestamps, Why,
};
pub use self::client::{Client, Settings};
pub use self::compression::Codec;
pub use self::error::{About, BrokerVersions, Error};
pub use self::fetch::{Answer, Fetch, Fetched};
pub use self::metadata::{Led, Topic};
pub use self::offsets::Isolation;
pub use self::partition::Partition;
pub use self::security::{Mechanism, Sasl, Security};
