//! The ledger against the topic that was read.

use std::ffi::OsStr;

use serde_json::{Value, json};
use tally_harness::job::{Job, ModelService, Target};
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord, Record, record};
use tally_harness::process::{Launch, binary};
use tally_harness::registry::Registry;

use crate::support::{LONG, Sample, audit_of, audited};

fn payload(id: u32) -> Vec<u8> {
    let (timestamp, side) = ("2024-01-15 08:30:00", if id % 10 == 3 { "neither" } else { "debit" });
    let record = json!({"id": id, "description": "x", "amount": "-1.50", "timestamp": timestamp, "side": side});
    record.to_string().into_bytes()
}

fn records(ids: impl IntoIterator<Item = u32>) -> Vec<Record> {
    ids.into_iter().map(|id| record(None, Some(&payload(id)))).collect()
}

/// A topic and the group that reads it.
struct Read {
    broker: &'static Broker,
    topic: String,
    target: Target,
    model: ModelService,
}

impl Read {
    async fn new(target: Target, partitions: i32) -> Self {
        let broker = Broker::shared().await;
        let topic = broker.topic(partitions).await;
        Self { broker, topic, target, model: ModelService::start() }
    }

    /// Reads all that is there.
    fn read(&self) {
        let job = Job::consumer(&self.target.url(), self.broker.bootstrap(), &self.topic);
        let job = job.model(self.model.url()).flags(["--until-end", "--batch-size=20"]);
        let output = job.spawn().wait(LONG);
        assert_eq!(output.code, Some(0), "{output}");
    }

    #[track_caller]
    fn audited(&self, code: i32) -> Value {
        self.audited_with(code, &[])
    }

    #[track_caller]
    fn audited_with(&self, code: i32, flags: &[&str]) -> Value {
        let of_topic = ["--brokers", self.broker.bootstrap(), "--topic", &self.topic];
        let flags: Vec<&OsStr> = of_topic.iter().chain(flags).map(AsRef::as_ref).collect();
        audited(&self.target, code, &flags)
    }

    /// There is a violation of this kind, and it says this.
    #[track_caller]
    fn assert_found(&self, kind: &str, text: &str) {
        let report = self.audited(65);
        let is_found = report["violations"].as_array().unwrap().iter().any(|violation| {
            violation["kind"] == kind && violation["message"].as_str().unwrap().contains(text)
        });
        assert!(is_found, "no {kind} {text:?} in {report:#}");
    }

    fn pass(&self, partition: i32) -> String {
        format!("transactions tally/{} partition {partition} pass 1: ", self.topic)
    }
}

/// Two partitions, bad records, and transactions, whose ends are offsets without records.
async fn with_transactions(target: Target) -> Read {
    let read = Read::new(target, 2).await;
    let (broker, topic) = (read.broker, &read.topic);
    broker.produce(topic, 0, records(1..=100)).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    for id in [201, 202, 203] {
        java.begin().await;
        let value = payload(id);
        let record =
            JavaRecord { topic, partition: Some(1), value: Some(&value), ..JavaRecord::default() };
        java.send(record).await;
        java.commit().await;
    }
    read.read();
    read
}

async fn agrees(target: Target) {
    let read = with_transactions(target).await;
    let report = read.audited(0);
    assert_eq!(report["violations"], json!([]), "{report}");
    let total = &report["total"];
    assert_eq!((&total["read"], &total["dead_lettered"]), (&json!(103), &json!(11)), "{report}");
    let log = &report["log"];
    let of = |partition: usize, key: &str| log[partition][key].as_i64();
    assert_eq!([of(0, "first"), of(0, "end"), of(0, "next")], [Some(0), Some(100), Some(100)]);
    assert_eq!([of(0, "records"), of(0, "compacted")], [Some(100), Some(0)], "{report}");
    assert_eq!([of(1, "end"), of(1, "next"), of(1, "records")], [Some(6), Some(6), Some(3)]);

    // Nobody can tell from the ledger alone that one record less was read than there was.
    read.target.execute("create table saved as select * from batches where partition = 1").await;
    read.target.execute("create table saved_rows as select * from transactions").await;
    let json = if matches!(read.target, Target::Sqlite(_)) { "text" } else { "json" };
    let lose = format!(
        "update batches set read = read - 1, written = written - 1, \
         passed = cast('{{\"unknown\": ' || (last - first + 2 - read) || '}}' as {json}) where partition = 1 and written > 0 \
         and first = (select max(first) from batches where partition = 1 and written > 0)"
    );
    read.target.execute(&lose).await;
    read.target
        .execute(
            "delete from transactions where position = 2 and description = 'x' and origin = \
        (select id from positions where partition = 1)",
        )
        .await;
    assert_eq!(audited(&read.target, 0, &[])["violations"], json!([]));
    read.assert_found("source_count", &format!("{}the log has ", read.pass(1)));
    let missing = "the record at 2 was read and has neither a row nor a dead letter";
    read.assert_found("record_missing", &format!("{}{missing}", read.pass(1)));
    read.target
        .execute("delete from batches where partition = 1; insert into batches select * from saved")
        .await;
    let restore = "delete from transactions; insert into transactions select * from saved_rows";
    read.target.execute(restore).await;
    read.audited(0);

    // What the log no longer has is not compared, whole ranges only.
    read.broker.delete_records(&read.topic, 0, 50).await;
    let report = read.audited(0);
    let log = &report["log"][0];
    assert_eq!((&log["first"], &log["records"]), (&json!(50), &json!(40)), "{report}");

    read.target.execute("update positions set next = 107 where partition = 0").await;
    read.assert_found("source_end", "its position stands at 107, and the log ends at 100");
    read.target.execute("update positions set next = 100 where partition = 0").await;
    let other = read.audited_with(65, &["--group", "other"]);
    assert_eq!(other["violation_counts"], json!({ "source_unknown": 1 }), "{other}");

    // Records that nobody has read are deleted.
    read.broker.produce(&read.topic, 0, records(301..=310)).await;
    read.audited(0);
    read.broker.delete_records(&read.topic, 0, 105).await;
    read.assert_found(
        "source_lost",
        "offsets 100 to 104 were never read and are no longer in the log",
    );
}

#[tokio::test]
async fn it_agrees_with_the_topic_sqlite() {
    agrees(Target::sqlite()).await;
}

#[tokio::test]
async fn it_agrees_with_the_topic_postgres() {
    agrees(Target::postgres().await).await;
}

#[tokio::test]
async fn a_topic_recreated_is_another_one() {
    let read = Read::new(Target::sqlite(), 1).await;
    read.broker.produce(&read.topic, 0, records(1..=30)).await;
    read.read();
    read.audited(0);
    read.broker.delete_topic(&read.topic).await;
    read.broker.create_topic(&read.topic, 1).await;
    read.assert_found("source_end", "stands at 30, and the log ends at 0");
    read.broker.produce(&read.topic, 0, records(501..=540)).await;
    read.assert_found("source_replaced", "the topic was recreated: its id was ");
}

#[tokio::test]
async fn brokers_and_topics_that_are_not_there() {
    let read = Read::new(Target::sqlite(), 1).await;
    read.broker.produce(&read.topic, 0, records(1..=3)).await;
    read.read();
    let run = |flags: &[&str]| audit_of(&read.target.url(), flags).spawn().wait(LONG);
    let output = run(&["--brokers=127.0.0.1:9", "--topic", &read.topic]);
    assert_eq!(output.code, Some(69), "{output}");
    let output =
        run(&["--brokers", read.broker.bootstrap(), "--topic", &format!("{}x", read.topic)]);
    assert_eq!(output.code, Some(78), "{output}");
    assert!(output.stderr.contains("has no topic"), "{output}");
    assert_eq!(run(&["--topic", &read.topic]).code, Some(2), "a topic without brokers");
    let output = run(&["--brokers", read.broker.bootstrap(), "--topic", &read.topic]);
    assert_eq!(output.code, Some(0), "{output}");
    let says = format!(
        "{}/0, whose log is from 0 to 3: read to 3, 3 records in 1 batches counted again",
        read.topic
    );
    assert!(output.stdout.contains(&says), "{output}");
}

#[tokio::test]
async fn records_of_a_schema_that_is_not_known_are_told_of() {
    let (read, registry) = (Read::new(Target::sqlite(), 1).await, Registry::shared().await);
    let sample = Sample::new(20, 0.0);
    let producer = Launch::new(binary("producer"))
        .args([sample.path().to_str().unwrap(), "--brokers", read.broker.bootstrap()])
        .args(["--topic", &read.topic, "--format=avro"])
        .env("SCHEMA_REGISTRY_URL", registry.url());
    assert_eq!(producer.spawn().wait(LONG).code, Some(0));
    let job = Job::consumer(&read.target.url(), read.broker.bootstrap(), &read.topic);
    let job = job.model(read.model.url()).flag("--until-end");
    let output = job.env("SCHEMA_REGISTRY_URL", registry.url()).spawn().wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
    read.target.execute("delete from transactions where position = 7").await;

    let of_topic = ["--brokers", read.broker.bootstrap(), "--topic", &read.topic];
    let audit = || audit_of(&read.target.url(), &of_topic);
    let output = audit().spawn().wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stdout.contains("20 not looked for: their schema is unknown"), "{output}");
    assert!(output.stdout.contains("every record that could be read"), "{output}");
    let output = audit().env("SCHEMA_REGISTRY_URL", registry.url()).spawn().wait(LONG);
    assert_eq!(output.code, Some(65), "{output}");
    assert!(output.stdout.contains("the record at 7 was read and has neither"), "{output}");
}
