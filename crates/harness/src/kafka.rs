//! The real Kafka, started natively by `infra/native/kafka.sh`.
//!
//! [`Broker::shared`] is the one broker of all tests, where each makes topics of its own; [`OwnKafka`] is a broker of
//! a test's own, to stop, freeze or kill, or to reach by TLS and SASL; [`Cluster`] is three of these. [`JavaProducer`] is Kafka's own client, for
//! records that ours cannot write: transactions, null headers; [`StreamsCopy`] is Kafka Streams. As with [`postgres`](crate::postgres), a broker that
//! nobody uses any more removes itself.

mod broker;
mod cluster;
mod java;
mod own;
mod streams;

pub use broker::Broker;
pub use cluster::Cluster;
pub use java::{JavaProducer, JavaRecord, Resource, Stored};
pub use own::{OwnKafka, PASSWORD, USER};
pub use rskafka::record::{Record, RecordAndOffset};
pub use streams::StreamsCopy;

use chrono::Utc;

/// A record of now without headers.
pub fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
    Record {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: std::collections::BTreeMap::new(),
        timestamp: Utc::now(),
    }
}
