//! Where records go: to the topic at once, or file by file in a transaction.

use tally_adapter_kafka::{Cluster, Outgoing, Publisher, Sending, TransactionalPublisher};
use tally_ports::Fault;
use tokio::time::Duration;

/// Brokers allow no more by default (`transaction.max.timeout.ms`).
const TRANSACTION_TIMEOUT: Duration = Duration::from_mins(15);

pub enum Output {
    AtOnce(Publisher),
    ByFile(TransactionalPublisher),
}

impl Output {
    /// With the transactional id, if files are transactions.
    pub async fn open(
        cluster: &Cluster,
        topic: &str,
        transactional_id: Option<&str>,
    ) -> Result<Self, Fault> {
        Ok(match transactional_id {
            None => Self::AtOnce(Publisher::open(cluster, topic).await?),
            Some(id) => Self::ByFile(
                TransactionalPublisher::open(cluster, topic, id, TRANSACTION_TIMEOUT).await?,
            ),
        })
    }

    pub fn is_by_file(&self) -> bool {
        matches!(self, Self::ByFile(_))
    }

    pub async fn send(&self, records: Vec<Outgoing>) -> Result<Sending, Fault> {
        match self {
            Self::AtOnce(publisher) => publisher.send(records).await,
            Self::ByFile(publisher) => publisher.send(records).await,
        }
    }

    pub async fn commit(&self) -> Result<(), Fault> {
        match self {
            Self::AtOnce(_) => Ok(()),
            Self::ByFile(publisher) => publisher.commit().await,
        }
    }

    pub async fn abort(&self) -> Result<(), Fault> {
        match self {
            Self::AtOnce(_) => Ok(()),
            Self::ByFile(publisher) => publisher.abort().await,
        }
    }
}
