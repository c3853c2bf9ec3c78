use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::error::Error;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use tokio::time::timeout;
use uuid::Uuid;

use crate::background::{background, blocking};
use crate::service::{Script, Service, WIPE_IDLE, shared_folder};
use tally_testkit::eventually;

const SCRIPT: Script = Script {
    name: "kafka.sh",
    cleared: &[
        "KAFKA_CERTIFICATE_DAYS",
        "KAFKA_CLUSTER_ID",
        "KAFKA_CONTROLLER_PORT",
        "KAFKA_SECURITY",
        "KAFKA_SETTINGS",
        "KAFKA_VERSION",
    ],
};
const DEADLINE: Duration = Duration::from_secs(20);
const DEADLINE_MS: i32 = 20_000;
const FETCH_BYTES: i32 = 8 << 20;

/// A broker. What its methods do is acknowledged by the broker when they return; they panic when it does not answer
/// within 20 s.
pub struct Broker {
    pub(super) service: Arc<Service>,
    bootstrap: String,
}

impl Broker {
    /// The broker of all test processes of this user in this checkout: nobody may stop or freeze it. Panics, saying
    /// what to install, where it cannot be started.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        let start = || Broker::start(shared_folder("kafka"), WIPE_IDLE, Vec::new());
        blocking(move || SHARED.get_or_init(start)).await
    }

    /// With more settings of the script.
    pub(super) fn start(
        folder: PathBuf,
        wipe_idle: Duration,
        more: Vec<(&'static str, String)>,
    ) -> Self {
        let mut settings = vec![
            ("KAFKA_PORT", "0".to_owned()),
            ("KAFKA_HEAP", "384m".to_owned()),
            // Halves the work of a start; a broker that lives long would be slower for it.
            ("KAFKA_JAVA_OPTS", "-XX:TieredStopAtLevel=1".to_owned()),
            ("KAFKA_WIPE_IDLE", wipe_idle.as_secs().to_string()),
        ];
        settings.extend(more);
        let service = Service::start(SCRIPT, folder, settings);
        let bootstrap = service.run(&["url"]);
        Self { service: Arc::new(service), bootstrap }
    }

    /// Where clients begin: `127.0.0.1:PORT`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A new topic of a unique name, which it returns; ready for use.
    pub async fn topic(&self, partitions: i32) -> String {
        let name = unique();
        self.create_topic(&name, partitions).await;
        name
    }

    /// The same with settings: `cleanup.policy=compact,segment.ms=100`. Takes a second.
    pub async fn topic_with(&self, partitions: i32, settings: &str) -> String {
        let name = unique();
        let (service, spec) =
            (Arc::clone(&self.service), format!("{name}:{partitions}:{settings}"));
        blocking(move || service.run(&["topics", &spec])).await;
        name
    }

    /// The first bytes of a partition as the broker keeps them.
    pub fn segment(&self, topic: &str, partition: i32) -> Vec<u8> {
        let path = self.segment_path(topic, partition);
        fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    pub(super) fn segment_path(&self, topic: &str, partition: i32) -> PathBuf {
        let log = format!("kafka/data/{topic}-{partition}/00000000000000000000.log");
        self.service.folder().join(log)
    }

    /// Adds partitions to a topic until it has so many. Takes a second.
    pub async fn grow_topic(&self, name: &str, partitions: i32) {
        let (service, spec) = (Arc::clone(&self.service), format!("{name}:{partitions}"));
        blocking(move || service.run(&["topics", &spec])).await;
    }

    /// A new topic of that name; ready for use.
    pub async fn create_topic(&self, name: &str, partitions: i32) {
        let name = name.to_owned();
        self.ask("create a topic", async move |client| {
            client.controller_client()?.create_topic(&name, partitions, 1, DEADLINE_MS).await?;
            for partition in 0..partitions {
                open(&client, &name, partition).await?.get_offset(OffsetAt::Latest).await?;
            }
            Ok(())
        })
        .await;
    }

    /// Returns when no client sees it any more.
    pub async fn delete_topic(&self, name: &str) {
        let name = name.to_owned();
        self.ask("delete a topic", async move |client| {
            client.controller_client()?.delete_topic(&name, DEADLINE_MS).await?;
            eventually(DEADLINE, async || {
                let topics = client.list_topics().await.unwrap_or_default();
                !topics.iter().any(|topic| topic.name == name)
            })
            .await;
            Ok(())
        })
        .await;
    }

    /// Writes records as one batch and returns their offsets.
    pub async fn produce(&self, topic: &str, partition: i32, records: Vec<Record>) -> Vec<i64> {
        self.produce_packed(topic, partition, records, Compression::NoCompression).await
    }

    /// The same, compressed by gzip.
    pub async fn produce_gzip(
        &self,
        topic: &str,
        partition: i32,
        records: Vec<Record>,
    ) -> Vec<i64> {
        self.produce_packed(topic, partition, records, Compression::Gzip).await
    }

    async fn produce_packed(
        &self,
        topic: &str,
        partition: i32,
        records: Vec<Record>,
        compression: Compression,
    ) -> Vec<i64> {
        let topic = topic.to_owned();
        self.ask("produce", async move |client| {
            open(&client, &topic, partition).await?.produce(records, compression).await
        })
        .await
    }

    /// All that a partition holds now, up to its last stable offset. It must be fit for rskafka: no transactions, no null headers.
    pub async fn read_all(&self, topic: &str, partition: i32) -> Vec<RecordAndOffset> {
        let topic = topic.to_owned();
        self.ask("read", async move |client| {
            let partition = open(&client, &topic, partition).await?;
            let mut next = partition.get_offset(OffsetAt::Earliest).await?;
            let end = partition.get_offset(OffsetAt::Latest).await?;
            let mut read = Vec::new();
            while next < end {
                let (records, _) = partition.fetch_records(next, 1..FETCH_BYTES, 500).await?;
                next = records.last().map_or(end, |last| last.offset + 1);
                read.extend(records);
            }
            Ok(read)
        })
        .await
    }

    /// The first offset that a partition still has and its last stable offset: the one that its next record will get,
    /// unless a transaction is open.
    pub async fn offsets(&self, topic: &str, partition: i32) -> (i64, i64) {
        let topic = topic.to_owned();
        self.ask("ask for offsets", async move |client| {
            let partition = open(&client, &topic, partition).await?;
            let first = partition.get_offset(OffsetAt::Earliest).await?;
            Ok((first, partition.get_offset(OffsetAt::Latest).await?))
        })
        .await
    }

    /// Removes what lies before an offset, as retention would.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let topic = topic.to_owned();
        self.ask("delete records", async move |client| {
            open(&client, &topic, partition).await?.delete_records(before, DEADLINE_MS).await
        })
        .await;
    }

    /// With a client of its own each time, beside the test's runtime, so that neither a test that ends nor a broker
    /// that was killed leaves us a dead connection.
    async fn ask<T, F, Fut>(&self, what: &'static str, ask: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(Client) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Error>> + Send,
    {
        let bootstrap = self.bootstrap.clone();
        background(async move {
            let retries = BackoffConfig {
                init_backoff: Duration::from_millis(20),
                max_backoff: Duration::from_millis(500),
                base: 2.,
                deadline: Some(DEADLINE),
            };
            let answer = timeout(DEADLINE, async {
                let builder = ClientBuilder::new(vec![bootstrap]).backoff_config(retries);
                ask(builder.build().await?).await
            });
            let Ok(answer) = answer.await else {
                panic!("cannot {what}: no answer within {DEADLINE:?}")
            };
            answer.unwrap_or_else(|error| panic!("cannot {what}: {error}"))
        })
        .await
    }
}

async fn open(client: &Client, topic: &str, partition: i32) -> Result<PartitionClient, Error> {
    client.partition_client(topic, partition, UnknownTopicHandling::Retry).await
}

fn unique() -> String {
    format!("t-{}", Uuid::now_v7().simple())
}
