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

mod repeated {
    use super::*;

    #[tokio::test]
    async fn what_kafka_streams_copies_is_read_once_although_it_is_killed() {
        let (broker, stream) = (Broker::shared().await, Stream::new().await);
        let (input, output) = (broker.topic(6).await, &stream.topic);
        let java = Mutex::new(JavaProducer::start(broker.bootstrap()));
        let ends = async |topic: &str| java.lock().await.ends(topic).await;
        // More rows than are sent before the copy is whole.
        let sample = Sample::new(100_000);
        let producer = stream.producer_to(&input, &sample, &["--rate", "500/s"]);
        let consumer = stream.consumer().spawn();

        let copy = || StreamsCopy::start(broker.bootstrap(), &input, &input, output);
        let has_open_records = async || {
            let (stable, written) = ends(output).await;
            stable < written
        };
        let mut kills = 0;
        while aborted(&java, output).await == 0 {
            assert!(kills < 5, "none of them left a transaction open");
            let running = copy();
            eventually(VERY_LONG, has_open_records).await;
            running.kill9().await;
            kills += 1;
            // It runs out, unless it was about to be committed.
            eventually(LONG, async || !has_open_records().await).await;
        }
        let _running = copy();
        let (_, before) = ends(output).await;
        eventually(VERY_LONG, async || ends(output).await.0 > before).await;
        let sent = stop_producer(&producer);
        eventually(VERY_LONG, async || {
            committed(&java, &input, &input).await == ends(&input).await.0
        })
        .await;
        end_all(&[consumer]);
        stream.consume_to_end();

        assert_same_rows(&rows(&stream.target).await, &sent.expected_rows());
        let (aborted, written) = (aborted(&java, output).await, ends(output).await.1);
        // What the producer sends again on a slow machine is in the input twice.
        let read = ends(&input).await.1;
        let markers = written - read - aborted;
        assert!(read >= sent.rows() && aborted > 0 && markers > 0, "{read} {aborted} {markers}");
        let counted = stream.counted(&["aborted", "marker", "hole", "empty", "gap"]).await;
        assert_eq!(counted, [read, aborted, markers, 0, 0, 0]);
        stream.check_ledger().await;
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
        // So many records share a transaction.
        settings["max.batch.size"] = json!("256");
        connect.put("transactions", &settings).await;
        let consumer = stream.consumer().spawn();

        let sample = Sample::new(35_000);
        let expected = sample.expected_rows();
        let (before, after) = expected.split_at(30_000);
        let java = Mutex::new(JavaProducer::start(broker.bootstrap()));
        let ends = async || java.lock().await.ends(&stream.topic).await;
        insert(&source, before).await;
        let has_open_records = async || {
            let (stable, written) = ends().await;
            stable < written
        };
        eventually(VERY_LONG, has_open_records).await;
        connect.kill9().await;
        let (_, captured) = ends().await;
        assert!(captured < 30_000, "it was killed amid them: {captured}");
        connect.start_again().await;
        insert(&source, after).await;

        stream.until_read(sample.rows()).await;
        end_all(&[consumer]);
        stream.consume_to_end();
        stream.check_taken(&sample).await;
        let aborted = aborted(&java, &stream.topic).await;
        let markers = ends().await.1 - sample.rows() - aborted;
        assert!(markers > 0, "it writes transactions");
        let counted = stream.counted(&["aborted", "marker", "hole", "empty", "gap"]).await;
        assert_eq!(counted, [sample.rows(), aborted, markers, 0, 0, 0]);
    }
}

/// How many records of a topic of six partitions Kafka's own client leaves out as aborted, once all is decided.
async fn aborted(java: &Mutex<JavaProducer>, topic: &str) -> i64 {
    let mut java = java.lock().await;
    let mut aborted = 0;
    for partition in 0..6 {
        let all = java.read_all(topic, partition, false).await.len();
        aborted += all - java.read_all(topic, partition, true).await.len();
    }
    aborted.try_into().unwrap()
}

/// The sum of the offsets that a group has committed in a topic of six partitions.
async fn committed(java: &Mutex<JavaProducer>, group: &str, topic: &str) -> i64 {
    let mut java = java.lock().await;
    let mut sum = 0;
    for partition in 0..6 {
        sum += java.group_offset(group, topic, partition).await.unwrap_or(0);
    }
    sum
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
