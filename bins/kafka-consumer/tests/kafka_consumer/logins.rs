//! User logins: from topic to topic, counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use fastrand::Rng;
use serde_json::Value;
use tally_harness::eventually;
use tally_harness::job::{LONG, Target, ended_with};
use tally_harness::kafka::{Broker, JavaProducer, Stored, record};
use tally_harness::ledger::until_it_commits;
use tally_harness::process::{Launch, Signal, binary};
use tally_harness::registry::Registry;
use tally_sample::{LoginFault, Logins};
use tokio::sync::Mutex;

use crate::support::{LEASE, VERY_LONG, end_all};

const SEED: u64 = 7;
const PARTITIONS: i32 = 6;

/// The topics of logins, and the database of their counts.
struct Flow {
    broker: &'static Broker,
    from: String,
    to: String,
    dead_letters: String,
    target: Target,
    delivery: &'static str,
}

impl Flow {
    async fn new(target: Target, delivery: &'static str) -> Self {
        let broker = Broker::shared().await;
        let (from, to) = (broker.topic(PARTITIONS).await, broker.topic(PARTITIONS).await);
        let dead_letters = broker.topic(1).await;
        Self { broker, from, to, dead_letters, target, delivery }
    }

    fn program(&self, name: &str) -> Launch {
        let program = Launch::new(binary(name))
            .args(["--flow", "user-logins", "--topic", &self.from])
            .args(["--brokers", self.broker.bootstrap()]);
        self.with_topics(program)
    }

    fn with_topics(&self, program: Launch) -> Launch {
        program
            .env("TALLY_FLOWS__USER_LOGINS__PUBLISH__PROCESSED", &self.to)
            .env("TALLY_KAFKA__DELIVERY", self.delivery)
            .env("TALLY_KAFKA__PROGRESS_TOPIC", format!("{}-progress", self.to))
    }

    fn consumer(&self, flags: &[&str]) -> Launch {
        self.program("kafka-consumer")
            .args(["--database-url", &self.target.url(), "--dlq-topic", &self.dead_letters])
            .args(["--batch-size=200", &format!("--lease={LEASE:?}")])
            .args(flags)
            .env("LOG_FORMAT", "pretty")
    }

    fn producer(&self, count: usize, spoil: f64, flags: &[&str]) -> Launch {
        let (count, spoil, seed) = (count.to_string(), spoil.to_string(), SEED.to_string());
        let given = ["--count", &count, "--spoil", &spoil, "--seed", &seed];
        self.program("producer").args(given).args(flags)
    }

    fn feed(&self, count: usize, spoil: f64) {
        let sent = self.producer(count, spoil, &[]).spawn().wait(VERY_LONG);
        assert_eq!(sent.code, Some(0), "{sent}");
    }

    /// What readers of committed records find in a topic, by partition.
    async fn found(&self, topic: &str, partitions: i32) -> Vec<Vec<Stored>> {
        let java = Mutex::new(JavaProducer::start(self.broker.bootstrap()));
        // A commit returns before all of its partitions have the marker.
        for topic in [&self.from, &self.to] {
            eventually(LONG, async || {
                let (stable, written) = java.lock().await.ends(topic).await;
                stable == written
            })
            .await;
        }
        let mut found = Vec::new();
        for partition in 0..partitions {
            found.push(java.lock().await.read_all(topic, partition, true).await);
        }
        found
    }

    /// Each login that is not spoiled is in the topic of processed ones, with its time as text, under its own id: once, or
    /// where it may be there again, at least once; in the order of its partition.
    async fn check_processed(&self) {
        let mut logins = BTreeMap::new();
        for (partition, of_partition) in (0..).zip(self.found(&self.from, PARTITIONS).await) {
            for Stored { offset, value, .. } in of_partition {
                let login = serde_json::from_slice::<Value>(&value.unwrap());
                let is_spoiled = login.as_ref().is_err() || !is_valid(login.as_ref().unwrap());
                if !is_spoiled {
                    logins.insert((partition, offset), login.unwrap());
                }
            }
        }
        let mut seen: BTreeMap<(i32, i64), usize> = BTreeMap::new();
        for of_partition in self.found(&self.to, PARTITIONS).await {
            let mut last = BTreeMap::new();
            for Stored { key, value, headers, .. } in of_partition {
                let id = headers.iter().find(|(name, _)| name == "tally.id").unwrap();
                let id = String::from_utf8(id.1.clone().unwrap()).unwrap();
                let place = id.strip_prefix(&format!("tally/{}/", self.from)).unwrap();
                let place: Vec<i64> = place.split('/').map(|part| part.parse().unwrap()).collect();
                let [partition, 1, offset, 0] = place[..] else { panic!("{id}") };
                let place = (i32::try_from(partition).unwrap(), offset);
                let count = seen.entry(place).or_default();
                *count += 1;
                let before = last.insert(partition, offset).unwrap_or(-1);
                assert!(*count > 1 || before < offset, "{id} comes after {before}");

                let mut login: Value = logins[&place].clone();
                assert_eq!(key.as_deref(), login["user_id"].as_str().map(str::as_bytes), "{id}");
                let mut processed: Value = serde_json::from_slice(&value.unwrap()).unwrap();
                let processed = processed.as_object_mut().unwrap();
                let at = processed.remove("processed_at").unwrap();
                let at: DateTime<Utc> = at.as_str().unwrap().parse().unwrap();
                assert!((Utc::now() - at).num_minutes() < 30, "{at}");
                let time = login.as_object_mut().unwrap().remove("timestamp").unwrap();
                let time = DateTime::from_timestamp(time.as_i64().unwrap(), 0).unwrap();
                login["created_at"] = time.format("%Y-%m-%dT%H:%M:%SZ").to_string().into();
                assert_eq!(Value::Object(processed.clone()), login, "{id}");
            }
        }
        let expected: BTreeSet<_> = logins.keys().copied().collect();
        assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), expected);
        if self.delivery == "exactly-once" {
            assert!(seen.values().all(|count| *count == 1), "more than once");
        }
    }

    /// The counts are those of the first logins, but for the spoiled ones, whose dead letters have their codes.
    async fn check_counts(&self, count: usize, spoil: f64) {
        let logins = Logins::new(SEED, spoil);
        let (mut counted, mut codes) = (BTreeMap::new(), BTreeMap::new());
        for (number, login) in (0..).zip(logins.clone().take(count)) {
            if let Some(code) = logins.fault_of(number).map(LoginFault::code) {
                *codes.entry(code.to_owned()).or_default() += 1;
                continue;
            }
            let login: Value = serde_json::from_slice(&login.payload.unwrap()).unwrap();
            for field in ["device_type", "locale", "app_version"] {
                let key = (field, login[field].as_str().unwrap().to_owned());
                *counted.entry(key).or_default() += 1;
            }
            let hour = login["timestamp"].as_i64().unwrap() / 3600 * 3600;
            let hour = DateTime::from_timestamp(hour, 0).unwrap();
            let hour = hour.format("%Y-%m-%d %H:%M:%S").to_string();
            *counted.entry(("hour", hour)).or_default() += 1;
        }
        let mut found = BTreeMap::new();
        for field in ["device_type", "locale", "app_version", "hour"] {
            let sql = format!("select {field}, logins from user_logins_by_{field}");
            for (key, number) in self.pairs(&sql).await {
                // SQLite has a T between date and time, and fractions.
                let key =
                    if field == "hour" { key.replace('T', " ")[..19].to_owned() } else { key };
                found.insert((field, key), number);
            }
        }
        assert_eq!(found, counted);
        let letters = self.pairs("select code, count(*) from dead_letters group by code").await;
        assert_eq!(letters.into_iter().collect::<BTreeMap<_, _>>(), codes);
    }

    async fn pairs(&self, sql: &str) -> Vec<(String, i64)> {
        let rows = self.target.query(sql).await.into_iter();
        let pair = |row: Vec<Option<String>>| {
            let [Some(key), Some(number)] = &row[..] else { panic!("{row:?}") };
            (key.clone(), number.parse().unwrap())
        };
        rows.map(pair).collect()
    }

    /// Puts back what the flow's rule corrects; how many that are.
    fn repair(&self, environment: &[(&str, &str)]) -> usize {
        let repair = Launch::new(binary("dead-letters"))
            .args(["repair", "--flow", "user-logins", "--all", "--output", "json"])
            .args(["--brokers", self.broker.bootstrap(), "--database-url", &self.target.url()]);
        let mut repair = self.with_topics(repair);
        for (name, value) in environment {
            repair = repair.env(name, value);
        }
        let output = ended_with(&repair.spawn(), 0);
        let last: Value = serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
        last["counts"]["repaired"].as_u64().unwrap().try_into().unwrap()
    }

    fn check_audit(&self) {
        let audit = self.program("audit").args(["--database-url", &self.target.url()]);
        let output = audit.spawn().wait(VERY_LONG);
        assert_eq!(output.code, Some(0), "{output}");
    }
}

/// By the words of the schema, without it.
fn is_valid(login: &Value) -> bool {
    let texts = ["user_id", "app_version", "device_type", "ip", "locale", "device_id"];
    let time = login["timestamp"].as_i64();
    texts.iter().all(|name| login[name].is_string())
        && time.is_some_and(|time| (0..253_402_300_800).contains(&time))
}

async fn processed_and_counted(target: Target, delivery: &'static str) {
    let flow = Flow::new(target, delivery).await;
    flow.feed(2_000, 0.05);
    let output = flow.consumer(&["--until-end"]).spawn().wait(VERY_LONG);
    assert_eq!(output.code, Some(0), "{output}");
    flow.check_processed().await;
    flow.check_counts(2_000, 0.05).await;
    let letters: usize = flow.found(&flow.dead_letters, 1).await.iter().map(Vec::len).sum();
    assert_eq!(letters, 100);
    flow.check_audit();

    let logins = Logins::new(SEED, 0.05);
    let faults = (0..2_000).filter_map(|number| logins.fault_of(number));
    let missing = faults.filter(|fault| fault.code() == "schema_required").count();
    assert_eq!(flow.repair(&[]), missing);
    let output = flow.consumer(&["--until-end"]).spawn().wait(VERY_LONG);
    assert_eq!(output.code, Some(0), "{output}");
    // Those that were put back are logins as any other.
    flow.check_processed().await;
    let counted = "select sum(logins) from user_logins_by_locale";
    let expected = i64::try_from(1_900 + missing).unwrap();
    assert_eq!(flow.target.number(counted).await, expected);
    flow.check_audit();
}

#[tokio::test]
async fn logins_are_published_and_counted_at_least_once_sqlite() {
    processed_and_counted(Target::sqlite(), "at-least-once").await;
}

#[tokio::test]
async fn logins_are_published_and_counted_exactly_once_postgres() {
    processed_and_counted(Target::postgres().await, "exactly-once").await;
}

/// As in plain JSON, and put back in the frame that they came in.
#[tokio::test]
async fn logins_in_the_registrys_frame_are_taken_and_repaired() {
    let flow = Flow::new(Target::sqlite(), "at-least-once").await;
    let registry = Registry::shared().await;
    let schema = include_str!("../../../../infra/schemas/user_login_v1.json");
    let id = registry.register_json(&format!("{}-value", flow.from), schema).await;
    let login = Logins::new(SEED, 0.0).next().unwrap().payload.unwrap();
    let mut incomplete: Value = serde_json::from_slice(&login).unwrap();
    incomplete.as_object_mut().unwrap().remove("locale");
    let framed = |json: &[u8]| [&[0], &id.to_be_bytes()[..], json].concat();
    for json in [&login, incomplete.to_string().as_bytes()] {
        let sent = record(Some(b"key"), Some(&framed(json)));
        flow.broker.produce(&flow.from, 0, vec![sent]).await;
    }
    let consume = || {
        let consumer = flow.consumer(&["--until-end"]).env("SCHEMA_REGISTRY_URL", registry.url());
        ended_with(&consumer.spawn(), 0)
    };
    consume();
    let sql = "select code, count(*) from dead_letters group by code";
    assert_eq!(flow.pairs(sql).await, [("schema_required".to_owned(), 1)]);
    assert_eq!(flow.repair(&[("SCHEMA_REGISTRY_URL", registry.url())]), 1);
    consume();
    let counted = "select sum(logins) from user_logins_by_hour";
    assert_eq!(flow.target.number(counted).await, 2);
    let all = flow.found(&flow.from, PARTITIONS).await.concat();
    let is_back =
        |found: &&Stored| found.headers.iter().any(|(name, _)| name == "tally.repaired-from");
    let back = all.iter().find(is_back).and_then(|found| found.value.clone()).unwrap();
    incomplete["locale"] = "".into();
    assert_eq!(back[..5], framed(&[]));
    assert_eq!(serde_json::from_slice::<Value>(&back[5..]).unwrap(), incomplete);
    let processed = flow.found(&flow.to, PARTITIONS).await.concat();
    assert_eq!(processed.len(), 2);
    let json = |found: &Stored| serde_json::from_slice::<Value>(found.value.as_ref().unwrap());
    assert!(processed.iter().all(|found| json(found).unwrap()["created_at"].is_string()));
}

/// Those of the settings without a flow's name are the first flow's.
#[test]
fn topics_are_the_flows_own_unless_they_are_set_for_it() {
    let shown = |name: &str, value: &str| {
        let consumer = Launch::new(binary("kafka-consumer"))
            .args(["--flow", "user-logins", "--print-config"])
            .env("TOPIC_NAME", "transactions")
            .env("DLQ_TOPIC", "dead-letters");
        ended_with(&consumer.env(name, value).spawn(), 0).stdout
    };
    let own = shown("GROUP_ID", "g");
    for line in
        ["topic = \"user-login\" # default", "dlq_topic = \"user-login-dead-letter\" # default"]
    {
        assert!(own.contains(&format!("kafka.{line}")), "{line} in {own}");
    }
    let set = shown("TALLY_FLOWS__USER_LOGINS__DLQ_TOPIC", "bad-logins");
    assert!(set.contains("kafka.dlq_topic = \"bad-logins\" # environment "), "{set}");
}

mod repeated {
    use super::*;

    const LOGINS: usize = 100_000;

    async fn twenty_kills(delivery: &'static str) {
        let seed = std::env::var("CRASH_SEED")
            .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("CRASH_SEED={seed}");
        let mut random = Rng::with_seed(seed);
        let flow = Flow::new(Target::postgres().await, delivery).await;
        // Some of them are sent after the last kill.
        let producer = flow.producer(LOGINS, 0.05, &["--rate", "2000/s"]).spawn();
        let mut consumers = [(); 2].map(|()| flow.consumer(&[]).spawn());
        for kill in 0..20 {
            let victim = kill % 2;
            until_it_commits(&consumers[victim], &flow.target).await;
            // The kill comes at any moment of the work, whatever its state.
            tokio::time::sleep(Duration::from_millis(random.u64(..300))).await;
            consumers[victim].kill9();
            assert_eq!(consumers[victim].wait(LONG).signal, Some(Signal::SIGKILL));
            consumers[victim] = flow.consumer(&[]).spawn();
        }
        let sent = producer.wait(VERY_LONG);
        assert_eq!(sent.code, Some(0), "{sent}");
        end_all(&consumers);
        let output = flow.consumer(&["--until-end"]).spawn().wait(VERY_LONG);
        assert_eq!(output.code, Some(0), "{output}");
        flow.check_processed().await;
        flow.check_counts(LOGINS, 0.05).await;
        flow.check_audit();
    }

    #[tokio::test]
    async fn twenty_kills_of_two_consumers_of_logins_at_least_once() {
        twenty_kills("at-least-once").await;
    }

    #[tokio::test]
    async fn twenty_kills_of_two_consumers_of_logins_exactly_once() {
        twenty_kills("exactly-once").await;
    }
}
