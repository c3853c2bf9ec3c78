//! What an audit finds in the topics that flows publish to: damage is named.

use serde_json::Value;
use tally_harness::job::{Target, ended_with};
use tally_harness::kafka::{Broker, Record, record};
use tally_ports::dead_letter::headers_to_json;

use crate::on_both_stores;
use crate::publishing::{Topics, alert, feed, order, setting};
use crate::support::{Table, audit, found, program, says};

on_both_stores! {
    alerts_in_their_topic
    changes_in_their_topic
    changes_of_a_file
    what_is_not_committed_yet
    what_the_ledger_says_of_records
}

/// A flow's topics after a run, and its database.
struct Read {
    flow: &'static str,
    topics: Topics,
    target: Target,
}

impl Read {
    async fn new(flow: &'static str, target: Target, values: &[String]) -> Self {
        let topics = Topics::of(flow, values).await;
        topics.consume(flow, &target);
        Self { flow, topics, target }
    }

    fn finds(&self, kinds: &[&str]) -> Value {
        self.topics.audited(self.flow, &self.target, kinds)
    }

    fn id(&self, position: i64, n: i64) -> String {
        format!("tally/{}/0/1/{position}/{n}", self.topics.from)
    }

    /// A record under this id.
    fn record(&self, id: &str, value: &str) -> Record {
        named(self.flow, id, value)
    }

    /// The topics, with another one in place of that which was published to, holding the same records as `change` leaves
    /// them.
    async fn instead(&self, change: impl FnOnce(&mut Vec<Record>)) -> Topics {
        let to = changed(self.topics.broker, &self.topics.to, change).await;
        let mut topics = Topics::of(self.flow, &[]).await;
        topics.from.clone_from(&self.topics.from);
        topics.to = to;
        topics
    }

    /// With such a topic there are violations of these kinds, of which one says this.
    async fn changed(
        &self,
        change: impl FnOnce(&mut Vec<Record>),
        kinds: &[&str],
        texts: &[&str],
    ) -> Value {
        let report = self.instead(change).await.audited(self.flow, &self.target, kinds);
        if !kinds.is_empty() {
            says(&report, texts);
        }
        report
    }
}

/// A topic of the same records as another, as `change` leaves them.
async fn changed(broker: &Broker, topic: &str, change: impl FnOnce(&mut Vec<Record>)) -> String {
    let all = broker.read_all(topic, 0).await;
    let mut records: Vec<Record> = all.into_iter().map(|found| found.record).collect();
    change(&mut records);
    let to = broker.topic(1).await;
    if !records.is_empty() {
        broker.produce(&to, 0, records).await;
    }
    to
}

/// A record of the flow under this id.
fn named(flow: &str, id: &str, value: &str) -> Record {
    let headers = [("tally.flow", flow), ("tally.id", id)];
    let headers = headers.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    Record { headers: headers.into(), ..record(Some(b"key"), Some(value.as_bytes())) }
}

async fn alerts_in_their_topic(target: Target) {
    let records = [alert("a", "1.50", 1), "{}".to_owned(), alert("b", "2", 1), alert("a", "3", 2)];
    let read = Read::new("alerts", target, &records).await;
    let published = &read.finds(&[])["published"];
    assert_eq!((&published["records"], &published["expected"]), (&3.into(), &3.into()));
    let from = format!("alerts tally/{} partition 0 log 1: ", read.topics.from);

    let missing = format!("{from}record 0 of the one at 2 is not in ");
    let kinds = ["publication_missing"];
    let report = read.changed(|records| drop(records.remove(1)), &kinds, &[&missing]).await;
    assert_eq!(report["violation_counts"]["publication_missing"], 1);
    let report = read.changed(Vec::clear, &kinds, &[&missing]).await;
    assert_eq!(report["violation_counts"]["publication_missing"], 3);

    let stray = read.record(&read.id(4, 0), "look");
    let nothing = format!("{from}a record of the position 4 is published, where the ledger");
    let kinds = ["publication_from_nothing"];
    read.changed(|records| records.push(stray), &kinds, &[&nothing]).await;
    let unreadable = read.record("4/0", "look");
    read.changed(|records| records.push(unreadable), &kinds, &["alerts: the record at 3 of "])
        .await;

    let letter = read.record(&read.id(1, 0), "look");
    let kinds = ["publication_of_dead_letter"];
    let words =
        format!("{from}the record at 1 is a dead letter that was not replayed, and 1 records");
    read.changed(|records| records.push(letter), &kinds, &[&words]).await;

    let second = read.record(&read.id(2, 1), "look");
    let kinds = ["publication_unexpected"];
    let words = format!("{from}record 1 of the one at 2 is published, which publishes 1");
    read.changed(|records| records.push(second), &kinds, &[&words]).await;

    let kinds = ["publication_content"];
    let words = format!("{from}record 0 of the one at 3 has another key or value in ");
    let look = |records: &mut Vec<Record>| records[2].value = Some(b"look".to_vec());
    read.changed(look, &kinds, &[&words]).await;
    let key = |records: &mut Vec<Record>| records[2].key = Some(b"b".to_vec());
    read.changed(key, &kinds, &[&words]).await;
    let again = |records: &mut Vec<Record>| {
        let value = Some(b"look".to_vec());
        records.push(Record { value, ..records[2].clone() });
    };
    let words = format!("{from}record 0 of the one at 3 is there again at 3 of ");
    read.changed(again, &kinds, &[&words, ", and is another one"]).await;

    // Others, and repeats, are counted.
    let elsewhere = read.record("tally/elsewhere/0/1/4/0", "look");
    let other = named("orders", &read.id(4, 0), "look");
    let more = |records: &mut Vec<Record>| {
        records.extend([elsewhere, other, record(None, None), records[0].clone()]);
    };
    let published = &read.changed(more, &[], &[]).await["published"];
    let counts = ["records", "repeats", "others"].map(|name| published[name].as_i64().unwrap());
    assert_eq!(counts, [4, 1, 3]);
}

async fn changes_in_their_topic(target: Target) {
    let records = [order(1, "new", 1), order(2, "done", 1), order(3, "refused", 1)];
    let read = Read::new("orders", target, &records).await;
    let published = &read.finds(&[])["published"];
    assert_eq!((&published["records"], &published["expected"]), (&3.into(), &3.into()));

    // One that stands in the outbox is not missing, and only a repeat where each must be there once.
    let id = read.id(1, 1);
    let headers = [("tally.flow", "orders"), ("tally.id", &id)];
    let headers = headers.map(|(name, value)| (name, Some(value.to_owned().into())));
    let (json, from) = (headers_to_json(&headers), &read.topics.from);
    let waiting = format!(
        "insert into outbox (flow, stream, partition, number, topic, headers, created_at)
         values ('orders', 'tally/{from}', 0, 7, 'to', '{json}', '2024-01-15 08:30:00')"
    );
    let kinds = ["publication_missing"];
    let missing = "record 1 of the one at 1 is not in ";
    let less = read.instead(|records| drop(records.pop())).await;
    says(&less.audited("orders", &read.target, &kinds), &[missing]);
    read.target.execute(&waiting).await;
    let report = less.audited("orders", &read.target, &[]);
    assert_eq!(report["published"]["unpublished"], 1);
    read.target.execute("delete from outbox").await;

    let twice = read.instead(|records| records.push(records[0].clone())).await;
    twice.audited("orders", &read.target, &[]);
    let flags = ["--flow", "orders", "--topic", from, "--brokers"];
    let once = |topics: &Topics, kinds: &[&str]| {
        let launch = audit(&read.target, &flags.map(AsRef::as_ref));
        let launch = launch.args([topics.broker.bootstrap()]).env(setting("orders"), &topics.to);
        let launch = launch.env("TALLY_KAFKA__DELIVERY", "exactly-once");
        found(&launch.spawn(), kinds)
    };
    once(&read.topics, &[]);
    let words = ["record 0 of the one at 0 is there again at 3 of "];
    says(&once(&twice, &["publication_repeated"]), &words);

    // What was deleted from a topic may have been there.
    let less = read.instead(|_| {}).await;
    less.broker.delete_records(&less.to, 0, 2).await;
    let report = less.audited("orders", &read.target, &[]);
    assert_eq!(report["published"]["deleted"], 2);
    assert_eq!(report["published"]["topics"][0]["is_whole"], false);

    // A pass that has read nothing yet leaves what the one before it has published.
    let set = program("kafka-consumer")
        .args(["positions", "set", "--to", "earliest", "--flow", "orders"])
        .args(["--database-url", &read.target.url(), "--brokers", less.broker.bootstrap()])
        .args(["--topic", from])
        .spawn();
    ended_with(&set, 0);
    read.finds(&[]);
    read.changed(|records| drop(records.pop()), &kinds, &[missing]).await;
}

async fn changes_of_a_file(target: Target) {
    let (broker, flow) = (Broker::shared().await, "orders");
    let to = broker.topic(1).await;
    let table = Table::new(&["number,state,times", "1,new,1", "2,refused,1", "3,done,1"]);
    let path = table.path();
    let run = |flags: &[&str]| {
        let process = program("csv-runner")
            .args(["--flow", flow, "--database-url", &target.url()])
            .args([&path])
            .args(flags)
            .env("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap())
            .env(setting(flow), &to)
            .spawn();
        ended_with(&process, 0)
    };
    let audited = |to: &str, is_given: bool, kinds: &[&str]| {
        let mut launch = audit(&target, &["--flow", flow].map(AsRef::as_ref));
        if is_given {
            launch = launch.args(["--source".as_ref(), path.as_os_str()]);
        }
        let launch = launch.args(["--brokers", broker.bootstrap()]).env(setting(flow), to);
        found(&launch.spawn(), kinds)
    };
    run(&[]);
    assert_eq!(audited(&to, true, &[])["published"]["expected"], 3);
    assert_eq!(audited(&to, false, &[])["published"]["expected"], 0);
    run(&["--again"]);
    assert_eq!(audited(&to, true, &[])["published"]["records"], 3);

    // Its dead letter is corrected and replayed.
    let payload = match &target {
        Target::Postgres(_) => "convert_to('2,new,1', 'UTF8')",
        Target::Sqlite(_) => "cast('2,new,1' as blob)",
    };
    target.execute(&format!("update dead_letters set payload = {payload}")).await;
    let replay = program("dead-letters")
        .args(["replay", "--all", "--reason", "test", "--database-url", &target.url()])
        .env("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap())
        .env(setting(flow), &to)
        .spawn();
    ended_with(&replay, 0);
    let report = audited(&to, true, &[]);
    let published = &report["published"];
    assert_eq!((&published["records"], &published["expected"]), (&4.into(), &4.into()));
    let less = changed(broker, &to, |records| drop(records.pop())).await;
    let report = audited(&less, true, &["publication_missing"]);
    says(&report, &["record 0 of the one at 1 is not in "]);
    audited(&less, false, &[]);
    let stream = published_stream(broker, &to).await;
    let more = |records: &mut Vec<Record>| records.push(named(flow, &(stream + "/3/0"), ""));
    audited(&changed(broker, &to, more).await, false, &["publication_from_nothing"]);
}

/// The log that the first record of a topic comes from.
async fn published_stream(broker: &Broker, topic: &str) -> String {
    let all = broker.read_all(topic, 0).await;
    let id = String::from_utf8(all[0].record.headers["tally.id"].clone()).unwrap();
    id.strip_suffix("/0/0").unwrap().to_owned()
}

async fn what_is_not_committed_yet(target: Target) {
    let read = Read::new("alerts", target, &[alert("a", "1.50", 1)]).await;
    feed(read.topics.broker, &read.topics.from, &[alert("a", "1.50", 1)]).await;
    let next = read.record(&read.id(1, 0), "look");
    let published = &read.changed(|records| records.push(next), &[], &[]).await["published"];
    assert_eq!((&published["uncommitted"], &published["records"]), (&1.into(), &1.into()));
    let after = read.record(&read.id(2, 0), "look");
    let kinds = ["publication_from_nothing"];
    read.changed(|records| records.push(after), &kinds, &["the position 2 is published"]).await;

    // What goes through the outbox is committed before.
    let Read { target, .. } = read;
    let read = Read::new("orders", target, &[order(1, "new", 1)]).await;
    feed(read.topics.broker, &read.topics.from, &[order(2, "new", 1)]).await;
    let next = read.record(&read.id(1, 0), "new");
    read.changed(|records| records.push(next), &kinds, &["the position 1 is published"]).await;
}

async fn what_the_ledger_says_of_records(target: Target) {
    let records: Vec<String> = (0..250).map(|number| order(number, "new", 1)).collect();
    let read = Read::new("orders", target, &records).await;
    read.finds(&[]);
    let Read { target, .. } = &read;
    let of_batch = "from batches where first = (select max(first) from batches)";
    target.execute(&format!("create table saved as select * {of_batch}")).await;
    let of_last = "delete from batches where first = (select max(first) from saved)";
    target.execute(of_last).await;
    // Later than all that the ledger has, and before the position.
    let kinds = ["publication_from_nothing", "too_many_rows", "wrong_position"];
    let report = read.topics.audited("orders", target, &kinds);
    says(&report, &["a record of the position 249 is published, where the ledger says"]);
    target.execute("insert into batches select * from saved").await;
    read.finds(&[]);
    target.execute("delete from counted").await;
    says(&read.finds(&["publication_from_nothing"]), &["the position 0 is published"]);
}
