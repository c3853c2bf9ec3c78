//! Where a group stands, who may work for it, and what it leaves behind.

use crate::support;

use crate::support::{LONG_LEASE, Stream, VERY_LONG, address, assert_code, get, good};
use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::job::{Job, LONG, Target, ended_with};
use tally_harness::kafka::{Broker, Record, record};
use tally_harness::process::{Output, Signal};
use tally_harness::sample::{Sample, assert_same_rows, rows};

#[tokio::test]
async fn a_misspelt_topic_is_a_wrong_setting_and_is_not_made() {
    let mut stream = Stream::new().await;
    let topic = std::mem::take(&mut stream.topic);
    stream.topic = format!("{topic}s");
    let output = stream.consumer().spawn().wait(LONG);
    assert_code(&output, 78);
    assert!(output.stderr.contains(&format!("did you mean {topic}?")), "{output}");
    let output = stream.consumer().spawn().wait(LONG);
    assert_code(&output, 78); // the first one made none
}

#[test]
fn groups_and_topics_that_would_be_confused_are_wrong_settings() {
    for (flags, name) in [
        (["--group", "file"], "kafka.group"),
        (["--group", "file/x"], "kafka.group"),
        (["--dlq-topic", "t"], "kafka.dlq_topic"),
    ] {
        let consumer = Job::consumer("sqlite:not-made.db", "127.0.0.1:9", "t").flags(flags);
        let output = consumer.spawn().wait(LONG);
        assert_code(&output, 78);
        assert!(output.stderr.contains(name), "{output}");
    }
}

#[test]
fn a_password_goes_neither_unused_nor_unprotected_in_silence() {
    let consumer = |mechanism: &str, name: &str| {
        let consumer = Job::consumer("sqlite:not-made.db", "127.0.0.1:9", "t").env(name, "ann");
        let consumer = consumer.env("TALLY_KAFKA__SASL__MECHANISM", mechanism);
        consumer.env("LOG_FORMAT", "pretty").flags(["--max-outage", "1s"]).spawn().wait(LONG)
    };
    for name in ["username", "password"] {
        let output = consumer("none", &format!("TALLY_KAFKA__SASL__{}", name.to_uppercase()));
        assert_code(&output, 78);
        assert!(output.stderr.contains(&format!("kafka.sasl.{name}")), "{output}");
    }
    let warns = |output: &Output| output.stderr.matches("kafka.tls is not set").count();
    let output = consumer("plain", "TALLY_KAFKA__SASL__USERNAME");
    assert_code(&output, 69);
    assert_eq!(warns(&output), 1, "{output}");
    assert_eq!(warns(&consumer("scram-sha-256", "TALLY_KAFKA__SASL__USERNAME")), 0);
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
        assert_code(&stream.consumer().flags(flags).spawn().wait(VERY_LONG), 0);
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
    assert_code(&shown, 0);
    let line = shown.stdout.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line, ["0", "1", "2", "2", "0", "-"], "{shown}");
    assert_code(&positions(&["set", "--partition", "0", "--to", "7"]), 78);
    assert_code(&positions(&["set", "--partition", "9", "--to", "0"]), 78);
    assert_code(&positions(&["set", "--partition", "0", "--to", "somewhere"]), 78);
    assert_code(
        &positions(&["set", "--partition", "0", "--to", "2002-01-01", "--reason", "again"]),
        78,
    );
    assert_code(
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
    stream.until_shared_by([&owner]).await;
    let output = positions(&["set", "--partition", "0", "--to", "0"]);
    assert_code(&output, 75);
    drop(owner);
    stream.check_ledger().await;
}

#[tokio::test]
async fn positions_are_set_forward_one_by_one() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let records = (1..=5).map(|id| record(None, Some(good(id).to_string().as_bytes())));
    broker.produce(&stream.topic, 0, records.collect()).await;
    let set = |args: &[&str]| {
        let flags = ["positions", "set", "--to"].into_iter().chain(args.iter().copied());
        stream.consumer().flags(flags).spawn().wait(LONG)
    };
    let said = |from: &str, to| format!("{}/0: from {from} to {to}\n", stream.topic);
    for (args, from, to) in [
        (["1", "--partition", "0", "--reason=one"], "the start", 1), // never read
        (["3", "--partition", "0", "--reason=three"], "1", 3),
        (["latest", "--partition", "0", "--reason=all"], "3", 5),
        (["earliest", "--partition", "0", "--reason=again"], "5", 0),
    ] {
        let output = set(&args);
        assert_code(&output, 0);
        assert_eq!(output.stdout, said(from, to));
    }
    let rows = async |sql: &str| {
        let rows = stream.target.query(sql).await;
        rows.into_iter()
            .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let ledger = "select pass, first, last, read, gap from batches order by first";
    let [one, three, all] = ["one", "three", "all"].map(|why| format!("positions set: {why}"));
    let passed = [format!("1 0 0 0 {one}"), format!("1 1 2 0 {three}"), format!("1 3 4 0 {all}")];
    assert_eq!(rows(ledger).await, passed);
    let acts = "select verb, target, reason, result->>'to' from acts order by id";
    let target = format!("tally/{}/0", stream.topic);
    let act = |why: &str, to| format!("positions set {target} positions set: {why} {to}");
    let expected = [act("one", 1), act("three", 3), act("all", 5), act("again", 0)];
    assert_eq!(rows(acts).await, expected);

    // Of all partitions those before the one that somebody owns are set, and it is said of each.
    assert_code(&set(&["latest"]), 0);
    let own = "update positions set owner = 'ann', lease_until = clock_timestamp() + interval '1 minute' where partition = 3";
    stream.target.execute(own).await;
    let output = set(&["earliest"]);
    assert_code(&output, 75);
    assert_eq!(output.stdout.lines().count(), 3, "{output}");
    assert!(output.stderr.contains("partition 3") && output.stderr.contains("ann"), "{output}");
}

#[tokio::test]
async fn of_two_that_set_a_position_at_once_one_succeeds() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let records = (1..=5).map(|id| record(None, Some(good(id).to_string().as_bytes())));
    broker.produce(&stream.topic, 0, records.collect()).await;
    let job = || stream.consumer_for(LONG_LEASE, stream.model.url()).flag("positions");
    assert_code(&job().flag("show").spawn().wait(LONG), 0);
    let Target::Postgres(database) = &stream.target else { panic!("SQLite has no sessions") };
    let door = database.connect().await;
    // Never read, forward, back.
    for offsets in [["1", "3"], ["4", "5"], ["0", "2"]] {
        door.batch_execute("begin; lock table positions in exclusive mode").await.unwrap();
        let set = ["set", "--partition=0", "--reason=race", "--to"];
        let racers = offsets.map(|to| job().flags(set).flag(to).spawn());
        let waiting = "select count(*) from pg_stat_activity \
            where datname = current_database() and wait_event_type = 'Lock'";
        eventually(LONG, async || stream.target.number(waiting).await == 2).await;
        door.batch_execute("rollback").await.unwrap();
        let outputs = racers.map(|racer| racer.wait(LONG));
        let codes = outputs.each_ref().map(|output| output.code);
        let (winner, loser) = if codes[0] == Some(0) { (0, 1) } else { (1, 0) };
        assert_code(&outputs[winner], 0);
        assert_code(&outputs[loser], 75);
        let next = "select next from positions where partition = 0 order by pass desc limit 1";
        assert_eq!(stream.target.number(next).await.to_string(), offsets[winner]);
    }
    assert_eq!(stream.target.number("select count(*) from acts").await, 3);
    stream.check_ledger().await;
}

#[tokio::test]
async fn sqlite_serves_one_consumer() {
    let stream = Stream::into(Target::sqlite()).await;
    let sample = Sample::new(500);
    stream.feed(&sample);
    let first = stream.consumer().spawn();
    stream.until_read(500).await;
    for flags in [&[][..], &["--group", "other"]] {
        let second = stream.consumer().flags(flags).spawn().wait(LONG);
        assert_code(&second, 75);
        assert!(second.stderr.contains("serves one process"), "{second}");
    }
    first.signal(Signal::SIGTERM);
    ended_with(&first, 143);
    stream.consume_to_end();
    assert_same_rows(&rows(&stream.target).await, &sample.expected_rows());
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
    assert_code(&output, 0);
    let published = "select count(*) from dead_letters where published_at is not null";
    assert_eq!(stream.target.number("select count(*) from dead_letters").await, 200);
    assert_eq!(stream.target.number(published).await, 0);
    assert!(output.stderr.contains("dead letters"), "{output}");

    broker.create_topic(&dead_letters, 1).await;
    let consumer = stream.consumer().flags(["--dlq-topic", &dead_letters]).spawn();
    eventually(LONG, async || stream.target.number(published).await == 200).await;
    let at = address(&consumer);
    eventually(LONG, async || {
        get(&at, "/metrics").contains("ingest_relay_backlog{flow=\"transactions\"} 0")
    })
    .await;
    consumer.signal(Signal::SIGTERM);
    ended_with(&consumer, 143);
    let events = broker.read_all(&dead_letters, 0).await;
    assert_eq!(events.len(), 200);
    let event: Value = serde_json::from_slice(events[0].record.value.as_deref().unwrap()).unwrap();
    assert_eq!((&event["source"], &event["topic"]), (&json!("file"), &Value::Null));
    assert_code(&job().flag("--again").spawn().wait(LONG), 0);
    assert_eq!(broker.read_all(&dead_letters, 0).await.len(), 400, "drained before it ended");
}

/// Its relay looks each second, and the run ends sooner.
#[tokio::test]
async fn dead_letters_are_published_before_the_data_ends_the_run() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let dead_letters = broker.topic(1).await;
    let values = ["no record".to_owned(), good(1).to_string()];
    let records = values.iter().map(|value| record(None, Some(value.as_bytes())));
    broker.produce(&stream.topic, 0, records.collect()).await;
    let output = Job::consumer(&stream.target.url(), &stream.brokers, &stream.topic)
        .model(stream.model.url())
        .flags(["--until-end", "--batch-size=1", "--dlq-topic", &dead_letters])
        .env("TALLY_QUALITY__WINDOW", "1")
        .env("TALLY_QUALITY__MISSING_MERCHANT__POLICY", "stop")
        .spawn()
        .wait(VERY_LONG);
    assert_code(&output, 65);
    assert_eq!(broker.read_all(&dead_letters, 0).await.len(), 1, "{output}");
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
    // Records are older than that before the first of them is at the model.
    let is_closed = "ingest_gate_open{dependency=\"model\"} 0\n";
    eventually(LONG, async || get(&at, "/metrics").contains(is_closed)).await;
    assert_eq!(support::ready(&at), 503);
    let metrics = get(&at, "/metrics");
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("kafka_records_polled_total{flow=\"transactions\"}") > 0.0);
    assert!(value("ingest_gate_open{dependency=\"kafka\"}") > 0.5);
}

#[test]
fn a_longest_outage_ends_a_stream() {
    for consumer in [
        Job::consumer("sqlite:not-made.db", "127.0.0.1:9", "t"),
        Job::consumer("postgres://127.0.0.1:9/none", "127.0.0.1:9", "t"),
    ] {
        let output = consumer.flags(["--max-outage", "1s"]).spawn().wait(LONG);
        assert_code(&output, 69);
        assert!(output.stderr.contains("kafka stayed unavailable for "), "{output}");
    }
}

#[tokio::test]
async fn a_run_to_the_end_beside_one_without() {
    let stream = Stream::new().await;
    let sample = Sample::new(2_000);
    stream.feed(&sample);
    let stuck = stream.consumer_with("http://127.0.0.1:9").env("TALLY_DRAIN", "1s").spawn();
    stream.until_shared_by([&stuck]).await;
    let to_end = stream.consumer().flag("--until-end").spawn();
    stream.until_read(1).await;
    // What it brought to its end is the other's again, although it still waits for the rest.
    stream.until_shared_by([&stuck]).await;
    stuck.signal(Signal::SIGTERM);
    ended_with(&stuck, 143);
    assert_code(&to_end.wait(VERY_LONG), 0);
    stream.check_taken(&sample).await;
}

#[tokio::test]
async fn partitions_that_are_added_are_picked_up() {
    let (broker, stream) = (Broker::shared().await, Stream::new().await);
    let consumer = stream.consumer().flags(["--start", "latest"]).spawn();
    stream.until_shared_by([&consumer]).await;
    broker.grow_topic(&stream.topic, 8).await;
    let records = vec![record(None, Some(good(1).to_string().as_bytes()))];
    broker.produce(&stream.topic, 7, records).await; // before it is claimed, and all the same read
    stream.until_read(1).await;
    let added = "select partition from positions where partition > 5 and owner is not null";
    eventually(LONG, async || stream.target.query(added).await.len() == 2).await;
    consumer.signal(Signal::SIGTERM);
    ended_with(&consumer, 143);
    stream.check_ledger().await;
}
