//! What is in the log beside records: markers, gaps, what cannot be read, another topic of the same name.

use serde_json::{Value, json};

use crate::support;

use crate::support::{Stream, VERY_LONG, address, assert_code, end_all, get, good, peak_memory};
use tally_harness::eventually;
use tally_harness::job::{LONG, ended_with};
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord, record};
use tally_harness::process::Signal;
use tokio::sync::Mutex;

/// How many bytes a record of a gzip bomb takes.
const RECORD: usize = 100_000;
/// All of them together.
const BOMB: usize = 150_000_000;
/// What one batch may take.
const LIMIT: usize = 8 << 20;

#[tokio::test]
async fn a_compacted_topic_is_read_whole() {
    let broker = Broker::shared().await;
    let settings = "cleanup.policy=compact,segment.ms=100,min.cleanable.dirty.ratio=0.001";
    let mut stream = Stream::new().await;
    stream.topic = broker.topic_with(1, settings).await;
    let version =
        |id: u32| record(Some(id.to_string().as_bytes()), Some(good(id).to_string().as_bytes()));
    broker.produce(&stream.topic, 0, (1..=50).map(version).collect()).await;
    broker.produce(&stream.topic, 0, (25..=50).map(version).collect()).await;
    eventually(VERY_LONG, async || {
        broker.produce(&stream.topic, 0, vec![version(51)]).await;
        let left = broker.read_all(&stream.topic, 0).await;
        left.first().is_some_and(|first| first.offset == 0)
            && left.iter().all(|record| !(24..50).contains(&record.offset))
    })
    .await;
    stream.consume_to_end();
    assert_eq!(stream.target.number("select count(*) from transactions").await, 51);
    let (_, end) = broker.offsets(&stream.topic, 0).await;
    assert_eq!(stream.target.number("select next from positions").await, end);
    stream.check_ledger().await;
}

/// Neither the ends of transactions nor what an aborted one wrote is taken in, and the ledger counts both.
#[tokio::test]
async fn transactions_in_the_middle_and_at_the_end() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let mut java = JavaProducer::start(broker.bootstrap());
    let values: Vec<String> = (1..=6).map(|id| good(id).to_string()).collect();
    let send = |index: usize| JavaRecord {
        topic: &stream.topic,
        partition: Some(0),
        value: Some(values[index].as_bytes()),
        ..Default::default()
    };
    java.send(send(0)).await; // 0
    java.flush().await;
    for (index, commits) in [(1, true), (2, false), (3, true)] {
        java.begin().await;
        java.send(send(index)).await; // 1, 3, 5
        if commits {
            java.commit().await
        } else {
            java.abort().await
        }; // 2, 4, 6
    }
    stream.consume_to_end();
    java.send(send(4)).await; // 7
    java.flush().await;
    java.begin().await;
    java.send(send(5)).await; // 8
    java.abort().await; // 9
    stream.consume_to_end();

    assert_eq!(stream.target.number("select count(*) from transactions").await, 4);
    let passed = "select sum((passed->>'marker')::int), sum((passed->>'aborted')::int), sum(read), count(gap) \
        from batches";
    let expected = ["4", "2", "4", "0"].map(|sum| Some(sum.to_owned()));
    assert_eq!(stream.target.query(passed).await, [expected]);
    let next = "select next from positions where partition = 0";
    assert_eq!(stream.target.number(next).await, 10);
    stream.check_ledger().await;
}

#[tokio::test]
async fn headers_of_a_dead_letter_are_those_of_its_record() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let mut java = JavaProducer::start(broker.bootstrap());
    let headers: &[(&str, Option<&[u8]>)] = &[("b", Some(b"1")), ("a", None), ("b", Some(b""))];
    let bad = JavaRecord { topic: &stream.topic, value: Some(b"{"), headers, ..Default::default() };
    java.send(bad).await;
    java.flush().await;
    stream.consume_to_end();
    let headers = stream.target.query("select headers::text from dead_letters").await;
    let headers: Value = serde_json::from_str(headers[0][0].as_deref().unwrap()).unwrap();
    assert_eq!(headers, json!([["b", "MQ=="], ["a", null], ["b", ""]]));
}

#[tokio::test]
async fn a_batch_over_the_limit_stops_its_partition_and_its_range_can_be_accepted_once() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let consumer = || stream.consumer().env("TALLY_KAFKA__MAX_BATCH_BYTES", "1024");
    for partition in 0..6 {
        let key = 100 + u32::try_from(partition).unwrap();
        broker
            .produce(
                &stream.topic,
                partition,
                vec![record(None, Some(good(key).to_string().as_bytes()))],
            )
            .await;
    }
    let large = vec![b' '; 600];
    broker.produce(&stream.topic, 2, vec![record(None, Some(&large)); 2]).await; // 1 and 2
    broker
        .produce(&stream.topic, 2, vec![record(None, Some(good(3).to_string().as_bytes()))])
        .await;

    let running = consumer().spawn();
    let at = address(&running);
    stream.until_read(6).await;
    let range = format!("{}/2@1-2", stream.topic);
    running.wait_for_line("raise kafka.max_batch_bytes to read it", LONG);
    running.wait_for_line(&format!("--accept-gap {range}"), LONG);
    assert_eq!(support::ready(&at), 503);
    assert!(get(&at, "/metrics").contains("ingest_partition_blocked{partition=\"2\"} 1"));
    let lag = format!("kafka_lag_records{{topic=\"{}\",partition=\"2\"}} 3", stream.topic);
    eventually(LONG, async || get(&at, "/metrics").contains(&lag)).await;
    let age =
        format!("kafka_oldest_unprocessed_seconds{{topic=\"{}\",partition=\"2\"}} ", stream.topic);
    let age =
        || get(&at, "/metrics").lines().find_map(|line| line.strip_prefix(&age)?.parse().ok());
    eventually(LONG, async || age().is_some_and(|seconds: f64| seconds > 1.0)).await;
    let owned =
        "select count(*) from positions where partition = 2 and lease_until > clock_timestamp()";
    assert_eq!(stream.target.number(owned).await, 1, "it stays owned");
    running.signal(Signal::SIGTERM);
    ended_with(&running, 143);

    let output = consumer().flag("--until-end").spawn().wait(VERY_LONG);
    assert_code(&output, 65);
    assert!(output.stderr.contains(&range), "{output}");
    let wrong = format!("{}/2@1-3", stream.topic);
    let output = consumer().flags(["--until-end", "--accept-gap", &wrong]).spawn().wait(VERY_LONG);
    assert_code(&output, 65);
    stream.target.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = '53100'; end $$; \
         create trigger refuse before insert on acts for each row execute function refuse()",
    ).await;
    let accepting = consumer().flags(["--accept-gap", &range]).env("TALLY_DRAIN", "1s");
    let accepting = accepting.spawn();
    accepting.wait_for_line("unavailable, retrying", LONG);
    accepting.signal(Signal::SIGTERM);
    ended_with(&accepting, 143);
    stream.target.execute("drop trigger refuse on acts").await;
    for _ in 0..2 {
        let accepting = consumer().flags(["--until-end", "--accept-gap", &range]).spawn();
        assert_code(&accepting.wait(VERY_LONG), 0);
    }
    let gaps = "select first, last, read, gap is not null from batches where gap is not null";
    let texts =
        |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
    assert_eq!(stream.target.query(gaps).await, [texts(&["1", "2", "0", "t"])]);
    let acts = "select verb, target from acts";
    assert_eq!(stream.target.query(acts).await, [texts(&["gap accepted", &range])]);
    assert_eq!(stream.target.number("select count(*) from transactions").await, 7);
    stream.check_ledger().await;
}

/// Larger than an answer of a broker may be.
#[tokio::test]
async fn a_batch_over_the_limit_as_it_was_sent_stops_its_partition_alone() {
    let (broker, mut stream) = (Broker::shared().await, Stream::new().await);
    stream.topic = broker.topic_with(2, "max.message.bytes=8388608").await;
    let text = |id: u32| record(None, Some(good(id).to_string().as_bytes()));
    let large = vec![b' '; 1_000_000];
    broker.produce(&stream.topic, 0, vec![text(1)]).await;
    broker.produce(&stream.topic, 0, vec![record(None, Some(&large)); 3]).await; // 1 to 3
    broker.produce(&stream.topic, 0, vec![text(2)]).await;
    broker.produce(&stream.topic, 1, vec![text(3)]).await;

    let consumer = || {
        let consumer = stream.consumer().env("TALLY_KAFKA__MAX_BATCH_BYTES", "100000");
        consumer.flag("--until-end")
    };
    let output = consumer().spawn().wait(VERY_LONG);
    assert_code(&output, 65);
    let range = format!("{}/0@1-3", stream.topic);
    for named in ["it takes 30", " as it was sent", "raise kafka.max_batch_bytes", &range] {
        assert!(output.stderr.contains(named), "{named}: {output}");
    }
    assert_eq!(stream.read().await, 2, "what is before it, and the other partition");
    let accepting = consumer().flags(["--accept-gap", &range]).spawn();
    assert_code(&accepting.wait(VERY_LONG), 0);
    assert_eq!(stream.target.number("select count(*) from transactions").await, 3);
    assert_eq!(stream.counted(&["gap"]).await, [3, 3]);
    stream.check_ledger().await;
}

/// Some hundred kilobytes become more memory than the process takes in all.
#[tokio::test]
async fn of_a_gzip_bomb_no_more_than_the_limit_is_unpacked() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let filler = "x".repeat(RECORD);
    let large = |id: u32| {
        let mut large = good(id);
        large["more"] = json!(filler);
        record(None, Some(large.to_string().as_bytes()))
    };
    broker.produce_gzip(&stream.topic, 0, (1..=50).map(large).collect()).await;
    let bomb = vec![large(0); BOMB / RECORD];
    let bomb = broker.produce_gzip(&stream.topic, 0, bomb).await;
    let range = format!("{}/0@{}-{}", stream.topic, bomb[0], bomb[bomb.len() - 1]);

    let consumer = || stream.consumer().env("TALLY_KAFKA__MAX_BATCH_BYTES", LIMIT.to_string());
    let running = consumer().spawn();
    let line = running.wait_for_line(&format!("--accept-gap {range}"), VERY_LONG);
    let size = format!("bytes unpacked (gzip), over the limit of {LIMIT}");
    assert!(line.contains(&size) && line.contains("raise kafka.max_batch_bytes"), "{line}");
    let peak = peak_memory(&running);
    assert!(peak < BOMB * 2 / 3, "{} MiB", peak >> 20);
    end_all(&[running]);
    assert_eq!(stream.target.number("select count(*) from transactions").await, 50);

    let output = consumer().flag("--until-end").spawn().wait(VERY_LONG);
    assert_code(&output, 65);
    assert!(output.stderr.contains(&range), "{output}");
    stream.check_ledger().await;
}

/// Good records into partition 0.
async fn produce(broker: &Broker, stream: &Stream, ids: std::ops::Range<u32>) {
    let records = ids.map(|id| record(None, Some(good(id).to_string().as_bytes())));
    broker.produce(&stream.topic, 0, records.collect()).await;
}

#[tokio::test]
async fn a_topic_that_was_deleted_and_recreated() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    produce(broker, &stream, 0..10).await;
    stream.consume_to_end();
    broker.delete_topic(&stream.topic).await;
    broker.create_topic(&stream.topic, 6).await;
    produce(broker, &stream, 100..120).await;
    let output = stream.consumer().flag("--until-end").spawn().wait(VERY_LONG);
    assert_code(&output, 65);
    let range = format!("{}/0@0-9", stream.topic);
    assert!(output.stderr.contains("recreated") && output.stderr.contains(&range), "{output}");
    assert_eq!(stream.read().await, 10);

    let accepting = stream.consumer().flags(["--until-end", "--accept-gap", &range]).spawn();
    assert_code(&accepting.wait(VERY_LONG), 0);
    let passes = "select pass, log, next from positions where partition = 0 order by pass";
    let passes: Vec<_> = stream
        .target
        .query(passes)
        .await
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap).collect::<Vec<_>>())
        .collect();
    assert_eq!(passes, [["1", "1", "10"], ["2", "2", "20"]]);
    assert_eq!(stream.target.number("select count(*) from transactions").await, 30);
    stream.check_ledger().await;
}

#[tokio::test]
async fn a_position_set_in_a_recreated_topic_begins_another_log() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    produce(broker, &stream, 0..10).await;
    stream.consume_to_end();
    let set = |to: &str| {
        let flags = ["positions", "set", "--partition=0", "--to", to];
        assert_code(&stream.consumer().flags(flags).spawn().wait(VERY_LONG), 0);
    };
    set("5"); // the same log
    stream.consume_to_end();
    broker.delete_topic(&stream.topic).await;
    broker.create_topic(&stream.topic, 6).await;
    produce(broker, &stream, 100..120).await;
    set("12");
    stream.consume_to_end();
    set("earliest");
    stream.consume_to_end();

    let passes = "select pass, log, next from positions where partition = 0 order by pass";
    let expected = [["1", "1", "10"], ["2", "1", "10"], ["3", "2", "20"], ["4", "2", "20"]];
    let expected = expected.map(|row| row.map(|value| Some(value.to_owned())).to_vec());
    assert_eq!(stream.target.query(passes).await, expected);
    assert_eq!(stream.target.number("select count(*) from transactions").await, 30);
    stream.check_ledger().await;
}

#[tokio::test]
async fn positions_are_reported_to_the_consumer_group_if_that_is_set() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    produce(broker, &stream, 0..10).await;
    let java = Mutex::new(JavaProducer::start(broker.bootstrap()));
    // Other tests read other topics as the same group.
    let reported = async || java.lock().await.group_offset("tally", &stream.topic, 0).await;
    stream.consume_to_end();
    assert_eq!(reported().await, None);

    let reporting = stream.consumer().env("TALLY_KAFKA__REPORT_OFFSETS", "true").spawn();
    produce(broker, &stream, 10..15).await;
    eventually(LONG, async || reported().await == Some(15)).await;
    // What was committed since the last report is reported at the end.
    produce(broker, &stream, 15..16).await;
    stream.until_read(16).await;
    reporting.signal(Signal::SIGTERM);
    ended_with(&reporting, 143);
    assert_eq!(reported().await, Some(16));
}

#[tokio::test]
async fn records_that_were_deleted_before_they_were_read() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    produce(broker, &stream, 0..10).await;
    stream.consume_to_end();
    produce(broker, &stream, 10..20).await;
    broker.delete_records(&stream.topic, 0, 15).await;
    let output = stream.consumer().flag("--until-end").spawn().wait(VERY_LONG);
    assert_code(&output, 65);
    let range = format!("{}/0@10-14", stream.topic);
    assert!(output.stderr.contains(&range), "{output}");
    assert_eq!(stream.read().await, 10, "nothing is read behind the hole");

    let accepting = stream.consumer().flags(["--until-end", "--accept-gap", &range]).spawn();
    assert_code(&accepting.wait(VERY_LONG), 0);
    let gap = "select count(*) from batches where first = 10 and last = 14 and read = 0 and gap is not null";
    assert_eq!(stream.target.number(gap).await, 1);
    assert_eq!(stream.target.number("select count(*) from transactions").await, 15);
    stream.check_ledger().await;
}
