//! Three brokers, of which some go away while they are written to and read from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ElectLeadersRequest, ElectLeadersResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tally_harness::eventually;
use tally_harness::kafka::{Cluster, JavaProducer, JavaRecord};
use tally_kafka_client::{
    Client, Fetch, Fetched, Isolation, Partition, Piece, ProducerSettings, Settings,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{ask, client, value};

/// A leader that dies is missed after three seconds, and the controller with it a little later.
const LONGEST_OUTAGE: Duration = Duration::from_secs(30);
/// Between an error and the next try.
const PAUSE: Duration = Duration::from_millis(50);
/// Records between two flushes.
const FLUSHED: i64 = 10;

/// Writes 0, 1, 2 and so on, as texts, until it is stopped.
struct Writer {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<i64>,
}

impl Writer {
    fn start(cluster: &Cluster, topic: &str) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut java = JavaProducer::start(&cluster.bootstrap());
        let (topic, is_stopped) = (topic.to_owned(), stopped.clone());
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !is_stopped.load(Ordering::Relaxed) {
                for number in written..written + FLUSHED {
                    let value = number.to_string();
                    let value = Some(value.as_bytes());
                    java.send(JavaRecord { topic: &topic, value, ..Default::default() }).await;
                }
                let offsets = java.flush().await;
                assert_eq!(offsets, (written..written + FLUSHED).collect::<Vec<_>>());
                written += FLUSHED;
            }
            written
        });
        Self { stopped, task }
    }

    /// The same by the producer of this crate, with several batches on their way.
    fn ours(cluster: &Cluster, topic: &str) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let settings = ProducerSettings { batch_bytes: 100, ..ProducerSettings::default() };
        let brokers = cluster.bootstrap().split(',').map(str::to_owned).collect();
        let producer = Client::new(Settings::new(brokers)).unwrap().producer(settings);
        let (topic, is_stopped) = (topic.to_owned(), stopped.clone());
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !is_stopped.load(Ordering::Relaxed) {
                let numbers = written..written + FLUSHED;
                let records = numbers.map(|number| value(number.to_string())).collect();
                let mut delivery = producer.send(&topic, records).await.unwrap();
                while let Err(undelivered) = delivery.wait().await {
                    assert!(undelivered.is_on_its_way, "{undelivered}");
                }
                written += FLUSHED;
            }
            written
        });
        Self { stopped, task }
    }

    /// How many records all replicas in sync have.
    async fn stop(self) -> i64 {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Reads 0, 1, 2 and so on, each once.
struct Reader {
    next: watch::Receiver<i64>,
}

impl Reader {
    fn start(partition: Partition) -> Self {
        let (sender, next) = watch::channel(0);
        tokio::spawn(read_on(partition, sender));
        Self { next }
    }

    /// Returns when so many records were read.
    async fn until(&mut self, count: i64) {
        let reached = timeout(LONGEST_OUTAGE, self.next.wait_for(|next| *next >= count)).await;
        let is_reached = reached.is_ok_and(|reached| reached.is_ok());
        assert!(is_reached, "only {} of {count}", *self.next.borrow());
    }

    /// Returns when so many more records were read than now.
    async fn on(&mut self, more: i64) {
        let now = *self.next.borrow();
        self.until(now + more).await;
    }
}

/// Ends with its reader.
async fn read_on(partition: Partition, progress: watch::Sender<i64>) {
    let (mut next, mut answered) = (0, Instant::now());
    while progress.send(next).is_ok() {
        match partition.fetch(Fetch::from(next)).await {
            Ok(Fetched::Answer(answer)) => {
                for piece in answer.batches {
                    let Piece::Records(batch) = piece else { panic!("{piece:?}") };
                    for record in batch.records() {
                        let value = record.value.unwrap();
                        assert_eq!((record.offset, &*value), (next, next.to_string().as_bytes()));
                        next += 1;
                    }
                }
                answered = Instant::now();
            }
            Ok(Fetched::Throttled(time)) => panic!("throttled for {time:?}"),
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                assert!(answered.elapsed() < LONGEST_OUTAGE, "{error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn leader(client: &Client, topic: &str) -> Option<i32> {
    client.topic(topic).await.ok()?.partitions[0].leader
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Returns when all three replicas are in sync.
async fn until_in_sync(cluster: &Cluster, topic: &str) {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    eventually(LONGEST_OUTAGE * 2, async || {
        let bootstrap = cluster.broker(1).bootstrap();
        let answer: MetadataResponse = ask(bootstrap, ApiKey::Metadata, 12, &request).await;
        answer.topics[0].partitions[0].isr_nodes.len() == 3
    })
    .await;
}

/// Has the first of its replicas lead the partition.
async fn elect_preferred(cluster: &Cluster, topic: &str) {
    let partitions = TopicPartitions::default().with_topic(name(topic)).with_partitions(vec![0]);
    let request = ElectLeadersRequest::default()
        .with_topic_partitions(Some(vec![partitions]))
        .with_timeout_ms(20_000);
    let bootstrap = cluster.broker(1).bootstrap();
    let answer: ElectLeadersResponse = ask(bootstrap, ApiKey::ElectLeaders, 2, &request).await;
    assert_eq!(answer.error_code, 0);
    let results = answer.replica_election_results.iter();
    let codes: Vec<_> = results
        .flat_map(|topic| topic.partition_result.iter().map(|partition| partition.error_code))
        .collect();
    assert_eq!(codes, [0]);
}

/// What was written is what the log holds.
async fn check_end(client: &Client, topic: &str, written: i64) {
    let partition = client.partition(topic, 0).await.unwrap();
    assert_eq!(partition.latest(Isolation::ReadCommitted).await.unwrap(), written);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_its_leader_is_killed_and_elected_again_each_record_is_read_once() {
    check_killed(Writer::start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_its_leader_is_killed_and_elected_again_each_record_is_written_once() {
    check_killed(Writer::ours).await;
}

async fn check_killed(start: fn(&Cluster, &str) -> Writer) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(1).await;
    let first = leader(&client(cluster.broker(1).bootstrap()), &topic).await.unwrap();
    // It knows of the others by the one that is about to die.
    let client = client(cluster.broker(first).bootstrap());
    let writer = start(&cluster, &topic);
    let mut reader = Reader::start(client.partition(&topic, 0).await.unwrap());
    reader.until(5 * FLUSHED).await;

    cluster.broker(first).kill9().await;
    reader.on(5 * FLUSHED).await;
    assert_ne!(leader(&client, &topic).await, Some(first));

    cluster.broker(first).start_again().await;
    until_in_sync(&cluster, &topic).await;
    elect_preferred(&cluster, &topic).await;
    eventually(LONGEST_OUTAGE, async || leader(&client, &topic).await == Some(first)).await;
    reader.on(5 * FLUSHED).await;

    let written = writer.stop().await;
    reader.until(written).await;
    check_end(&client, &topic, written).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_each_broker_is_restarted_each_record_is_read_once() {
    check_restarted(Writer::start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_each_broker_is_restarted_each_record_is_written_once() {
    check_restarted(Writer::ours).await;
}

async fn check_restarted(start: fn(&Cluster, &str) -> Writer) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(1).await;
    let client = client(cluster.broker(2).bootstrap());
    let writer = start(&cluster, &topic);
    let mut reader = Reader::start(client.partition(&topic, 0).await.unwrap());
    reader.until(5 * FLUSHED).await;
    for broker in cluster.brokers() {
        broker.stop().await;
        reader.on(5 * FLUSHED).await;
        broker.start_again().await;
        until_in_sync(&cluster, &topic).await;
    }
    let written = writer.stop().await;
    reader.until(written).await;
    check_end(&client, &topic, written).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_brokers_named_one_that_lives_is_enough() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(1).await;
    let dead = leader(&client(cluster.broker(1).bootstrap()), &topic).await.unwrap();
    cluster.broker(dead).kill9().await;
    let living = cluster.brokers().iter().map(|broker| broker.bootstrap());
    let living = living.filter(|address| *address != cluster.broker(dead).bootstrap());
    let brokers = [cluster.broker(dead).bootstrap()].into_iter().chain(living.take(1));
    let settings = Settings::new(brokers.map(str::to_owned).collect());
    let client = Client::new(settings).unwrap();

    let writer = Writer::start(&cluster, &topic);
    let mut reader = Reader::start(client.partition(&topic, 0).await.unwrap());
    reader.until(5 * FLUSHED).await;
    assert_ne!(leader(&client, &topic).await, Some(dead));
    let written = writer.stop().await;
    reader.until(written).await;
    check_end(&client, &topic, written).await;
}
