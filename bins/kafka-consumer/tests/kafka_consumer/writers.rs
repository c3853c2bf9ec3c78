//! Others that write exactly once, and are killed: Kafka Streams, and Debezium in Kafka Connect.

use crate::support::{Stream, VERY_LONG, end_all, stop_producer};
use serde_json::json;
use tally_harness::connect::{Connect, debezium};
use tally_harness::eventually;
use tally_harness::job::LONG;
use tally_harness::kafka::{Broker, JavaProducer, StreamsCopy};
use tally_harness::postgres::OwnPostgres;
use tally_harness::sample::{Sample, Texts, assert_same_rows, rows};
use tokio::sync::Mutex;

/// A kill now and then comes between two transactions.
const MOST_KILLS: u32 = 5;

mod repeated {
    use super::*;

    #[tokio::test]
    async fn what_kafka_streams_copies_is_read_once_although_it_is_killed() {
        let (broker, stream) = (Broker::shared().await, Stream::new().await);
        let input = Log::of(broker, broker.topic(6).await).await;
        let copied = Log::of(broker, &stream.topic).await;
        // More rows than are sent before the copy is whole.
        let sample = Sample::new(100_000);
        let producer = stream.producer_to(&input.topic, &sample, &["--rate", "500/s"]);
        let consumer = stream.consumer().spawn();

        let copy =
            || StreamsCopy::start(broker.bootstrap(), &input.topic, &input.topic, &copied.topic);
        for kills in 1.. {
            let running = copy();
            copied.until_open(i64::MAX).await;
            running.kill9().await;
            copied.until_decided().await;
            if copied.aborted().await > 0 {
                break;
            }
            assert!(kills < MOST_KILLS, "none left a transaction open");
        }
        let _running = copy();
        let before = copied.stable_end().await;
        eventually(VERY_LONG, async || copied.stable_end().await > before).await;
        let sent = stop_producer(&producer);
        // As many as the producer has sent, but for what it sends again on a slow machine.
        let read = input.stable_end().await;
        assert!(read >= sent.rows());
        eventually(VERY_LONG, async || input.committed_by(&input.topic).await == read).await;
        end_all(&[consumer]);
        stream.consume_to_end();

        assert_same_rows(&rows(&stream.target).await, &sent.expected_rows());
        copied.check_counted(&stream, read).await;
    }

    #[tokio::test]
    async fn what_debezium_captures_is_read_once_although_connect_is_killed() {
        let (broker, source) = (Broker::shared().await, OwnPostgres::logical().await);
        let connect = Connect::start(broker.bootstrap()).await;
        let mut stream = Stream::new().await;
        let prefix = std::mem::take(&mut stream.topic);
        stream.topic = format!("{prefix}.public.transactions");
        broker.create_topic(&stream.topic, 6).await;
        source
            .execute(
                "create table transactions (id text primary key, description text, amount numeric(12, 2), \
                 timestamp text, merchant text, operation_type text, side text)",
            )
            .await;
        let mut settings = debezium(&source, &prefix, "transactions");
        settings["transforms"] = json!("flat");
        settings["transforms.flat.type"] = json!("io.debezium.transforms.ExtractNewRecordState");
        // Most of the time a transaction is open, and without its producer it runs out soon.
        settings["transaction.boundary"] = json!("interval");
        settings["transaction.boundary.interval.ms"] = json!("2000");
        settings["producer.override.transaction.timeout.ms"] = json!("5000");
        connect.put("transactions", &settings).await;
        let consumer = stream.consumer().spawn();

        let expected = Sample::new(60_000).expected_rows();
        let mut chunks = expected.chunks(10_000);
        let captured = Log::of(broker, &stream.topic).await;
        for kills in 1.. {
            insert(&source, chunks.next().unwrap()).await;
            captured.until_open(10_000 * i64::from(kills)).await;
            connect.kill9().await;
            captured.until_decided().await;
            let aborted = captured.aborted().await;
            connect.start_again().await;
            if aborted > 0 {
                break;
            }
            assert!(kills < MOST_KILLS, "none left a transaction open");
        }
        insert(&source, chunks.next().unwrap()).await;
        let sample = Sample::new(60_000 - 10_000 * chunks.len() as u64);

        stream.until_read(sample.rows()).await;
        end_all(&[consumer]);
        stream.consume_to_end();
        stream.check_taken(&sample).await;
        captured.check_counted(&stream, sample.rows()).await;
    }
}

/// A topic of six partitions, as Kafka's own client sees it.
struct Log {
    java: Mutex<JavaProducer>,
    topic: String,
}

impl Log {
    /// Returns when the client answers.
    async fn of(broker: &Broker, topic: impl Into<String>) -> Self {
        let java = Mutex::new(JavaProducer::start(broker.bootstrap()));
        let log = Self { java, topic: topic.into() };
        log.ends().await;
        log
    }

    async fn ends(&self) -> (i64, i64) {
        self.java.lock().await.ends(&self.topic).await
    }

    /// The sum of the offsets up to which all transactions are decided.
    async fn stable_end(&self) -> i64 {
        self.ends().await.0
    }

    /// Returns when a transaction with records is open, or all that there are to come are decided.
    async fn until_open(&self, records: i64) {
        eventually(VERY_LONG, async || {
            let (stable, written) = self.ends().await;
            stable < written || stable >= records
        })
        .await;
    }

    /// Returns when none is, as that of a writer that was killed runs out; unless it was about to be committed.
    async fn until_decided(&self) {
        eventually(LONG, async || {
            let (stable, written) = self.ends().await;
            stable == written
        })
        .await;
    }

    /// How many records are left out as aborted. Only while nobody writes.
    async fn aborted(&self) -> i64 {
        let mut java = self.java.lock().await;
        let mut aborted = 0;
        for partition in 0..6 {
            let all = java.read_all(&self.topic, partition, false).await.len();
            aborted += all - java.read_all(&self.topic, partition, true).await.len();
        }
        aborted.try_into().unwrap()
    }

    /// The sum of the offsets that a group has committed.
    async fn committed_by(&self, group: &str) -> i64 {
        let mut java = self.java.lock().await;
        let mut sum = 0;
        for partition in 0..6 {
            sum += java.group_offset(group, &self.topic, partition).await.unwrap_or(0);
        }
        sum
    }

    /// The ledger has `read` of its records and every other offset, by what Kafka's own client says of them.
    async fn check_counted(&self, stream: &Stream, read: i64) {
        let aborted = self.aborted().await;
        let markers = self.stable_end().await - read - aborted;
        assert!(aborted > 0 && markers > 0, "{aborted} {markers}");
        let counted = stream.counted(&["aborted", "marker", "hole", "empty", "gap"]).await;
        assert_eq!(counted, [read, aborted, markers, 0, 0, 0]);
        stream.check_ledger().await;
    }
}

/// Rows of a sample, in one transaction: a connector sees them all at once.
async fn insert(source: &OwnPostgres, rows: &[Texts]) {
    let literal = |text: &Option<String>| match text {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => "null".to_owned(),
    };
    let tuple = |row: &Texts| {
        // The last one is the model's.
        let literals: Vec<_> = row[..7].iter().map(literal).collect();
        format!("({})", literals.join(", "))
    };
    let tuples: Vec<_> = rows.iter().map(tuple).collect();
    source.execute(&format!("insert into transactions values {}", tuples.join(", "))).await;
}
