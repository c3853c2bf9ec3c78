//! Flows that publish: directly, and through the outbox.

mod serial;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::job::{LONG, Target, ended_with};
use tally_harness::kafka::{Broker, RecordAndOffset, record};
use tally_harness::process::{Launch, Output, Process, Signal};

use crate::support::{Table, audit, audited, found, program, rows};

/// A topic that is read and one that is published to, of one partition each.
pub struct Topics {
    pub broker: &'static Broker,
    pub from: String,
    pub to: String,
    setting: &'static str,
}

impl Topics {
    pub async fn of(flow: &str, values: &[String]) -> Self {
        let broker = Broker::shared().await;
        let (from, to) = (broker.topic(1).await, broker.topic(1).await);
        feed(broker, &from, values).await;
        Self { broker, from, to, setting: setting(flow) }
    }

    pub fn consumer(&self, flow: &str, target: &Target, flags: &[&str]) -> Process {
        consumer(self.broker, &self.from, flow, target, flags).env(self.setting, &self.to).spawn()
    }

    pub fn consume(&self, flow: &str, target: &Target) -> Output {
        ended_with(&self.consumer(flow, target, &["--until-end"]), 0)
    }

    async fn published(&self) -> Vec<Published> {
        published(self.broker, &self.to).await
    }

    /// The audit of the flow against both topics finds violations of these kinds and no others; its report.
    #[track_caller]
    pub fn audited(&self, flow: &str, target: &Target, kinds: &[&str]) -> Value {
        let flags = ["--flow", flow, "--brokers", self.broker.bootstrap(), "--topic", &self.from];
        let process = audit(target, &flags.map(AsRef::as_ref)).env(self.setting, &self.to).spawn();
        found(&process, kinds)
    }

    /// Replays all open dead letters.
    pub fn replay(&self, target: &Target) -> Output {
        let process = program("dead-letters")
            .args([
                "replay",
                "--all",
                "--reason",
                "test",
                "--database-url",
                &target.url(),
                "--output",
                "json",
            ])
            .env("KAFKA_BOOTSTRAP_SERVERS", self.broker.bootstrap())
            .env(self.setting, &self.to)
            .spawn();
        ended_with(&process, 0)
    }
}

pub fn setting(flow: &str) -> &'static str {
    match flow {
        "alerts" => "TALLY_FLOWS__ALERTS__PUBLISH__ALERTS",
        _ => "TALLY_FLOWS__ORDERS__PUBLISH__CHANGES",
    }
}

pub async fn feed(broker: &Broker, topic: &str, values: &[String]) {
    for values in values.chunks(500) {
        let records = values.iter().map(|value| record(None, Some(value.as_bytes())));
        broker.produce(topic, 0, records.collect()).await;
    }
}

fn consumer(broker: &Broker, topic: &str, flow: &str, target: &Target, flags: &[&str]) -> Launch {
    program("kafka-consumer")
        .args(["--flow", flow, "--database-url", &target.url(), "--batch-size", "100"])
        .args(["--brokers", broker.bootstrap(), "--topic", topic, "--lease", "2s"])
        .args(flags)
        .env("LOG_FORMAT", "pretty")
}

/// The number that a query answers; 0 before there are tables.
pub async fn count(target: &Target, sql: &str) -> i64 {
    let is_there = match target {
        Target::Sqlite(file) if !file.path().exists() => return 0,
        Target::Sqlite(_) => "select count(*) from sqlite_schema where name = 'outbox'",
        Target::Postgres(_) => "select count(*) from pg_tables where tablename = 'outbox'",
    };
    if target.number(is_there).await == 0 { 0 } else { target.number(sql).await }
}

/// A record of an output topic.
#[derive(Debug, PartialEq, Eq)]
struct Published {
    key: String,
    value: Option<String>,
    id: String,
    is_replay: bool,
}

async fn published(broker: &Broker, topic: &str) -> Vec<Published> {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    let published = |found: RecordAndOffset| {
        let headers = &found.record.headers;
        assert!(headers.contains_key("tally.flow"), "{headers:?}");
        Published {
            key: found.record.key.as_ref().map(text).unwrap(),
            value: found.record.value.as_ref().map(text),
            id: text(&headers["tally.id"]),
            is_replay: headers.contains_key("tally.replay"),
        }
    };
    broker.read_all(topic, 0).await.into_iter().map(published).collect()
}

pub fn order(number: i64, state: &str, times: i64) -> String {
    json!({"number": number, "state": state, "times": times}).to_string()
}

pub fn alert(account: &str, amount: &str, times: i64) -> String {
    json!({"account": account, "text": "look", "amount": amount, "times": times}).to_string()
}

/// What was published of these positions, but for repeats: each id at least once, and ids only grow.
fn check_once_or_repeated(stream: &str, published: &[Published], positions: i64) {
    let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
    for Published { id, .. } in published {
        let rest = id.strip_prefix(&format!("{stream}/0/1/")).unwrap_or_else(|| panic!("{id}"));
        let position = rest.strip_suffix("/0").unwrap().parse().unwrap();
        let greatest = seen.last_key_value().map_or(-1, |(position, _)| *position);
        assert!(seen.contains_key(&position) || position == greatest + 1, "{id} after {greatest}");
        *seen.entry(position).or_default() += 1;
    }
    assert_eq!(seen.len(), usize::try_from(positions).unwrap());
}

async fn alerts_are_published_before_they_are_counted(target: Target) {
    const TOO_LARGE: i64 = 400_000;
    let records = [
        alert("a", "1.50", 1),
        alert("b", "2", 1),
        alert("a", "1000000", 1),
        "{}".to_owned(),
        alert("a", "3", TOO_LARGE),
        alert("a", "0.25", 2),
    ];
    let topics = Topics::of("alerts", &records).await;
    topics.consume("alerts", &target);
    let stream = format!("tally/{}", topics.from);
    let expected = |position: i64, key: &str, value: &str, is_replay| Published {
        key: key.to_owned(),
        value: Some(value.to_owned()),
        id: format!("{stream}/0/1/{position}/0"),
        is_replay,
    };
    let mut all = vec![
        expected(0, "a", "look", false),
        expected(1, "b", "look", false),
        expected(5, "a", "looklook", false),
    ];
    assert_eq!(topics.published().await, all);
    let counters = "select account, alerts, amount from alerts_by_account order by 1";
    assert_eq!(rows(&target, counters).await, ["a|2|1.75", "b|1|2.00"]);
    let letters = "select position, stage, code, state from dead_letters order by pass, position";
    let refused = [
        "2|publish|counter_refused|open",
        "3|validate|incomplete|open",
        "4|publish|publish_too_large|open",
    ];
    assert_eq!(rows(&target, letters).await, refused);
    let sums = "select sum(read), sum(written), sum(dead_lettered) from batches";
    assert_eq!(rows(&target, sums).await, ["6|3|3"]);

    // Read again, nothing is published twice; corrected and replayed, what never was.
    let set = program("kafka-consumer")
        .args(["positions", "set", "--to", "earliest", "--flow", "alerts"])
        .args(["--database-url", &target.url(), "--brokers", topics.broker.bootstrap()])
        .args(["--topic", &topics.from])
        .spawn();
    ended_with(&set, 0);
    topics.consume("alerts", &target);
    assert_eq!(topics.published().await, all);
    let corrected = alert("c", "7", 1).replace('\'', "");
    let payload = match target {
        Target::Postgres(_) => format!("convert_to('{corrected}', 'UTF8')"),
        Target::Sqlite(_) => format!("cast('{corrected}' as blob)"),
    };
    let correct = format!("update dead_letters set payload = {payload} where position = 3");
    target.execute(&correct).await;
    topics.replay(&target);
    all.push(expected(3, "c", "look", true));
    assert_eq!(topics.published().await, all);
    assert_eq!(rows(&target, counters).await, ["a|2|1.75", "b|1|2.00", "c|1|7.00"]);
    assert_eq!(rows(&target, "select count(*) from outbox").await, ["0"]);
    topics.replay(&target);
    assert_eq!(topics.published().await, all);
    // The counters are not those of the source, which has not the corrected record; the topic holds what it should.
    topics.audited("alerts", &target, &["counter_sum"]);
}

async fn a_file_ends_once_its_outbox_is_empty(target: Target) {
    let (broker, to) = {
        let broker = Broker::shared().await;
        (broker, broker.topic(1).await)
    };
    let mut lines = vec!["number,state,times".to_owned()];
    lines.extend((0..600).map(|number| format!("{number},new,1")));
    lines.push("600,refused,1".to_owned());
    lines.push("601,new,500000".to_owned());
    lines.push("5,done,1".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let table = Table::new(&lines);
    let run = |flags: &[&str]| {
        let process = program("csv-runner")
            .args(["--flow", "orders", "--database-url", &target.url(), "--summary", "json"])
            .args([table.path()])
            .args(flags)
            .env("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap())
            .env(setting("orders"), &to)
            .spawn();
        ended_with(&process, 0)
    };
    run(&[]);
    let all = published(broker, &to).await;
    assert_eq!(all.len(), 602);
    assert!(all.iter().all(|published| !published.is_replay));
    let place = |published: &Published| {
        let mut parts = published.id.rsplit('/').map(|part| part.parse::<i64>().unwrap_or(-1));
        let (n, position) = (parts.next().unwrap(), parts.next().unwrap());
        (position, n)
    };
    let places: Vec<_> = all.iter().map(place).collect();
    let expected = (0..600).map(|position| (position, 0)).chain([(602, 0), (602, 1)]);
    assert_eq!(places, expected.collect::<Vec<_>>());
    assert_eq!((&*all[600].key, all[600].value.as_deref()), ("5", Some("done")));
    assert_eq!((&*all[601].key, &all[601].value), ("5", &None));
    assert_eq!(rows(&target, "select count(*) from outbox").await, ["0"]);
    let ended = "select count(*) from positions where ended_at is not null";
    assert_eq!(rows(&target, ended).await, ["1"]);
    let letters = "select position, stage, code from dead_letters order by position";
    let [refused, large] = <[String; 2]>::try_from(rows(&target, letters).await).unwrap();
    assert!(refused.starts_with("600|write|"), "{refused}");
    assert_eq!(large, "601|publish|publish_too_large");

    // The pass has ended; who replays a record publishes it.
    let payload = match target {
        Target::Postgres(_) => "convert_to('600,new,1', 'UTF8')",
        Target::Sqlite(_) => "cast('600,new,1' as blob)",
    };
    target
        .execute(&format!("update dead_letters set payload = {payload} where position = 600"))
        .await;
    let replay = program("dead-letters")
        .args(["replay", "--all", "--reason", "test", "--database-url", &target.url()])
        .env("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap())
        .env(setting("orders"), &to)
        .spawn();
    ended_with(&replay, 0);
    let replayed = published(broker, &to).await;
    assert_eq!(replayed.len(), 603);
    let last = replayed.last().unwrap();
    assert_eq!((place(last), last.is_replay), ((600, 0), true));
    assert_eq!(rows(&target, ended).await, ["1"]);
    assert_eq!(
        rows(&target, "select count(*) from positions where owner is not null").await,
        ["0"]
    );

    run(&["--again"]);
    assert_eq!(published(broker, &to).await.len(), 603);
    audited(&target);
}

async fn a_replay_leaves_the_outbox_of_a_live_worker_to_it(target: Target) {
    let records = [order(1, "new", 1), order(2, "refused", 1)];
    let topics = Topics::of("orders", &records).await;
    let consumer = topics.consumer("orders", &target, &[]);
    eventually(LONG, async || count(&target, "select count(*) from dead_letters").await == 1).await;
    let payload = match target {
        Target::Postgres(_) => format!("convert_to('{}', 'UTF8')", order(2, "new", 1)),
        Target::Sqlite(_) => format!("cast('{}' as blob)", order(2, "new", 1)),
    };
    target.execute(&format!("update dead_letters set payload = {payload}")).await;
    topics.replay(&target);
    eventually(LONG, async || topics.published().await.len() == 2).await;
    let last = topics.published().await.pop().unwrap();
    assert_eq!((&*last.key, last.is_replay), ("2", true));
    consumer.signal(Signal::SIGTERM);
    ended_with(&consumer, 143);
    let epochs = "select count(*) from positions where epoch > 1";
    assert_eq!(rows(&target, epochs).await, ["0"], "nobody else has claimed it");
}

crate::on_both_stores! {
    alerts_are_published_before_they_are_counted
    a_file_ends_once_its_outbox_is_empty
    a_replay_leaves_the_outbox_of_a_live_worker_to_it
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_topic_that_is_missing_is_a_wrong_setting() {
    let topics = Topics { to: "nosuch-topic".to_owned(), ..Topics::of("alerts", &[]).await };
    let target = Target::sqlite();
    let output = ended_with(&topics.consumer("alerts", &target, &["--until-end"]), 78);
    assert!(output.stderr.contains("nosuch-topic"), "{output}");
    let table = Table::new(&["account,text,amount,times"]);
    let process = program("csv-runner")
        .args(["--flow", "alerts", "--database-url", &target.url()])
        .args([table.path()])
        .env("KAFKA_BOOTSTRAP_SERVERS", topics.broker.bootstrap())
        .env(topics.setting, &topics.to)
        .spawn();
    let output = ended_with(&process, 78);
    assert!(output.stderr.contains("nosuch-topic"), "{output}");
}

/// What was in flight at the kill may be published twice, under the same id; nothing else.
async fn a_kill_loses_nothing(flow: &str, records: Vec<String>) {
    let target = Target::postgres().await;
    let number = i64::try_from(records.len()).unwrap();
    let topics = Topics::of(flow, &records).await;
    for kill in 1..=3 {
        let consumer = topics.consumer(flow, &target, &[]);
        eventually(LONG, async || {
            count(&target, "select count(*) from batches").await >= kill * 10
        })
        .await;
        topics.audited(flow, &target, &[]);
        consumer.kill9();
        assert_eq!(consumer.wait(LONG).signal, Some(Signal::SIGKILL));
        topics.audited(flow, &target, &[]);
    }
    topics.consume(flow, &target);
    check_once_or_repeated(&format!("tally/{}", topics.from), &topics.published().await, number);
    let sums = "select sum(read), sum(written), sum(dead_lettered) from batches";
    assert_eq!(rows(&target, sums).await, [format!("{number}|{number}|0")]);
    assert_eq!(rows(&target, "select count(*) from outbox").await, ["0"]);
    let report = topics.audited(flow, &target, &[]);
    let published = &report["published"];
    let repeats = published["repeats"].as_i64().unwrap();
    assert_eq!(published["records"], number + repeats, "{published}");
    assert_eq!(published["expected"], number, "{published}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_alert() {
    a_kill_loses_nothing("alerts", (0..10_000).map(|_| alert("a", "0.01", 1)).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_change() {
    let orders = (0..10_000).map(|number| order(number, "new", 1)).collect();
    a_kill_loses_nothing("orders", orders).await;
}
