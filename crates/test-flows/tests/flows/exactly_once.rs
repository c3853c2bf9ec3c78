//! What is published exactly once, whatever ends or freezes a program, and where.

mod between;

use std::collections::BTreeMap;

use tally_harness::eventually;
use tally_harness::job::{LONG, Target, ended_with};
use tally_harness::kafka::{Broker, JavaProducer, Stored};
use tally_harness::process::{Launch, Signal};
use tokio::sync::Mutex;

use crate::publishing::{alert, count, feed, order, setting};
use crate::support::{program, rows};

/// Where a program is ended or frozen.
const EVERYWHERE: [&str; 11] = [
    "takeover",
    "model-after",
    "produce-before",
    "produce-after",
    "kafka-commit-before",
    "kafka-commit-after",
    "begin-before",
    "commit-before",
    "commit-after",
    "mark-before",
    "mark-after",
];

/// Whether a flow that publishes with this guarantee passes a place.
fn is_passed(place: &str, flow: &str, delivery: &str) -> bool {
    match place {
        "takeover" | "kafka-commit-before" | "kafka-commit-after" => delivery == "exactly-once",
        "mark-before" | "mark-after" => flow == "orders",
        _ => true,
    }
}

/// A topic that is read, one that is published to, and one of progress.
struct Topics {
    bootstrap: String,
    from: String,
    to: String,
    flow: &'static str,
    delivery: &'static str,
}

impl Topics {
    async fn of(flow: &'static str, delivery: &'static str, values: &[String]) -> Self {
        let broker = Broker::shared().await;
        let (from, to) = (broker.topic(1).await, broker.topic(1).await);
        feed(broker, &from, values).await;
        Self { bootstrap: broker.bootstrap().to_owned(), from, to, flow, delivery }
    }

    fn with(&self, launch: Launch) -> Launch {
        launch
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap)
            .env("TALLY_KAFKA__DELIVERY", self.delivery)
            .env("TALLY_KAFKA__PROGRESS_TOPIC", format!("{}-progress", self.to))
            .env(setting(self.flow), &self.to)
    }

    /// To the end, in batches of this size.
    fn consumer(&self, target: &Target, batch_size: usize) -> Launch {
        let batch_size = batch_size.to_string();
        let launch = program("kafka-consumer")
            .args(["--flow", self.flow, "--database-url", &target.url(), "--topic", &self.from])
            .args(["--lease", "2s", "--until-end", "--batch-size", &batch_size])
            .env("LOG_FORMAT", "pretty");
        self.with(launch)
    }

    /// Returns once no transaction is open.
    async fn until_decided(&self) -> JavaProducer {
        let java = Mutex::new(JavaProducer::start(&self.bootstrap));
        eventually(LONG, async || {
            let (stable, written) = java.lock().await.ends(&self.to).await;
            stable == written
        })
        .await;
        java.into_inner()
    }

    /// What readers of committed records see.
    async fn published(&self) -> Vec<Stored> {
        self.until_decided().await.read_all(&self.to, 0, true).await
    }

    /// Record by record against both topics.
    #[track_caller]
    fn audit(&self, target: &Target) {
        let launch = program("audit")
            .args(["--flow", self.flow, "--database-url", &target.url()])
            .args(["--brokers", &self.bootstrap, "--topic", &self.from]);
        ended_with(&self.with(launch).spawn(), 0);
    }

    /// Each of the first `positions` is there in order: once, or with repeats.
    async fn check(&self, positions: usize) {
        let ids = ids(&self.published().await);
        let expected: Vec<_> =
            (0..positions).map(|n| format!("tally/{}/0/1/{n}/0", self.from)).collect();
        if self.delivery == "exactly-once" {
            let first_odd = ids.iter().zip(&expected).position(|(found, wanted)| found != wanted);
            assert_eq!((ids.len(), first_odd), (positions, None));
        } else {
            let mut counts = BTreeMap::<&String, usize>::new();
            for id in &ids {
                *counts.entry(id).or_default() += 1;
            }
            assert_eq!(counts.len(), positions);
            assert!(expected.iter().all(|id| counts.contains_key(id)));
        }
    }
}

/// The id of each record.
fn ids(published: &[Stored]) -> Vec<String> {
    let id = |stored: &Stored| {
        let (_, id) = stored.headers.iter().find(|(name, _)| name == "tally.id").unwrap();
        String::from_utf8(id.clone().unwrap()).unwrap()
    };
    published.iter().map(id).collect()
}

/// 100 for each run that is ended or frozen, and some more.
fn records(flow: &str, positions: usize) -> Vec<String> {
    let record = |n: usize| match flow {
        "alerts" => alert("a", if n.is_multiple_of(7) { "0.00" } else { "0.01" }, 1),
        _ => order(i64::try_from(n).unwrap(), "new", 1),
    };
    (0..positions).map(record).collect()
}

/// The ledger agrees with what was read and with what was published, and nothing is left to publish.
async fn check_ledger(topics: &Topics, target: &Target, positions: usize) {
    let sums = "select sum(read), sum(written), sum(dead_lettered) from batches";
    assert_eq!(rows(target, sums).await, [format!("{positions}|{positions}|0")]);
    assert_eq!(rows(target, "select count(*) from outbox").await, ["0"]);
    topics.audit(target);
}

async fn check_counts(target: &Target, positions: usize) {
    let counted = "select alerts, amount from alerts_by_account";
    let cents = positions - positions.div_ceil(7);
    let expected = format!("{positions}|{}.{:02}", cents / 100, cents % 100);
    assert_eq!(rows(target, counted).await, [expected]);
}

/// Killed at each place, and gone on with other batches each time. Each run has records of its own: the one before it may
/// have read all others before it came to its place.
async fn killed_everywhere(target: Target, flow: &'static str, delivery: &'static str) {
    const POSITIONS: usize = 3_600;
    let records = records(flow, POSITIONS);
    let mut rest = records.chunks(POSITIONS / (EVERYWHERE.len() + 1));
    let topics = Topics::of(flow, delivery, &[]).await;
    let broker = Broker::shared().await;
    let mut hits = Vec::new();
    for (n, place) in EVERYWHERE.into_iter().enumerate() {
        feed(broker, &topics.from, rest.next().unwrap()).await;
        if !is_passed(place, flow, delivery) {
            continue;
        }
        let consumer = topics
            .consumer(&target, 100 + 7 * n)
            .env("FAILPOINT", format!("{place}:kill:1"))
            .spawn();
        let output = consumer.wait(LONG);
        assert_eq!(output.signal, Some(Signal::SIGKILL), "{place}: {output}");
        hits.push(place);
    }
    println!("{flow}, {delivery}: ended at {} places: {}", hits.len(), hits.join(", "));
    feed(broker, &topics.from, &rest.flatten().cloned().collect::<Vec<_>>()).await;
    ended_with(&topics.consumer(&target, 500).spawn(), 0);
    topics.check(POSITIONS).await;
    check_ledger(&topics, &target, POSITIONS).await;
    if flow == "alerts" {
        check_counts(&target, POSITIONS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_there_once_whatever_is_killed() {
    killed_everywhere(Target::postgres().await, "alerts", "exactly-once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_there_once_whatever_is_killed() {
    killed_everywhere(Target::postgres().await, "orders", "exactly-once").await;
}

/// One that publishes is frozen there and woken once another one has taken over.
async fn frozen(place: &'static str, flow: &'static str) {
    const POSITIONS: usize = 3_000;
    let topics = Topics::of(flow, "exactly-once", &records(flow, POSITIONS)).await;
    let target = Target::postgres().await;
    println!("{flow}: frozen at {place}");
    let n = if place == "takeover" { 1 } else { 2 };
    let zombie = topics.consumer(&target, 10).env("FAILPOINT", format!("{place}:stop:{n}")).spawn();
    zombie.until_frozen().await;
    let successor = topics.consumer(&target, 70).spawn();
    let epochs = "select max(epoch) from positions";
    eventually(LONG, async || target.number(epochs).await > 1).await;
    zombie.signal(Signal::SIGCONT);
    ended_with(&successor, 0);
    ended_with(&zombie, 0);
    topics.check(POSITIONS).await;
    check_ledger(&topics, &target, POSITIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wakes_in_a_transaction_publishes_nothing_twice() {
    frozen("kafka-commit-before", "alerts").await;
}

mod repeated {
    use tally_harness::kafka::Cluster;

    use super::*;

    /// Each of them leads something: the topics, that of progress, or the transactions.
    #[tokio::test(flavor = "multi_thread")]
    async fn alerts_are_there_once_whichever_broker_is_killed() {
        const POSITIONS: usize = 6_000;
        let cluster = Cluster::start().await;
        let (from, to) = (cluster.topic(1).await, cluster.topic(1).await);
        feed(cluster.broker(1), &from, &records("alerts", POSITIONS)).await;
        let (flow, delivery) = ("alerts", "exactly-once");
        let topics = Topics { bootstrap: cluster.bootstrap(), from, to, flow, delivery };
        let target = Target::postgres().await;
        let consumer = topics.consumer(&target, 20).env("TALLY_KAFKA__TIMEOUT", "3s").spawn();
        let batches = "select count(*) from batches";
        for (kill, broker) in (1_i64..).zip(cluster.brokers()) {
            eventually(LONG, async || count(&target, batches).await >= kill * 60).await;
            broker.kill9().await;
            let before = target.number(batches).await;
            eventually(LONG, async || target.number(batches).await > before).await;
            broker.start_again().await;
        }
        ended_with(&consumer, 0);
        topics.check(POSITIONS).await;
        check_ledger(&topics, &target, POSITIONS).await;
    }

    async fn frozen_everywhere(flow: &'static str) {
        let mut places = Vec::new();
        for place in EVERYWHERE {
            if is_passed(place, flow, "exactly-once") {
                frozen(place, flow).await;
                places.push(place);
            }
        }
        println!("{flow}: frozen at {} places: {}", places.len(), places.join(", "));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn alerts_are_there_once_wherever_a_program_is_frozen() {
        frozen_everywhere("alerts").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_are_there_once_wherever_a_program_is_frozen() {
        frozen_everywhere("orders").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_has_alerts_once_whatever_is_killed() {
        killed_everywhere(Target::sqlite(), "alerts", "exactly-once").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_has_changes_once_whatever_is_killed() {
        killed_everywhere(Target::sqlite(), "orders", "exactly-once").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn at_least_once_leaves_out_no_alert() {
        killed_everywhere(Target::postgres().await, "alerts", "at-least-once").await;
        killed_everywhere(Target::sqlite(), "alerts", "at-least-once").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn at_least_once_leaves_out_no_change() {
        killed_everywhere(Target::postgres().await, "orders", "at-least-once").await;
        killed_everywhere(Target::sqlite(), "orders", "at-least-once").await;
    }
}
