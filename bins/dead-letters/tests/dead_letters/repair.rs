//! `repair`: corrected records, back in their topics.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::job::{Job, LONG, Target, ended_with};
use tally_harness::kafka::{Broker, JavaProducer, RecordAndOffset, Stored, record};
use tally_harness::process::{Launch, Signal};
use tally_harness::registry::Registry;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::support::{Desk, HEADER, objects, on_both_stores, outcomes, replayed, row};

on_both_stores! {
    what_the_rule_corrects_goes_back_and_is_taken
    a_dry_run_shows_the_changes_and_makes_none
    a_record_is_corrected_by_hand_and_not_a_second_time
    avro_is_corrected_by_hand_by_the_schema_it_was_written_with
    a_live_reader_puts_it_back
    what_cannot_be_repaired_stays_open
    killed_while_it_is_put_back_a_record_is_there_once
    no_more_are_repaired_than_asked_for
}

/// A topic of logins and that of the processed ones, or a topic of transactions.
struct Topic {
    broker: &'static Broker,
    flow: &'static str,
    from: String,
    processed: String,
}

impl Topic {
    async fn new(flow: &'static str, values: &[&str]) -> Self {
        let broker = Broker::shared().await;
        let (from, processed) = (broker.topic(1).await, broker.topic(1).await);
        let topic = Self { broker, flow, from, processed };
        topic.append(values).await;
        topic
    }

    async fn append(&self, values: &[&str]) {
        let records = values.iter().map(|value| record(Some(b"key"), Some(value.as_bytes())));
        self.broker.produce(&self.from, 0, records.collect()).await;
    }

    fn job(&self, desk: &Desk, flags: &[&str]) -> Job {
        let job = Job::consumer(&desk.target.url(), self.broker.bootstrap(), &self.from);
        job.flags(["--flow", self.flow, "--lease", "2s"])
            .flags(flags)
            .model(&desk.model.url())
            .env("TALLY_FLOWS__USER_LOGINS__PUBLISH__PROCESSED", &self.processed)
            .env("TALLY_FLOWS__USER_LOGINS__DLQ_TOPIC", &self.processed)
            .env("TALLY_BUDGET__RATIO", "1")
    }

    fn consume(&self, desk: &Desk) {
        let output = self.job(desk, &["--until-end"]).spawn().wait(LONG);
        assert_eq!(output.code, Some(0), "{output}");
    }

    fn launch(&self, desk: &Desk, arguments: &[&str]) -> Launch {
        let repair = ["repair", "--brokers", self.broker.bootstrap()];
        let launch = desk.launch(&[&repair, arguments].concat());
        launch.env("TALLY_FLOWS__USER_LOGINS__PUBLISH__PROCESSED", &self.processed)
    }

    /// Lines of JSON.
    #[track_caller]
    fn repair(&self, desk: &Desk, arguments: &[&str]) -> Vec<Value> {
        let output = self.launch(desk, &[arguments, &["--output", "json"]].concat()).spawn();
        objects(&ended_with(&output, 0).stdout)
    }

    async fn values(&self, topic: &str) -> Vec<RecordAndOffset> {
        self.broker.read_all(topic, 0).await
    }
}

fn header(found: &RecordAndOffset, name: &str) -> Option<String> {
    let value = found.record.headers.get(name)?;
    Some(String::from_utf8(value.clone()).unwrap())
}

fn value(found: &RecordAndOffset) -> Value {
    serde_json::from_slice(found.record.value.as_ref().unwrap()).unwrap()
}

const LOGIN: &str = r#"{"user_id":"u","app_version":"1","device_type":"ios","ip":"i","locale":"l","device_id":"d","timestamp":7}"#;

fn login(without: &str) -> String {
    let mut login: Value = serde_json::from_str(LOGIN).unwrap();
    login.as_object_mut().unwrap().remove(without).unwrap();
    login.to_string()
}

/// Those without an outcome are the changes.
fn told(lines: Vec<Value>) -> (Vec<Value>, Vec<(i64, String)>, Value) {
    let (changes, lines): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line["changes"].is_array());
    let (outcomes, counts) = replayed(lines);
    (changes, outcomes, counts)
}

async fn what_the_rule_corrects_goes_back_and_is_taken(desk: Desk) {
    let (no_device, no_time) = (login("device_type"), login("timestamp"));
    let wrong = LOGIN.replace("\"i\"", "7");
    let topic = Topic::new("user-logins", &[LOGIN, &no_device, "{", &no_time, &wrong]).await;
    topic.consume(&desk);
    assert_eq!(desk.states().await, ["1 1 open", "2 1 open", "3 1 open", "4 1 open"]);
    let ids = desk.ids().await;

    let (changes, told, counts) = told(topic.repair(&desk, &["--all", "--reason", "because"]));
    let change = |id: &str, path: &str, after: Value| json!({"id": id, "changes": [{"path": path, "after": after}]});
    let expected =
        [change(&ids[0], "device_type", json!("")), change(&ids[2], "timestamp", json!(0))];
    assert_eq!(changes, expected);
    let expected = [(1, "repaired"), (2, "not_repairable"), (3, "repaired"), (4, "not_repairable")];
    let sorted = |mut told: Vec<(i64, String)>| {
        told.sort();
        told
    };
    assert_eq!(sorted(told), outcomes(expected));
    assert_eq!(counts, json!({"repaired": 2, "not_repairable": 2}));
    assert_eq!(desk.states().await, ["1 1 repaired", "2 1 open", "3 1 repaired", "4 1 open"]);
    assert_eq!(desk.acts("repair").await, [counts]);
    let shown = desk.json(&["show", &ids[0]]);
    assert_eq!(shown["payload"], json!(no_device), "the bytes as they were");

    let back = topic.values(&topic.from).await.split_off(5);
    let [first, second] = &back[..] else { panic!("{back:?}") };
    for (found, id, position) in [(first, &ids[0], 1), (second, &ids[2], 3)] {
        assert_eq!(header(found, "tally.repaired-from").as_ref(), Some(id));
        assert_eq!(header(found, "tally.replay").as_deref(), Some("true"));
        let of_record = format!("tally/{}/0/1/{position}/0", topic.from);
        assert_eq!(header(found, "tally.id"), Some(of_record));
        assert_eq!(found.record.key.as_deref(), Some(&b"key"[..]));
    }
    assert_eq!(value(first)["device_type"], "");
    assert_eq!(
        (value(second)["timestamp"].clone(), value(second)["ip"].clone()),
        (json!(0), json!("i"))
    );

    topic.consume(&desk);
    let open = desk.states().await;
    assert_eq!(open, ["1 1 repaired", "2 1 open", "3 1 repaired", "4 1 open"]);
    let counts = desk
        .texts("select device_type, logins from user_logins_by_device_type order by device_type")
        .await;
    assert_eq!(counts, [" 1", "ios 2"]);
    let processed = topic.values(&topic.processed).await;
    assert!(processed.iter().any(|found| value(found)["created_at"] == "1970-01-01T00:00:00Z"));
    let again = topic.repair(&desk, &["--all"]);
    assert_eq!(told_counts(&again), json!({"not_repairable": 2}));
}

fn told_counts(lines: &[Value]) -> Value {
    lines.last().unwrap()["counts"].clone()
}

async fn a_dry_run_shows_the_changes_and_makes_none(desk: Desk) {
    let topic = Topic::new("user-logins", &[&login("ip")]).await;
    topic.consume(&desk);
    let before = desk.ledger().await;
    let output = topic.launch(&desk, &["--all", "--dry-run"]).spawn();
    let output = ended_with(&output, 0).stdout;
    assert!(output.contains("  + ip: \"\"\n"), "{output}");
    assert!(output.contains("would be repaired: on its way back to its topic"), "{output}");
    assert!(output.contains("dry run, nothing changed: 1 repaired"), "{output}");
    assert_eq!(desk.states().await, ["0 1 open"]);
    assert_eq!((desk.ledger().await, desk.acts("repair").await.len()), (before, 0));
    assert_eq!(topic.values(&topic.from).await.len(), 1);
}

fn transaction(description: &str, side: &str) -> String {
    let id = Uuid::from_u128(1).to_string();
    json!({"id": id, "description": description, "amount": -1.5, "merchant": null, "more": {"a": 1},
        "timestamp": "2024-01-15T08:30:00", "operation_type": "payment", "side": side})
    .to_string()
}

/// Of a flow without a rule and without outputs; what the model refuses after it is not repaired again.
async fn a_record_is_corrected_by_hand_and_not_a_second_time(desk: Desk) {
    desk.model.refuse();
    let topic = Topic::new("transactions", &[&transaction("bad", "wrong")]).await;
    topic.consume(&desk);
    let first = desk.ids().await.remove(0);
    let rule = topic.repair(&desk, &[&first]);
    let why = rule[0]["why"].as_str().unwrap();
    assert!(why.contains("--set and --set-json"), "{why}");

    let set = ["--set", "side=debit", "--set-json", "more.a=[2]", &first];
    let (changes, told, _) = told(topic.repair(&desk, &set));
    let expected = json!([{"path": "more.a", "before": 1, "after": [2]}, {"path": "side", "before": "wrong", "after": "debit"}]);
    let mut sorted = changes[0]["changes"].clone();
    sorted.as_array_mut().unwrap().sort_by_key(|change| change["path"].as_str().map(str::to_owned));
    assert_eq!((sorted, told), (expected, outcomes([(0, "repaired")])));
    let acts =
        desk.texts("select target from acts where verb = 'repair' order by at desc, id desc").await;
    assert!(acts[0].ends_with(" set side set more.a"), "{acts:?}");

    topic.consume(&desk);
    assert_eq!(desk.states().await, ["0 1 repaired", "1 1 open"]);
    let second = desk.ids().await.remove(1);
    let again = topic.repair(&desk, &["--set", "description=good", &second]);
    let why = again[0]["why"].as_str().unwrap();
    assert_eq!(why, format!("it was repaired before, as {first}, and has failed again"));
    assert_eq!(desk.states().await, ["0 1 repaired", "1 1 open"]);
    let shown = desk.done(&["show", &second]);
    assert!(shown.contains(&format!("tally.repaired-from: {first}")), "{shown}");
}

/// Of a schema like this, and none of the values that are not set.
async fn avro_is_corrected_by_hand_by_the_schema_it_was_written_with(desk: Desk) {
    const SCHEMA: &str = r#"{"type": "record", "name": "T", "fields": [
        {"name": "id", "type": "string"}, {"name": "description", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "merchant", "type": ["null", "string"]},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "operation_type", "type": "string"}, {"name": "side", "type": ["null", "string"]}]}"#;
    let (topic, registry) = (Topic::new("transactions", &[]).await, Registry::shared().await);
    let schema = registry.register(&format!("{}-value", topic.from), SCHEMA).await.to_be_bytes();
    let value = |amount: &[u8], side: &[u8]| {
        let id = Uuid::from_u128(1).to_string();
        let before: [&[u8]; 5] = [b"\0", &schema, b"\x48", id.as_bytes(), b"\x08good"];
        [&before.concat(), amount, b"\0\x80\x9d\xef\xc3\xa1\x63\x0epayment", side].concat()
    };
    let bad = value(b"\x02\x05", b"\x02\x0awrong");
    topic.broker.produce(&topic.from, 0, vec![record(Some(b"key"), Some(&bad))]).await;
    let consume = || {
        let job = topic.job(&desk, &["--until-end"]).env("SCHEMA_REGISTRY_URL", registry.url());
        ended_with(&job.spawn(), 0)
    };
    consume();
    assert_eq!(desk.states().await, ["0 1 open"]);

    let repair = |values: &[&str], registry: Option<&Registry>| {
        let launch = topic.launch(&desk, &[&["--all", "--output", "json"], values].concat());
        let launch = match registry {
            Some(registry) => launch.env("SCHEMA_REGISTRY_URL", registry.url()),
            None => launch,
        };
        objects(&ended_with(&launch.spawn(), 0).stdout)
    };
    for (values, registry, why) in [
        (["--set", "side=debit"], None, "no schema registry is configured"),
        (["--set", "sides=debit"], Some(registry), "sides: no such field in its schema"),
        (["--set-json", "amount=0.125"], Some(registry), "amount: more than 2 decimals"),
        (["--set", "side=wrong"], Some(registry), "the correction changes nothing"),
    ] {
        assert_eq!(repair(&values, registry)[0]["why"], why, "{values:?}");
    }
    let values = ["--set", "side=debit", "--set-json", "amount=-2.50"];
    let (changes, told, _) = told(repair(&values, Some(registry)));
    let expected = json!([
        {"path": "amount", "before": 0.05, "after": -2.5},
        {"path": "side", "before": "wrong", "after": "debit"},
    ]);
    assert_eq!((&changes[0]["changes"], told), (&expected, outcomes([(0, "repaired")])));

    let back = topic.values(&topic.from).await.remove(1).record;
    assert_eq!(back.value, Some(value(b"\x04\xff\x06", b"\x02\x0adebit")));
    consume();
    assert_eq!(desk.states().await, ["0 1 repaired"]);
    assert_eq!(desk.texts("select side from transactions").await, ["debit"]);
}

/// Which owns the partition: the repair only leaves it to it.
async fn a_live_reader_puts_it_back(desk: Desk) {
    let topic = Topic::new("transactions", &[&transaction("one", "wrong")]).await;
    let consumer = topic.job(&desk, &[]).spawn();
    eventually(LONG, async || {
        desk.target.has_tables().await
            && desk.target.number("select count(*) from dead_letters").await == 1
    })
    .await;
    topic.repair(&desk, &["--all", "--set", "side=debit"]);
    eventually(LONG, async || desk.target.number("select count(*) from transactions").await == 1)
        .await;
    consumer.signal(Signal::SIGTERM);
    assert_eq!(consumer.wait(LONG).code, Some(143));
    let rows = desk.texts("select description, side, position from transactions").await;
    assert_eq!(rows, ["one debit 1"]);
    assert_eq!(desk.target.number("select count(*) from outbox").await, 0);
    assert_eq!(topic.values(&topic.from).await.len(), 2);
}

/// Exactly once for readers of committed records, at least once and under one id otherwise.
async fn killed_while_it_is_put_back_a_record_is_there_once(desk: Desk) {
    let java = Mutex::new(JavaProducer::start(Broker::shared().await.bootstrap()));
    for (delivery, place) in [
        ("exactly-once", "kafka-commit-before"),
        ("exactly-once", "kafka-commit-after"),
        ("exactly-once", "mark-before"),
        ("at-least-once", "produce-after"),
        ("at-least-once", "mark-before"),
    ] {
        let topic = Topic::new("user-logins", &[&login("ip"), &login("locale")]).await;
        topic.consume(&desk);
        let repair = || {
            topic
                .launch(&desk, &["--flow", "user-logins", "--all"])
                .env("TALLY_KAFKA__DELIVERY", delivery)
                .env("TALLY_KAFKA__PROGRESS_TOPIC", format!("{}-progress", topic.processed))
        };
        let killed = repair().env("FAILPOINT", format!("{place}:kill:1")).spawn().wait(LONG);
        assert_eq!(killed.signal, Some(Signal::SIGKILL), "{place} {delivery}: {killed}");
        // While the lease of the dead one lives, nobody takes over.
        eventually(LONG, async || {
            ended_with(&repair().spawn(), 0);
            desk.target.number("select count(*) from outbox").await == 0
        })
        .await;
        // A commit returns before the partition has the marker.
        eventually(LONG, async || {
            let (stable, written) = java.lock().await.ends(&topic.from).await;
            stable == written
        })
        .await;
        let found = java.lock().await.read_all(&topic.from, 0, true).await.split_off(2);
        let id = |found: &Stored| {
            found.headers.iter().find(|(name, _)| name == "tally.id").cloned().unwrap()
        };
        let ids: BTreeSet<_> = found.iter().map(id).collect();
        assert_eq!(ids.len(), 2, "{place} {delivery}");
        assert!(found.len() == 2 || delivery == "at-least-once", "{place}: {}", found.len());
    }
}

async fn no_more_are_repaired_than_asked_for(desk: Desk) {
    let topic = Topic::new("user-logins", &[&login("ip"), &login("ip"), &login("ip")]).await;
    topic.consume(&desk);
    let lines = topic.repair(&desk, &["--all", "--limit", "2", "--rate", "100/s"]);
    assert_eq!(told_counts(&lines), json!({"repaired": 2}));
    assert_eq!(topic.values(&topic.from).await.len(), 5);
}

async fn what_cannot_be_repaired_stays_open(desk: Desk) {
    let (valid, broken) = (transaction("one", "wrong"), "[1]");
    let topic = Topic::new("transactions", &[&valid, broken]).await;
    topic.consume(&desk);
    let rows = row(1, "one").replace("debit", "wrong");
    let output = desk.job("a.csv", &rows).spawn().wait(LONG);
    assert_eq!(output.code, Some(0), "{output} of {HEADER}");
    let whys = |set: &[&str]| {
        let lines = topic.repair(&desk, &[&["--all"], set].concat());
        let whys = lines.iter().filter_map(|line| line["why"].as_str().map(str::to_owned));
        whys.collect::<Vec<_>>()
    };
    let found = whys(&["--set", "side=still wrong"]);
    let expected =
        |why: &str| assert!(found.iter().any(|found| found.contains(why)), "{why} in {found:?}");
    expected("it came from a file");
    expected("it would not be valid: side_unknown");
    expected("not a JSON object");
    assert!(
        whys(&["--set", "side=wrong"]).iter().any(|why| why == "the correction changes nothing")
    );
    assert!(
        whys(&["--set", "more.b.c=x"]).iter().any(|why| why == "nothing in it leads to more.b.c")
    );
    let open = desk.target.number("select count(*) from dead_letters where state = 'open'").await;
    assert_eq!(open, 3);
    assert_eq!(topic.values(&topic.from).await.len(), 2);

    let gone = Topic::new("transactions", &[&valid]).await;
    gone.consume(&desk);
    gone.broker.delete_topic(&gone.from).await;
    let found = whys(&["--set", "side=debit"]);
    assert!(
        found.iter().any(|why| why.contains(&format!("has no topic {}", gone.from))),
        "{found:?}"
    );
    assert_eq!(topic.values(&topic.from).await.len(), 3, "the others are repaired");

    for (flags, says) in [
        (["--set", "side"], "a field and a text"),
        (["--set-json", "side=wrong"], "--set takes a text"),
        (["--set", "a..b=c"], "a field and a text"),
    ] {
        let output = desk.run(&[&["repair", "--all"], &flags[..]].concat());
        assert_eq!(output.code, Some(2), "{output}");
        assert!(output.stderr.contains(says), "{output}");
    }
    let nothing = desk.run(&["repair"]);
    assert_eq!(nothing.code, Some(2), "{nothing}");
}
