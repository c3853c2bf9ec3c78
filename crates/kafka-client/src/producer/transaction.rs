//! Transactions.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{AddPartitionsToTxnResponse, EndTxnResponse};
use tokio::sync::oneshot;

use super::sender::{Command, PRODUCE_BEFORE_KIP_890};
use super::{
    Assigned, Delivery, Identity, Kind, Producer, ProducerRecord, ProducerSettings, TopicRecords,
    requests,
};
use crate::client::Client;
use crate::coordinator::Coordinated;
use crate::error::Error;

/// From this version of transactions on each has an epoch of its own, and batches add their partitions (KIP-890).
const KIP_890: i16 = 2;
const END_TXN_BEFORE_KIP_890: i16 = 4;

/// Writes transactions: those who read only committed records see all records of one or none.
///
/// There is one for each transactional id: the next one that begins fences it. One transaction comes after the other, each
/// from the first [`send`](Self::send) to [`commit`](Self::commit) or [`abort`](Self::abort).
#[derive(Debug)]
pub struct TransactionalProducer {
    client: Client,
    producer: Producer,
    id: Arc<str>,
    timeout: Duration,
    identity: Identity,
    is_kip_890: bool,
    /// Whether the coordinator may know of a transaction.
    is_open: bool,
    /// Those that it writes to.
    partitions: HashSet<(Arc<str>, i32)>,
}

impl Client {
    /// Begins with this transactional id: whoever had it is fenced, and the transaction that was left open is aborted. The
    /// broker aborts one that is open for longer than `timeout`.
    pub async fn transactional_producer(
        &self,
        settings: ProducerSettings,
        id: &str,
        timeout: Duration,
    ) -> Result<TransactionalProducer, Error> {
        let id: Arc<str> = id.into();
        let identity = self.init_transactions(&id, timeout, None).await?;
        let kind = Kind::Transactional(id.clone());
        let mut begun = TransactionalProducer {
            client: self.clone(),
            producer: Producer::start(self.clone(), settings, kind),
            id,
            timeout,
            identity,
            is_kip_890: false,
            is_open: false,
            partitions: HashSet::new(),
        };
        begun.begin(identity);
        Ok(begun)
    }

    async fn init_transactions(
        &self,
        id: &Arc<str>,
        timeout: Duration,
        former: Option<Identity>,
    ) -> Result<Identity, Error> {
        let of = Coordinated::Producer(id.to_string());
        let build = |_| requests::init_transactions(id, timeout, former);
        self.ask_coordinator(&of, i16::MAX, build, |broker, answer| {
            requests::identity(broker, &answer)
        })
        .await
    }
}

impl TransactionalProducer {
    /// Takes records on their way as part of the transaction, as [`Producer::send`] does. They are sent until it ends.
    ///
    /// # Errors
    /// Where a partition cannot be part of it. Nothing was sent.
    pub async fn send(
        &mut self,
        topic: &str,
        records: Vec<ProducerRecord>,
    ) -> Result<Delivery, Error> {
        let mut deliveries =
            self.send_all(vec![TopicRecords { topic, partition: None, records }]).await?;
        deliveries.pop().ok_or(Error::Abandoned)
    }

    /// The same for several topics, whose records share requests; the deliveries are in the same order.
    ///
    /// # Errors
    /// Where a partition cannot be part of it, or there is none. Nothing was sent.
    pub async fn send_all(
        &mut self,
        topics: Vec<TopicRecords<'_>>,
    ) -> Result<Vec<Delivery>, Error> {
        let mut all = Vec::with_capacity(topics.len());
        for records in topics {
            let assigned = self.producer.assign(records).await?;
            self.add_partitions(&assigned).await?;
            all.push(assigned);
        }
        Ok(self.producer.send_assigned(all).await)
    }

    async fn add_partitions(&mut self, assigned: &Assigned) -> Result<(), Error> {
        let Assigned { topic, records } = assigned;
        let all: BTreeSet<i32> = records.iter().map(|(partition, _)| *partition).collect();
        let key = |partition: &i32| (topic.name.clone(), *partition);
        let is_new = |partition: &i32| !self.partitions.contains(&key(partition));
        let new: Vec<i32> = all.into_iter().filter(is_new).collect();
        self.is_open |= !new.is_empty();
        if !new.is_empty() && !self.is_kip_890 {
            let (id, identity) = (&self.id, self.identity);
            let build = |_| requests::add_partitions(id, identity, &topic.name, new.clone());
            let read = |broker: &Arc<str>, answer: AddPartitionsToTxnResponse| {
                requests::added(broker, &answer)
            };
            self.client.ask_coordinator(&self.coordinated(), i16::MAX, build, read).await?;
        }
        self.partitions.extend(new.iter().map(key));
        Ok(())
    }

    /// Waits for all that was sent, and commits it.
    ///
    /// # Errors
    /// After a [retriable](Error::is_retriable) one it may be committed nevertheless: the caller calls again, or begins again and
    /// reads. After any other only [`abort`](Self::abort) can follow, which aborts it if it is still open.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.flush().await?;
        if !self.is_open {
            return Ok(());
        }
        let next = self.end(true).await?;
        self.is_open = false;
        self.partitions.clear();
        if let Some(next) = next {
            self.begin(next);
        }
        Ok(())
    }

    /// Aborts what was sent; nothing of it is on its way any more.
    ///
    /// # Errors
    /// Where a successor has fenced this one, or the broker did as it took too long, [`code`](Error::code) is
    /// `ProducerFenced` or `InvalidProducerEpoch`.
    pub async fn abort(&mut self) -> Result<(), Error> {
        let mut next = None;
        if self.is_open {
            next = match self.end(false).await {
                // It has ended before, as nobody knew.
                Err(error) if error.code() == Some(ResponseError::InvalidTxnState) => None,
                ended => ended?,
            };
        }
        // A higher epoch refuses what may still arrive.
        let identity = if let Some(next) = next {
            next
        } else {
            let former = Some(self.identity);
            self.client.init_transactions(&self.id, self.timeout, former).await?
        };
        self.begin(identity);
        Ok(())
    }

    /// The identity of the next transaction, where it is another one.
    async fn end(&self, is_committed: bool) -> Result<Option<Identity>, Error> {
        let highest = if self.is_kip_890 { i16::MAX } else { END_TXN_BEFORE_KIP_890 };
        let (id, identity) = (&self.id, self.identity);
        let build = |_| requests::end(id, identity, is_committed);
        let read = |broker: &Arc<str>, answer: EndTxnResponse| requests::ended(broker, &answer);
        self.client.ask_coordinator(&self.coordinated(), highest, build, read).await
    }

    fn begin(&mut self, identity: Identity) {
        self.is_kip_890 = self.client.pool().transaction_version() >= KIP_890;
        self.identity = identity;
        self.is_open = false;
        self.partitions.clear();
        let produce_version = if self.is_kip_890 { i16::MAX } else { PRODUCE_BEFORE_KIP_890 };
        self.command(Command::Begin { identity, produce_version });
    }

    async fn flush(&self) -> Result<(), Error> {
        let (sender, flushed) = oneshot::channel();
        self.command(Command::Flush(sender));
        flushed.await.unwrap_or(Err(Error::Abandoned))
    }

    fn command(&self, command: Command) {
        // Its task ends after this value.
        let _ = self.producer.shared.commands.send(command);
    }

    fn coordinated(&self) -> Coordinated {
        Coordinated::Producer(self.id.to_string())
    }
}
