//! What is in the topic: bad records, markers, gaps, formats, and where a group stands.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../csv-runner/tests/accounts/mod.rs"]
mod accounts;
mod stream;

use accounts::{LONG, Sample, assert_same_rows, ended_with, rows};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use stream::{Stream, VERY_LONG, address, get};
use tally_testkit::eventually;
use tally_testkit::job::{Job, Target};
use tally_testkit::kafka::{Broker, JavaProducer, JavaRecord, Record, record};
use tally_testkit::process::{Output, Signal};
use tally_testkit::registry::Registry;
use uuid::Uuid;

/// A good record as JSON, with `id` 1 and so on.
fn good(id: u32) -> Value {
    json!({
        "id": Uuid::from_u128(id.into()).to_string(), "description": "CB", "amount": -1.5, "merchant": null,
        "timestamp": "2024-01-15T08:30:00", "operation_type": "payment", "side": "debit", "more": {"x": 1},
    })
}

fn with(id: u32, field: &str, value: Value) -> Vec<u8> {
    let mut record = good(id);
    record[field] = value;
    record.to_string().into_bytes()
}

/// A record that is bad in the `n`th of ten ways, and the code that says so.
fn bad(id: u32) -> (Option<Vec<u8>>, &'static str) {
    match id % 10 {
        0 => (Some(b"{\"id\": 7".to_vec()), "json"),
        1 => (None, "tombstone"),
        2 => (Some(Vec::new()), "json"),
        3 => (Some(vec![0, 0, 0, 0, 9, 2, 200, 255]), "schema_unknown"),
        4 => (Some(with(id, "amount", Value::Null)), "amount_missing"),
        5 => (Some(with(id, "amount", json!("1,5"))), "amount_invalid"),
        6 => (Some(with(id, "side", json!("sideways"))), "side_unknown"),
        7 => (Some(with(id, "amount", json!(2))), "debit_sign"),
        8 => (Some(with(id, "timestamp", json!("yesterday"))), "timestamp_invalid"),
        _ => (Some(vec![b'{', 0xff, 0xfe]), "json"),
    }
}

/// Of every record its partition, offset, key and value, in hexadecimal, and its code.
type Sent = Vec<[String; 5]>;

fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "none".to_owned() };
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[tokio::test]
async fn a_topic_half_of_which_is_broken_in_ten_ways() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let dead_letters = broker.topic(1).await;
    let mut sent: Sent = Vec::new();
    let (mut expected_ids, mut id) = (Vec::new(), 0);
    for partition in 0..6 {
        let mut records: Vec<Record> = Vec::new();
        for _ in 0..400 {
            id += 1;
            let key = Uuid::from_u128(id.into()).to_string();
            if id % 2 == 0 {
                expected_ids.push(key.clone());
                records.push(record(Some(key.as_bytes()), Some(good(id).to_string().as_bytes())));
                continue;
            }
            let (value, code) = bad(id / 2);
            let offset = records.len().to_string();
            let key = (id % 4 == 1).then_some(key);
            let bytes = key.as_deref().map(str::as_bytes);
            records.push(record(bytes, value.as_deref()));
            sent.push([
                partition.to_string(),
                offset,
                hex(bytes),
                hex(value.as_deref()),
                code.to_owned(),
            ]);
        }
        broker.produce(&stream.topic, partition, records).await;
    }
    sent.sort();

    let consumer = stream.consumer().flags(["--until-end", "--dlq-topic", &dead_letters]).spawn();
    ended_with_in(&consumer.wait(VERY_LONG), 0);
    let ids = stream.target.query("select id from transactions order by id").await;
    let ids: Vec<String> = ids.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
    expected_ids.sort();
    assert_eq!(ids, expected_ids);

    let sql = "select partition, position, coalesce(encode(key, 'hex'), 'none'), \
               coalesce(encode(payload, 'hex'), 'none'), code from dead_letters";
    let mut in_table: Sent = Vec::new();
    for row in stream.target.query(sql).await {
        let row: Vec<String> = row.into_iter().map(Option::unwrap).collect();
        in_table.push(row.try_into().unwrap());
    }
    in_table.sort();
    assert_eq!(in_table, sent);
    stream.check_ledger().await;

    let mut in_topic: Sent = Vec::new();
    for found in broker.read_all(&dead_letters, 0).await {
        let event: Value = serde_json::from_slice(found.record.value.as_deref().unwrap()).unwrap();
        assert_eq!(
            (&event["topic"], &event["service"]),
            (&json!(stream.topic), &json!("kafka-consumer"))
        );
        let payload = match event["payload_encoding"].as_str().unwrap() {
            "none" => None,
            "utf8" => Some(event["payload"].as_str().unwrap().as_bytes().to_vec()),
            _ => Some(BASE64_STANDARD.decode(event["payload"].as_str().unwrap()).unwrap()),
        };
        let key = found.record.key.filter(|key| *key != event["id"].as_str().unwrap().as_bytes());
        in_topic.push([
            event["partition"].to_string(),
            event["offset"].to_string(),
            hex(key.as_deref()),
            hex(payload.as_deref()),
            event["error_type"].as_str().unwrap().to_owned(),
        ]);
    }
    in_topic.sort();
    assert_eq!(in_topic, sent);
}

#[tokio::test]
async fn masked_fields_reach_neither_the_table_nor_the_topic() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let dead_letters = broker.topic(1).await;
    let mut secret = good(1);
    secret["merchant"] = json!("Jane");
    secret["side"] = json!("sideways");
    let values = [secret.to_string(), "{\"merchant\": \"Jane\"".to_owned()];
    let records = values.iter().map(|value| record(Some(b"1"), Some(value.as_bytes()))).collect();
    broker.produce(&stream.topic, 0, records).await;
    let consumer = stream
        .consumer()
        .flags(["--until-end", "--dlq-topic", &dead_letters])
        .env("TALLY_PRIVACY__MASKED", "[\"merchant\"]")
        .spawn();
    ended_with_in(&consumer.wait(VERY_LONG), 0);
    let payloads = stream
        .target
        .query("select convert_from(payload, 'UTF8'), headers from dead_letters order by position")
        .await;
    let [masked, unreadable] = &payloads[..] else { panic!("{payloads:?}") };
    let payload: Value = serde_json::from_str(masked[0].as_deref().unwrap()).unwrap();
    assert_eq!((&payload["merchant"], &payload["side"]), (&json!("***"), &json!("sideways")));
    assert!(unreadable[0].as_deref().unwrap().starts_with("19 bytes, BLAKE3 "), "{unreadable:?}");
    assert!(masked[1].as_deref().unwrap().contains("masked"), "{masked:?}");
    let events = broker.read_all(&dead_letters, 0).await;
    assert_eq!(events.len(), 2);
    for event in events {
        let value = String::from_utf8(event.record.value.unwrap()).unwrap();
        assert!(!value.contains("Jane"), "{value}");
    }
}

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

/// Markers are passed without a flag. What an aborted transaction wrote is taken in like all else: the client does not
/// say which records these are.
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

    let ids = stream.target.number("select count(*) from transactions").await;
    assert_eq!(ids, 6, "those of aborted transactions among them");
    let ledger = "select first, last, read, gap from batches where read > 0 order by first";
    let found = stream.target.query(ledger).await;
    assert!(found.iter().all(|row| row[3].is_none()), "{found:?}");
    let next = "select next from positions where partition = 0";
    assert_eq!(stream.target.number(next).await, 10);
    assert_eq!(stream.target.number("select sum(read) from batches").await, 6);
    assert_eq!(stream.target.number("select count(*) from batches where gap is not null").await, 0);
    stream.check_ledger().await;
}

#[tokio::test]
async fn a_null_header_stops_its_partition_and_its_range_can_be_accepted_once() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let mut java = JavaProducer::start(broker.bootstrap());
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
    for id in [1, 2] {
        let value = good(id).to_string();
        let headers: &[(&str, Option<&[u8]>)] = &[("name", None)];
        let bad = JavaRecord {
            topic: &stream.topic,
            partition: Some(2),
            value: Some(value.as_bytes()),
            headers,
            ..Default::default()
        };
        java.send(bad).await;
    }
    java.flush().await; // offsets 1 and 2
    broker
        .produce(&stream.topic, 2, vec![record(None, Some(good(3).to_string().as_bytes()))])
        .await;

    let running = stream.consumer().spawn();
    let at = address(&running);
    stream.until_read(6).await;
    let range = format!("{}/2@1-2", stream.topic);
    running.wait_for_line(&format!("--accept-gap {range}"), LONG);
    assert_eq!(stream::ready(&at), 503);
    assert!(get(&at, "/metrics").contains("ingest_partition_blocked{partition=\"2\"} 1"));
    let owned =
        "select count(*) from positions where partition = 2 and lease_until > clock_timestamp()";
    assert_eq!(stream.target.number(owned).await, 1, "it stays owned");
    running.signal(Signal::SIGTERM);
    ended_with(&running, 143);

    let output = stream.consumer().flag("--until-end").spawn().wait(VERY_LONG);
    ended_with_in(&output, 65);
    assert!(output.stderr.contains(&range), "{output}");
    let wrong = format!("{}/2@1-3", stream.topic);
    let output =
        stream.consumer().flags(["--until-end", "--accept-gap", &wrong]).spawn().wait(VERY_LONG);
    ended_with_in(&output, 65);
    for _ in 0..2 {
        let accepting = stream.consumer().flags(["--until-end", "--accept-gap", &range]).spawn();
        ended_with_in(&accepting.wait(VERY_LONG), 0);
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

#[tokio::test]
async fn a_topic_that_was_deleted_and_made_again() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let produce = async |ids: std::ops::Range<u32>| {
        let records = ids.map(|id| record(None, Some(good(id).to_string().as_bytes())));
        broker.produce(&stream.topic, 0, records.collect()).await;
    };
    produce(0..10).await;
    stream.consume_to_end();
    broker.delete_topic(&stream.topic).await;
    broker.create_topic(&stream.topic, 6).await;
    produce(100..120).await;
    let output = stream.consumer().flag("--until-end").spawn().wait(VERY_LONG);
    ended_with_in(&output, 65);
    let range = format!("{}/0@0-9", stream.topic);
    assert!(output.stderr.contains("made anew") && output.stderr.contains(&range), "{output}");
    assert_eq!(stream.read().await, 10);

    let accepting = stream.consumer().flags(["--until-end", "--accept-gap", &range]).spawn();
    ended_with_in(&accepting.wait(VERY_LONG), 0);
    let passes = "select pass, next from positions where partition = 0 order by pass";
    let passes: Vec<_> = stream
        .target
        .query(passes)
        .await
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap).collect::<Vec<_>>())
        .collect();
    assert_eq!(passes, [["1", "10"], ["2", "20"]]);
    assert_eq!(stream.target.number("select count(*) from transactions").await, 30);
    stream.check_ledger().await;
}

#[tokio::test]
async fn a_misspelt_topic_is_a_wrong_setting_and_is_not_made() {
    let (broker, mut stream) = (Broker::shared().await, Stream::new().await);
    let topic = std::mem::take(&mut stream.topic);
    stream.topic = format!("{topic}s");
    let output = stream.consumer().spawn().wait(LONG);
    ended_with_in(&output, 78);
    assert!(
        output.stderr.contains(&format!("near name is {topic}")) || output.stderr.contains(&topic),
        "{output}"
    );
    let output = stream.consumer().spawn().wait(LONG);
    ended_with_in(&output, 78); // the first one made none
    assert_eq!(broker.offsets(&topic, 0).await, (0, 0));
}

#[tokio::test]
async fn where_a_new_group_begins_and_where_it_is_set() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let times = [1_000_000_000_000_i64, 1_100_000_000_000];
    for (id, time) in (1..).zip(times) {
        let timestamp = chrono::DateTime::from_timestamp_millis(time).unwrap();
        let value = good(id).to_string();
        broker
            .produce(
                &stream.topic,
                0,
                vec![Record { timestamp, ..record(None, Some(value.as_bytes())) }],
            )
            .await;
    }
    let run = |group: &str, start: &str| {
        let flags = ["--until-end", "--group", group, "--start", start];
        ended_with_in(&stream.consumer().flags(flags).spawn().wait(VERY_LONG), 0);
    };
    run("early", "earliest");
    run("late", "latest");
    run("timely", "2002-01-01T00:00:00Z");
    let of = async |group: &str| {
        let sql = format!(
            "select coalesce(sum(read), 0) from batches where stream = '{group}/{}'",
            stream.topic
        );
        stream.target.number(&sql).await
    };
    assert_eq!([of("early").await, of("late").await, of("timely").await], [2, 0, 1]);

    let positions = |args: &[&str]| {
        let flags =
            ["positions"].into_iter().chain(args.iter().copied()).chain(["--group", "early"]);
        stream.consumer().flags(flags).spawn().wait(LONG)
    };
    let shown = positions(&["show"]);
    ended_with_in(&shown, 0);
    let line = shown.stdout.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line, ["0", "1", "2", "2", "0", "-"], "{shown}");
    ended_with_in(&positions(&["set", "--partition", "0", "--to", "7"]), 78);
    ended_with_in(&positions(&["set", "--partition", "9", "--to", "0"]), 78);
    ended_with_in(&positions(&["set", "--partition", "0", "--to", "somewhere"]), 78);
    ended_with_in(
        &positions(&["set", "--partition", "0", "--to", "2002-01-01", "--reason", "again"]),
        78,
    );
    ended_with_in(
        &positions(&[
            "set",
            "--partition",
            "0",
            "--to",
            "2002-01-01T00:00:00Z",
            "--reason",
            "again",
        ]),
        0,
    );
    run("early", "earliest");
    assert_eq!(of("early").await, 3);
    let gap = "select first, last, read from batches where gap like '%again%'";
    assert_eq!(stream.target.query(gap).await.len(), 1);

    let owner = stream.consumer().flags(["--group", "early"]).spawn();
    stream.until_all_owned(None).await;
    let output = positions(&["set", "--partition", "0", "--to", "0"]);
    ended_with_in(&output, 75);
    drop(owner);
    stream.check_ledger().await;
}

#[tokio::test]
async fn sqlite_serves_one_consumer() {
    let stream = Stream::into(Target::sqlite()).await;
    let sample = Sample::new(500);
    stream.feed(&sample);
    let first = stream.consumer().spawn();
    stream.until_read(500).await;
    let second = stream.consumer().spawn().wait(LONG);
    ended_with_in(&second, 75);
    assert!(second.stderr.contains("serves one process"), "{second}");
    first.signal(Signal::SIGTERM);
    ended_with(&first, 143);
    stream.consume_to_end();
    assert_same_rows(&rows(&stream.target).await, &sample.expected_rows());
}

#[tokio::test]
async fn avro_through_the_registry() {
    let (stream, registry, sample) =
        (Stream::new().await, Registry::shared().await, Sample::new(2_000));
    let producer = tally_testkit::process::Launch::new(tally_testkit::process::binary("producer"))
        .args([
            sample.path().to_str().unwrap(),
            "--brokers",
            &stream.brokers,
            "--topic",
            &stream.topic,
        ])
        .args(["--format", "avro"])
        .env("SCHEMA_REGISTRY_URL", registry.url())
        .spawn();
    ended_with_in(&producer.wait(VERY_LONG), 0);
    let consumer =
        stream.consumer().flag("--until-end").env("SCHEMA_REGISTRY_URL", registry.url()).spawn();
    ended_with_in(&consumer.wait(VERY_LONG), 0);
    stream.check_taken(&sample).await;
}

/// Nothing waits for the topic of dead letters, and nothing is lost while it is not there.
#[tokio::test]
async fn dead_letters_wait_for_their_topic() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let sample = Sample::spoiled(1_000, 0.2);
    let dead_letters = format!("{}-dead", stream.topic);
    let job = || {
        Job::new(&stream.target.url())
            .model(stream.model.url())
            .file(sample.path())
            .env("KAFKA_BOOTSTRAP_SERVERS", &stream.brokers)
            .env("DLQ_TOPIC", &dead_letters)
    };
    let output = job().env("TALLY_DRAIN", "1s").spawn().wait(LONG);
    ended_with_in(&output, 0);
    let published = "select count(*) from dead_letters where published_at is not null";
    assert_eq!(stream.target.number("select count(*) from dead_letters").await, 200);
    assert_eq!(stream.target.number(published).await, 0);
    assert!(output.stderr.contains("dead letters"), "{output}");

    broker.create_topic(&dead_letters, 1).await;
    let consumer = stream.consumer().flags(["--dlq-topic", &dead_letters]).spawn();
    eventually(LONG, async || stream.target.number(published).await == 200).await;
    let at = address(&consumer);
    eventually(LONG, async || get(&at, "/metrics").contains("ingest_relay_backlog 0")).await;
    consumer.signal(Signal::SIGTERM);
    ended_with(&consumer, 143);
    let events = broker.read_all(&dead_letters, 0).await;
    assert_eq!(events.len(), 200);
    let event: Value = serde_json::from_slice(events[0].record.value.as_deref().unwrap()).unwrap();
    assert_eq!((&event["source"], &event["topic"]), (&json!("file"), &Value::Null));
    ended_with_in(&job().flag("--again").spawn().wait(LONG), 0);
    assert_eq!(broker.read_all(&dead_letters, 0).await.len(), 400, "drained before it ended");
}

#[tokio::test]
async fn lag_is_measured_while_nothing_goes_on() {
    let stream = Stream::new().await;
    stream.feed(&Sample::new(600));
    let consumer = stream.consumer_with("http://127.0.0.1:9").spawn();
    let at = address(&consumer);
    let sum = |name: &str| -> f64 {
        let metrics = get(&at, "/metrics");
        let lines =
            metrics.lines().filter(|line| line.starts_with(name) && line.contains(&stream.topic));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    eventually(LONG, async || (sum("kafka_lag_records{") - 600.0).abs() < 0.5).await;
    eventually(LONG, async || sum("kafka_oldest_unprocessed_seconds{") > 1.0).await;
    assert_eq!(stream::ready(&at), 503);
}

/// A tombstone, an empty value, and a record just below the broker's limit of a mebibyte.
#[tokio::test]
async fn records_at_the_limits() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let mut large = good(1);
    large["more"] = json!("x".repeat(1024 * 1024 - 1_000));
    let records = vec![
        record(Some(b"1"), Some(large.to_string().as_bytes())),
        record(Some(b"2"), None),
        record(None, Some(b"")),
    ];
    for record in records {
        broker.produce(&stream.topic, 0, vec![record]).await;
    }
    stream.consume_to_end();
    assert_eq!(stream.target.number("select count(*) from transactions").await, 1);
    let codes = "select code, payload is null, key is null from dead_letters order by position";
    let codes: Vec<Vec<String>> = stream
        .target
        .query(codes)
        .await
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap).collect())
        .collect();
    assert_eq!(codes, [["tombstone", "t", "f"], ["json", "f", "t"]]);
}

#[tokio::test]
async fn a_topic_of_nothing_but_bad_records_is_not_buried() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let records = (0..2_000).map(|_| record(None, Some(b"nonsense"))).collect();
    broker.produce(&stream.topic, 0, records).await;
    let output = stream.consumer().flag("--until-end").spawn().wait(VERY_LONG);
    ended_with_in(&output, 65);
    assert!(
        output.stderr.contains("1000 records in a row") && output.stderr.contains("json (1000)"),
        "{output}"
    );
    assert_eq!(stream.target.number("select count(*) from dead_letters").await, 800);
    assert_eq!(stream.target.number("select next from positions where partition = 0").await, 800);
}

#[track_caller]
fn ended_with_in(output: &Output, code: i32) {
    assert_eq!(output.code, Some(code), "{output}");
}
