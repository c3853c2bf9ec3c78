//! What reaches the topic, what does not, and what is said of both.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord};
use tally_harness::process::{Launch, Output, Process, Signal};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(40);
const HEADER: &str = "id;description;amount;timestamp;merchant;operation_type;side\n";

/// A file in a folder of its own, and a topic to send it to.
struct Scene {
    folder: TempDir,
    broker: &'static Broker,
    topic: String,
}

impl Scene {
    async fn new(rows: &str) -> Self {
        let broker = Broker::shared().await;
        let scene = Self { folder: TempDir::new().unwrap(), broker, topic: broker.topic(3).await };
        fs::write(scene.path(), format!("{HEADER}{rows}")).unwrap();
        scene
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rows.csv")
    }

    fn start(&self, flags: &[&str]) -> Process {
        Launch::new(env!("CARGO_BIN_EXE_producer"))
            .args([self.path().to_str().unwrap(), "--brokers", self.broker.bootstrap()])
            .args(["--topic", &self.topic])
            .args(flags)
            .spawn()
    }

    #[track_caller]
    fn ended_with(&self, flags: &[&str], code: i32) -> Output {
        let output = self.start(flags).wait(SOON);
        assert_eq!(output.code, Some(code), "{output}");
        output
    }

    /// Key and value of every record, by partition.
    async fn records(&self) -> BTreeMap<i32, Vec<(String, Value)>> {
        let mut records = BTreeMap::new();
        for partition in 0..3 {
            let found = self.broker.read_all(&self.topic, partition).await;
            let pairs = found.into_iter().map(|found| {
                let key = String::from_utf8(found.record.key.unwrap()).unwrap();
                (key, serde_json::from_slice(&found.record.value.unwrap()).unwrap())
            });
            records.insert(partition, pairs.collect());
        }
        records
    }
}

fn row(id: u32) -> String {
    format!("{id};CB;-1,50;2024-01-15 08:30:00;;payment;debit\n")
}

#[tokio::test]
async fn rows_are_sent_as_json_keyed_by_id_to_the_partitions_that_other_clients_choose() {
    let rows: String = (1..=60).map(row).collect();
    let scene = Scene::new(&rows).await;
    let output = scene.ended_with(&[], 0);
    assert!(output.stdout.starts_with("60 rows read, 60 sent in "), "{output}");
    let records = scene.records().await;
    let mut ids: Vec<u128> = Vec::new();
    for (key, value) in records.values().flatten() {
        assert_eq!(
            *value,
            json!({
                "id": key, "description": "CB", "amount": -1.5, "timestamp": "2024-01-15T08:30:00",
                "merchant": null, "operation_type": "payment", "side": "debit",
            })
        );
        ids.push(u128::from_str_radix(&key.replace('-', ""), 16).unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=60).collect::<Vec<_>>());

    let other = scene.broker.topic(3).await;
    let mut java = JavaProducer::start(scene.broker.bootstrap());
    for (key, _) in records.values().flatten() {
        let (key, value) = (Some(key.as_bytes()), Some(&b"x"[..]));
        java.send(JavaRecord { topic: &other, key, value, ..Default::default() }).await;
    }
    java.flush().await;
    for (partition, records) in records {
        let mut ours: Vec<&str> = records.iter().map(|(key, _)| key.as_str()).collect();
        let theirs = scene.broker.read_all(&other, partition).await;
        let mut theirs: Vec<String> = theirs
            .into_iter()
            .map(|found| String::from_utf8(found.record.key.unwrap()).unwrap())
            .collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "partition {partition}");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_reported_and_not_sent() {
    let rows = [
        &row(1),
        "x;CB;-1;2024-01-15 08:30:00;;payment;debit\n",
        "2;CB;much;2024-01-15 08:30:00;;payment;debit\n",
        "3;CB;-1;yesterday;;payment;debit\n",
        "4;CB;-1\n",
        // Wrong, but it can be read: that is the consumer's to say.
        "5;CB;1;2024-01-15 08:30:00;;payment;debit\n",
    ];
    let scene = Scene::new(&rows.concat()).await;
    let output = scene.ended_with(&[], 65);
    assert!(output.stdout.starts_with("6 rows read, 2 sent in "), "{output}");
    let told =
        "4 of 6 rows were not sent: correct them and send them again; --rejects FILE keeps them";
    assert!(output.stderr.contains(told), "{output}");
    for (row, code) in
        [(1, "id_invalid"), (2, "amount_invalid"), (3, "timestamp_invalid"), (4, "fields")]
    {
        assert!(output.stderr.contains(&format!("row {row} is not sent")), "{output}");
        assert!(output.stdout.contains(code), "{output}");
    }
    assert!(!output.stderr.contains("much"), "a value: {output}");
    assert_eq!(scene.records().await.values().map(Vec::len).sum::<usize>(), 2);
}

/// The amounts of a file are those that a run over the file would store.
#[tokio::test]
async fn amounts_are_read_as_those_of_their_file() {
    // The amounts sent, those not sent, and why.
    async fn check(amounts: &[&str], sent: &[Value], refused: &[(usize, &str)]) {
        let rows = amounts.iter().enumerate().map(|(id, amount)| {
            format!("{id};CB;{amount};2024-01-15 08:30:00;;payment;debit;\n;;;;;;\n")
        });
        let scene = Scene::new(&rows.collect::<String>()).await;
        let output = scene.ended_with(&[], 65);
        let (count, is_sent) = (amounts.len(), sent.len());
        let counts = format!("{count} rows read, {is_sent} sent in ");
        assert!(output.stdout.starts_with(&counts), "{output}");
        for (row, why) in refused {
            let line = format!("row {row} is not sent: amount {why}");
            assert!(output.stderr.contains(&line), "{line}: {output}");
        }
        let mut found: Vec<(String, Value)> =
            scene.records().await.into_values().flatten().collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let found: Vec<&Value> = found.iter().map(|(_, value)| &value["amount"]).collect();
        assert_eq!(found, sent.iter().collect::<Vec<_>>());
    }

    let comma = ["-1.234,50", "-3.000", "-3,000", ",50", "12 500", "12,50-"];
    let thousands = "has three digits behind the comma, which may be thousands or decimals";
    let sent = [json!(-1234.5), json!(-3000.0), json!(0.5), json!(12500.0)];
    check(&comma, &sent, &[(2, thousands), (5, "has its sign after the digits")]).await;
    let undecided = ["-3,000", "-3", "1'234"];
    let why = "can be read as thousands or as decimals, and the first 256 KiB of the file do not settle it: set csv.decimal";
    check(&undecided, &[json!(-3.0), json!(1234.0)], &[(0, why)]).await;
}

#[tokio::test]
async fn a_record_larger_than_the_topic_takes_is_reported_and_the_others_are_sent() {
    let mut scene = Scene::new("").await;
    // UUIDs, since it is compressed.
    let large: String = (0..300).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let rows = row(1) + &format!("2;{large};-1;2024-01-15 08:30:00;;payment;debit\n") + &row(3);
    fs::write(scene.path(), format!("{HEADER}{rows}")).unwrap();
    scene.topic = scene.broker.topic_with(3, "max.message.bytes=2000").await;
    let output = scene.ended_with(&[], 65);
    assert!(output.stdout.starts_with("3 rows read, 2 sent in "), "{output}");
    assert!(
        output.stderr.contains("row 1 is not sent") && output.stdout.contains("too_large"),
        "{output}"
    );
}

#[tokio::test]
async fn rows_that_are_not_sent_are_kept_as_they_are() {
    let mut scene = Scene::new("").await;
    scene.topic = scene.broker.topic_with(3, "max.message.bytes=2000").await;
    let header = HEADER.replace('\n', "\r\n");
    let large: String = (0..300).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let large = format!("2;{large};-1;2024-01-15 08:30:00;;payment;debit\r\n");
    let too_long =
        format!("3;{};-1;2024-01-15 08:30:00;;payment;debit\r\n", "x".repeat(1024 * 1024));
    let (good, good_in_two_lines) =
        (row(1), "4;\"C\nB\";-1;2024-01-15 08:30:00;;payment;debit\r\n");
    let bad = [
        "5;\"C\r\nB \u{e9}\";much;2024-01-15 08:30:00;;payment;debit\r\n",
        "6;\"CB\"!;-1\r\n",
        "7;CB\r\n",
    ]
    .map(str::to_owned);
    let rows =
        [&good, &bad[0], good_in_two_lines, &bad[1], &large, "\r\n", &too_long, &bad[2], &row(8)];
    fs::write(scene.path(), header.clone() + &rows.map(|row| row as &str).concat()).unwrap();

    let rejects = scene.folder.path().join("rejects.csv");
    let keep = ["--rejects", rejects.to_str().unwrap()];
    let output = scene.ended_with(&keep, 65);
    assert!(output.stdout.starts_with("8 rows read, 3 sent in "), "{output}");
    let kept = [&header, &bad[0], &bad[1], &large, &bad[2]].map(String::as_str).concat();
    assert_eq!(fs::read_to_string(&rejects).unwrap(), kept);
    let lost = "row 5 is longer than 1 MiB: --rejects does not keep it";
    assert!(output.stderr.contains(lost), "{output}");
    assert!(
        !output.stderr.contains("--rejects FILE") && !output.stderr.contains("much"),
        "{output}"
    );

    // Corrected, it can be sent by itself.
    let corrected = header.clone() + &bad[0].replace("much", "-1");
    fs::write(scene.path(), corrected).unwrap();
    let output = scene.ended_with(&keep, 0);
    assert!(output.stdout.starts_with("1 rows read, 1 sent in "), "{output}");
    assert_eq!(fs::read_to_string(&rejects).unwrap(), header, "nothing was left out");
    let records = scene.records().await;
    let (_, sent) = records.values().flatten().find(|(key, _)| key.ends_with("05")).unwrap();
    assert_eq!(sent["description"], "C\r\nB \u{e9}");
}

#[tokio::test]
async fn rows_may_be_left_out_where_that_is_meant() {
    let scene = Scene::new(&(row(1) + "x;CB\n")).await;
    let output = scene.ended_with(&["--skip-invalid"], 0);
    assert!(output.stdout.starts_with("2 rows read, 1 sent in "), "{output}");
    assert!(!output.stderr.contains("correct them"), "{output}");
    let rejects = scene.folder.path().join("rejects.csv");
    scene.ended_with(&["--skip-invalid", "--rejects", rejects.to_str().unwrap()], 0);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), format!("{HEADER}x;CB\n"));
}

/// Before anything is sent; and what is there stays.
#[tokio::test]
async fn where_rejects_cannot_be_kept_nothing_is_sent() {
    let scene = Scene::new(&(row(1) + "x;CB\n")).await;
    let path = scene.path();
    let content = fs::read(&path).unwrap();
    let link = scene.folder.path().join("link.csv");
    fs::hard_link(&path, &link).unwrap();
    for input in [&path, &link] {
        let output = scene.ended_with(&["--rejects", input.to_str().unwrap()], 78);
        assert!(output.stderr.contains("rows.csv: name another file"), "{output}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let nowhere = scene.folder.path().join("none/rejects.csv");
    let output = scene.ended_with(&["--rejects", nowhere.to_str().unwrap()], 74);
    assert!(output.stderr.contains("cannot create --rejects"), "{output}");

    let rejects = scene.folder.path().join("rejects.csv");
    let keep = ["--rejects", rejects.to_str().unwrap()];
    let other = scene.folder.path().join("other.csv");
    let commas = HEADER.replace(';', ",");
    fs::write(&other, commas + "2,CB,-1.50,2024-01-15 08:30:00,,payment,debit\n").unwrap();
    let both = [&keep[..], &[other.to_str().unwrap()]].concat();
    let output = scene.ended_with(&both, 78);
    assert!(output.stderr.contains("rows.csv and") && !rejects.exists(), "{output}");
    assert_eq!(scene.records().await.values().map(Vec::len).sum::<usize>(), 0);

    // What an earlier run kept is lost only to one that begins.
    fs::write(&rejects, "kept").unwrap();
    scene.ended_with(&[&keep[..], &["--format", "avro"]].concat(), 78);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "kept");

    let output = scene.ended_with(&["--rejects", "/dev/full"], 74);
    assert!(output.stderr.contains("cannot write --rejects /dev/full"), "{output}");
    fs::write(&other, HEADER.to_owned() + &row(2) + "y;CB\n").unwrap();
    scene.ended_with(&both, 65);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), format!("{HEADER}x;CB\ny;CB\n"));
}

#[tokio::test]
async fn what_is_wrong_before_the_first_record_is_said_at_once() {
    let mut scene = Scene::new(&row(1)).await;
    let output = scene.ended_with(&["--format", "avro"], 78);
    assert!(output.stderr.contains("SCHEMA_REGISTRY_URL"), "{output}");
    scene.ended_with(&["--rate", "0"], 2);
    scene.topic.push('x');
    let output = scene.ended_with(&[], 78);
    assert!(output.stderr.contains("there is no topic"), "{output}");
    fs::write(scene.path(), "").unwrap();
    scene.ended_with(&[], 66);
    fs::remove_file(scene.path()).unwrap();
    scene.ended_with(&[], 66);
}

/// Each request says who asks.
#[test]
fn brokers_are_told_the_client_id() {
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rows.csv");
    fs::write(&path, format!("{HEADER}{}", row(1))).unwrap();
    let producer = Launch::new(env!("CARGO_BIN_EXE_producer"))
        .args([path.to_str().unwrap(), "--brokers", &broker.local_addr().unwrap().to_string()])
        .env("TALLY_KAFKA__CLIENT_ID", "ledger-of-ann")
        .spawn();
    let (mut connection, _) = broker.accept().unwrap();
    let mut request = [0; 27];
    // Size, kind, version and number of the request; then the id and its length.
    connection.read_exact(&mut request).unwrap();
    assert_eq!(&request[12..], b"\0\x0dledger-of-ann");
    producer.kill9();
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn a_rate_is_kept() {
        let rows: String = (1..=600).map(row).collect();
        let scene = Scene::new(&rows).await;
        let began = Instant::now();
        scene.ended_with(&["--rate", "200/s"], 0);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(2_700), "{took:?}");
        assert!(took < Duration::from_secs(8), "{took:?}");
    }

    #[tokio::test]
    async fn it_repeats_until_it_is_stopped_and_all_it_counts_is_there() {
        let rows: String = (1..=10).map(row).collect();
        let scene = Scene::new(&(rows + "x;CB\n")).await;
        let rejects = scene.folder.path().join("rejects.csv");
        let keep = ["--rejects", rejects.to_str().unwrap()];
        let process = scene.start(&[&["--repeat", "--rate", "1000/s"], &keep[..]].concat());
        eventually(SOON, async || {
            scene.records().await.values().map(Vec::len).sum::<usize>() > 100
        })
        .await;
        process.signal(Signal::SIGINT);
        let output = process.wait(SOON);
        assert_eq!(output.code, Some(130), "{output}");
        let (_, rest) = output.stdout.split_once("rows read, ").unwrap();
        let sent: usize = rest.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(scene.records().await.values().map(Vec::len).sum::<usize>(), sent);
        assert_eq!(fs::read_to_string(&rejects).unwrap(), format!("{HEADER}x;CB\n"), "once");
    }
}
