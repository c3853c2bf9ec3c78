//! `tail`: what it prints of a topic, and that it leaves nothing behind.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tally_harness::job::{LONG, ended_with};
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord, OwnKafka, Record, record};
use tally_harness::process::{Launch, Output, Signal, binary};
use tally_harness::registry::Registry;
use tempfile::TempDir;

use crate::support::{VERY_LONG, assert_code};

const JSON_SCHEMA: &str =
    r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}"#;

fn tail(brokers: &str, topic: &str) -> Launch {
    let launch = Launch::new(binary("kafka-consumer")).args(["tail", topic, "--brokers", brokers]);
    launch.env("LOG_FORMAT", "pretty")
}

/// All that the topic holds, with these flags, until the end.
async fn whole(topic: &str, flags: &[&str]) -> Launch {
    let launch = tail(Broker::shared().await.bootstrap(), topic);
    launch.args(["--from-beginning", "--until-end"]).args(flags)
}

/// What it prints before it ends.
#[track_caller]
fn printed(launch: Launch) -> Vec<String> {
    let output = launch.spawn().wait(VERY_LONG);
    assert_code(&output, 0);
    output.stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn printed_json(launch: Launch) -> Vec<Value> {
    let lines = printed(launch.args(["--output", "json"]));
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Partition and offset of each.
#[track_caller]
fn places(launch: Launch) -> Vec<String> {
    let place = |line: String| line.split("  ").next().unwrap().to_owned();
    printed(launch).into_iter().map(place).collect()
}

fn text(value: &str) -> Record {
    record(None, Some(value.as_bytes()))
}

/// One that was written some seconds after a moment of 2024.
fn at(seconds: i64) -> Record {
    let moment = DateTime::from_timestamp(1_705_307_400 + seconds, 0).unwrap();
    Record { timestamp: moment, ..text(&seconds.to_string()) }
}

fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], datum].concat()
}

#[tokio::test]
async fn each_record_is_a_line_with_all_its_parts() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let timestamp = Utc::now() - TimeDelta::minutes(150);
    let mut record = record(Some(b"7"), Some(b"{\n \"id\": 7,\n \"amount\": -1.50\n}"));
    record.headers = [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), vec![0xff])].into();
    record.timestamp = timestamp;
    broker.produce(&topic, 0, vec![text("{}"), record]).await;
    let time = timestamp.format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let expected =
        format!(r#"0@1  {time}  2h ago  key=7  [a=1, b=0xff]  {{"id":7,"amount":-1.50}}"#);
    assert_eq!(printed(whole(&topic, &[]).await)[1], expected);
    let expected = json!({
        "topic": topic, "partition": 0, "offset": 1, "timestamp": time.to_string(),
        "key": "7", "key_encoding": "utf8", "value": {"id": 7, "amount": -1.5}, "value_encoding": "json",
        "headers": [
            {"name": "a", "value": "1", "value_encoding": "utf8"},
            {"name": "b", "value": "/w==", "value_encoding": "base64"},
        ],
    });
    assert_eq!(printed_json(whole(&topic, &[]).await)[1], expected);
}

#[tokio::test]
async fn where_it_begins_and_where_it_ends() {
    let broker = Broker::shared().await;
    let topic = broker.topic(3).await;
    broker.produce(&topic, 0, vec![at(1), at(5), at(2)]).await;
    broker.produce(&topic, 1, vec![at(3), at(4), at(6)]).await;
    let mut all = places(whole(&topic, &[]).await);
    let of_first: Vec<_> = all.iter().filter(|place| place.starts_with('0')).collect();
    assert_eq!(of_first, ["0@0", "0@1", "0@2"]);
    all.sort();
    assert_eq!(all, ["0@0", "0@1", "0@2", "1@0", "1@1", "1@2"]);
    assert_eq!(places(whole(&topic, &["--limit", "2"]).await).len(), 2);

    let from_end =
        |flags: &[&str]| places(tail(broker.bootstrap(), &topic).args(["--until-end"]).args(flags));
    assert!(from_end(&[]).is_empty());
    // The one of second 2 comes after that of second 5.
    assert_eq!(from_end(&["--last", "3"]), ["0@1", "0@2", "1@2"]);
    assert_eq!(from_end(&["--last", "100"]), ["0@0", "1@0", "1@1", "0@1", "0@2", "1@2"]);
    assert_eq!(from_end(&["--last", "3", "--limit", "1"]), ["0@1"]);
    let above = Launch::new(binary("kafka-consumer")).args(["--until-end", "tail", &topic]);
    let above = above.args(["--brokers", broker.bootstrap(), "--last", "1"]);
    assert_eq!(places(above), ["1@2"]);

    let output = whole(&topic, &["--last", "1"]).await.spawn().wait(LONG);
    assert_code(&output, 2);
    let output = tail(broker.bootstrap(), &topic).args(["--last", "10001"]).spawn().wait(LONG);
    assert_code(&output, 2);
    assert!(output.stderr.contains("from 1 to 10000; --from-beginning has no limit"), "{output}");
}

#[tokio::test]
async fn it_follows_the_topic_until_a_signal() {
    let broker = Broker::shared().await;
    let topic = broker.topic(2).await;
    broker.produce(&topic, 0, vec![text("\"old\"")]).await;
    let rounds = [
        (&[][..], Signal::SIGINT, 130, vec!["new 0"]),
        (&["--last", "1"][..], Signal::SIGTERM, 143, vec!["new 0", "new 1"]),
        (&["--from-beginning"][..], Signal::SIGINT, 130, vec!["old", "new 0", "new 1", "new 2"]),
    ];
    for (round, (flags, signal, code, shown)) in rounds.into_iter().enumerate() {
        let process = tail(broker.bootstrap(), &topic).args(flags).spawn();
        process.wait_for_line("following", LONG);
        broker.produce(&topic, 1, vec![text(&format!("\"new {round}\""))]).await;
        for value in &shown {
            process.wait_for_line(&format!("\"{value}\""), LONG);
        }
        process.signal(signal);
        let output = ended_with(&process, code);
        assert_eq!(output.stdout.lines().count(), shown.len(), "{output}");
    }

    let process = tail(broker.bootstrap(), &topic).args(["--limit", "1"]).spawn();
    process.wait_for_line("following", LONG);
    assert_eq!(process.output_so_far().stdout, "");
    broker.produce(&topic, 0, vec![text("1"), text("2")]).await;
    assert!(ended_with(&process, 0).stdout.ends_with("  1\n"));
}

#[tokio::test]
async fn filters_must_all_hold() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let with = |key: &str, header: &str, value: &str| {
        let mut record = record(Some(key.as_bytes()), Some(value.as_bytes()));
        record.headers = [("source".to_owned(), header.as_bytes().to_vec())].into();
        record
    };
    let records = vec![
        with("a", "web", r#"{"side": "debit", "after": {"id": 7}}"#),
        with("a", "pos", r#"{"side": "credit", "after": {"id": 7}}"#),
        with("b", "web", r#"{"side": "debit", "after": {"id": 8}}"#),
        record(Some(b"a"), Some(b"side=debit")),
    ];
    broker.produce(&topic, 0, records).await;
    for (flags, expected) in [
        (&["--key", "a"][..], &["0@0", "0@1", "0@3"][..]),
        (&["--header", "source"], &["0@0", "0@1", "0@2"]),
        (&["--header", "source=web"], &["0@0", "0@2"]),
        (&["--header", "source=web", "--header", "source=pos"], &[]),
        (&["--where", "side=debit"], &["0@0", "0@2"]),
        (&["--where", "after.id=7"], &["0@0", "0@1"]),
        (&["--where", "after.id=7", "--where", "side=debit"], &["0@0"]),
        (&["--key", "b", "--where", "side=debit"], &["0@2"]),
        (&["--key", "a", "--limit", "2"], &["0@0", "0@1"]),
    ] {
        assert_eq!(places(whole(&topic, flags).await), expected, "{flags:?}");
    }
    let output = whole(&topic, &["--where", "side"]).await.spawn().wait(LONG);
    assert_code(&output, 2);
    assert!(output.stderr.contains("FIELD=VALUE"), "{output}");
}

#[tokio::test]
async fn what_is_not_json_is_shown_all_the_same() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let junk = [&[0xff_u8; 100][..], b"\x1b[31m"].concat();
    let values = [
        Some(&b"nonsense"[..]),
        None,
        Some(b""),
        Some(&junk),
        Some(b"[1, 2]"),
        Some(b"\0\0\0\0\x09\x02"),
    ];
    broker.produce(&topic, 0, values.into_iter().map(|value| record(None, value)).collect()).await;
    let output = whole(&topic, &[]).await.spawn().wait(VERY_LONG);
    assert_code(&output, 0);
    let shown: Vec<_> =
        output.stdout.lines().map(|line| line.split("  key=-  ").nth(1).unwrap()).collect();
    let hex = format!("0x{}… (105 bytes)", "ff".repeat(64));
    let framed = "0x000000000902 (6 bytes)";
    let nonsense = "0x6e6f6e73656e7365 (8 bytes: nonsense)";
    assert_eq!(shown, [nonsense, "null", "(empty)", &hex, "[1,2]", framed]);
    assert!(output.stderr.contains("no schema registry is configured"), "{output}");

    let encodings = printed_json(whole(&topic, &[]).await);
    let encodings: Vec<_> = encodings.iter().map(|line| line["value_encoding"].clone()).collect();
    assert_eq!(encodings, ["utf8", "none", "utf8", "base64", "json", "utf8"]);
}

#[tokio::test]
async fn values_in_the_registrys_frame_are_shown_as_json() {
    let (broker, registry) = (Broker::shared().await, Registry::shared().await);
    let topic = broker.topic(1).await;
    let avro = r#"{"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}}]}"#;
    let avro = registry.register(&format!("{topic}-value"), avro).await;
    let json = registry.register_json(&format!("{topic}-json"), JSON_SCHEMA).await;
    let values = [
        framed(avro, b"\x02x\x02\x96"),
        framed(json, b"{\"id\": \"y\"}"),
        framed(2_147_483_647, b"\x02x"),
        framed(2_147_483_646, b"\x02x"),
        framed(avro, b"\x02"),
    ];
    let records = values.iter().map(|value| record(None, Some(value))).collect();
    broker.produce(&topic, 0, records).await;

    let launch = whole(&topic, &[]).await.env("SCHEMA_REGISTRY_URL", registry.url());
    let output = launch.spawn().wait(VERY_LONG);
    assert_code(&output, 0);
    let shown: Vec<_> =
        output.stdout.lines().map(|line| line.split("  key=-  ").nth(1).unwrap()).collect();
    assert_eq!(shown[..2], [r#"{"id":"x","amount":-1.06}"#, r#"{"id":"y"}"#]);
    assert_eq!(shown[2..4], ["0x007fffffff0278 (7 bytes)", "0x007ffffffe0278 (7 bytes)"]);
    assert!(shown[4].starts_with("0x00") && shown[4].ends_with("02 (6 bytes)"), "{output}");
    assert_eq!(output.stderr.matches("the registry knows no schema").count(), 1, "{output}");
    assert!(output.stderr.contains("the record ends too early"), "{output}");

    let id = whole(&topic, &["--where", "id=x"]).await.env("SCHEMA_REGISTRY_URL", registry.url());
    assert_eq!(places(id), ["0@0"]);
}

#[tokio::test]
async fn masked_fields_are_masked_and_no_filter_tells_them() {
    let (broker, registry) = (Broker::shared().await, Registry::shared().await);
    let topic = broker.topic(1).await;
    let avro =
        r#"{"type": "record", "name": "R", "fields": [{"name": "merchant", "type": "string"}]}"#;
    let avro = framed(registry.register(&format!("{topic}-value"), avro).await, b"\x08Jane");
    let mut with_header = text(r#"{"id": 1, "x": [{"merchant": "Jane"}]}"#);
    with_header.headers = [("merchant".to_owned(), b"Jane".to_vec())].into();
    let cut = text("{\"merchant\": \"Jane\"");
    broker.produce(&topic, 0, vec![with_header, record(Some(b"7"), Some(&avro)), cut]).await;
    let masking = async |flags: &[&str]| {
        let launch = whole(&topic, flags).await.env("SCHEMA_REGISTRY_URL", registry.url());
        launch.env("TALLY_PRIVACY__MASKED", "[\"merchant\"]")
    };
    for flags in [&[][..], &["--output", "json"]] {
        let lines = printed(masking(flags).await);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains(r#"{"id":1,"x":[{"merchant":"***"}]}"#), "{lines:?}");
        assert!(lines[1].contains(r#"{"merchant":"***"}"#), "{lines:?}");
        assert!(lines[2].contains("19 bytes, BLAKE3 "), "{lines:?}");
        for line in lines {
            assert!(!line.contains("Jane") && !line.contains("4a616e65"), "{line}");
        }
    }
    assert_eq!(places(masking(&["--where", "id=1"]).await), ["0@0"]);
    for (flags, named) in [
        (["--where", "x.merchant=Jane"], "the field x.merchant"),
        (["--header", "merchant=Jane"], "the header merchant"),
    ] {
        let output = masking(&flags).await.spawn().wait(LONG);
        assert_code(&output, 78);
        assert!(
            output.stderr.contains(named) && output.stderr.contains("privacy.masked"),
            "{output}"
        );
        assert_eq!(output.stdout, "");
    }
}

#[tokio::test]
async fn only_what_transactions_have_committed_is_shown_and_nothing_is_left_behind() {
    let (broker, folder) = (Broker::shared().await, TempDir::new().unwrap());
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    for (index, commits) in [(0, true), (1, false), (2, false), (3, true), (4, false)] {
        java.begin().await;
        let value = index.to_string();
        let value = Some(value.as_bytes());
        java.send(JavaRecord { topic: &topic, value, ..Default::default() }).await;
        if commits {
            java.commit().await
        } else {
            java.abort().await
        };
    }
    java.begin().await;
    java.send(JavaRecord { topic: &topic, value: Some(b"5"), ..Default::default() }).await;
    java.flush().await;
    let ends = java.ends(&topic).await;

    let launch = || whole(&topic, &[]);
    assert_eq!(places(launch().await.current_dir(&folder)), ["0@0", "0@6"]);
    // The last two offsets before the open transaction are without a record.
    let last = tail(broker.bootstrap(), &topic).args(["--until-end", "--last", "2"]);
    assert_eq!(places(last.current_dir(&folder)), ["0@0", "0@6"]);

    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "no database");
    assert_eq!(java.ends(&topic).await, ends);
    assert_eq!(java.group_offset("tally", &topic, 0).await, None);
}

#[tokio::test]
async fn a_missing_topic_is_not_made_and_near_names_are_told() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let misspelt = format!("{topic}s");
    for _ in 0..2 {
        let output = tail(broker.bootstrap(), &misspelt).spawn().wait(LONG);
        assert_code(&output, 78);
        assert!(output.stderr.contains(&format!("did you mean {topic}?")), "{output}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_and_named() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    broker.produce(&topic, 0, vec![text("1")]).await;
    broker.produce(&topic, 0, vec![text(&" ".repeat(2_000)), text("2")]).await;
    broker.produce(&topic, 0, vec![text("3")]).await;
    let launch = whole(&topic, &[]).await.env("TALLY_KAFKA__MAX_BATCH_BYTES", "1024");
    let output = launch.spawn().wait(VERY_LONG);
    assert_code(&output, 0);
    assert_eq!(output.stdout.lines().count(), 2, "{output}");
    let said = format!("{topic}/0@1-2 cannot be read and is left out");
    assert!(
        output.stderr.contains(&said) && output.stderr.contains("kafka.max_batch_bytes"),
        "{output}"
    );
}

#[tokio::test]
async fn without_a_broker_or_an_output_it_ends() {
    let output = tail("127.0.0.1:9", "t").spawn().wait(LONG);
    assert_code(&output, 69);
    assert!(output.stderr.contains("127.0.0.1:9"), "{output}");

    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    broker.produce(&topic, 0, vec![text("1")]).await;
    let program = binary("kafka-consumer");
    let output: Output = Launch::new("sh")
        .args(["-c", r#""$0" "$@" > /dev/full"#, program.to_str().unwrap()])
        .args(["tail", &topic, "--from-beginning", "--brokers", broker.bootstrap()])
        .spawn()
        .wait(LONG);
    assert_code(&output, 74);
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn an_outage_is_waited_for() {
        let broker = OwnKafka::start().await;
        let topic = broker.topic(1).await;
        let launch = tail(broker.bootstrap(), &topic).env("TALLY_KAFKA__TIMEOUT", "2s");
        let process = launch.spawn();
        process.wait_for_line("following", LONG);
        broker.produce(&topic, 0, vec![text("\"before\"")]).await;
        process.wait_for_line("\"before\"", LONG);
        broker.stop().await;
        process.wait_for_line("unavailable, retrying", LONG);
        broker.start_again().await;
        broker.produce(&topic, 0, vec![text("\"after\"")]).await;
        process.wait_for_line("\"after\"", LONG);
        process.signal(Signal::SIGINT);
        let output = ended_with(&process, 130);
        assert_eq!(output.stdout.lines().count(), 2, "{output}");
    }
}
