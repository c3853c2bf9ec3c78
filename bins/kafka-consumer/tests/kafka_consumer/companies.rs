//! Companies: each event kept, the newest a row.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tally_harness::job::{LONG, Target, ended_with};
use tally_harness::kafka::{Broker, record};
use tally_harness::process::{Launch, Output, Signal, binary};
use tally_sample::{Companies, insolvencies};

use crate::support::LEASE;

/// Each of these on either store.
macro_rules! on_both_stores {
    ($($test:ident)*) => {
        mod postgres {
            use super::*;
            $(#[tokio::test] async fn $test() { super::$test(Target::postgres().await).await; })*
        }
        mod sqlite {
            use super::*;
            $(#[tokio::test] async fn $test() { super::$test(Target::sqlite()).await; })*
        }
    };
}

on_both_stores! {
    what_the_events_say_is_in_tables_and_views
    a_row_that_its_history_does_not_have_is_found
    whole_old_days_are_deleted_by_an_act
    what_rules_find_is_in_the_ledger
    insolvent_organisations_are_joined_to_their_companies
}

const SEED: u64 = 7;
const PARTITIONS: i32 = 2;

/// A topic of company events and the database of what they say.
struct Flow {
    broker: &'static Broker,
    topic: String,
    target: Target,
}

/// A row's values as texts, times without fractions that are 0.
type Row = Vec<Option<String>>;

impl Flow {
    async fn new(target: Target) -> Self {
        let broker = Broker::shared().await;
        Self { broker, topic: broker.topic(PARTITIONS).await, target }
    }

    fn program(&self, name: &str, flags: &[&str]) -> Launch {
        Launch::new(binary(name))
            .args(["--flow", "companies", "--database-url", &self.target.url()])
            .args(["--brokers", self.broker.bootstrap(), "--topic", &self.topic])
            .args(flags)
            .env("LOG_FORMAT", "pretty")
    }

    fn consumer(&self, flags: &[&str]) -> Launch {
        let lease = format!("--lease={LEASE:?}");
        self.program("kafka-consumer", &[&[&*lease], flags].concat()).env("TALLY_BATCH_SIZE", "100")
    }

    #[track_caller]
    fn consume(&self) -> Output {
        ended_with(&self.consumer(&["--until-end"]).spawn(), 0)
    }

    fn feed(&self, count: usize, spoil: f64) {
        let producer = Launch::new(binary("producer"))
            .args(["--flow", "companies", "--topic", &self.topic])
            .args(["--brokers", self.broker.bootstrap(), "--seed", &SEED.to_string()])
            .args(["--count", &count.to_string(), "--spoil", &spoil.to_string()]);
        ended_with(&producer.spawn(), 0);
    }

    /// These events, in the partitions that are named.
    async fn append(&self, events: &[(i32, &str, Value)]) {
        for (partition, key, event) in events {
            let event = record(Some(key.as_bytes()), Some(event.to_string().as_bytes()));
            self.broker.produce(&self.topic, *partition, vec![event]).await;
        }
    }

    async fn rows(&self, sql: &str) -> Vec<Row> {
        let rows = self.target.query(sql).await.into_iter();
        rows.map(|row| row.into_iter().map(|value| value.map(plain_time)).collect()).collect()
    }

    /// Record by record; these kinds are found, once each. The first message.
    #[track_caller]
    fn audit(&self, kinds: &[&str]) -> String {
        let audit = self.program("audit", &["--output", "json"]).spawn();
        let output = ended_with(&audit, if kinds.is_empty() { 0 } else { 65 });
        let found: Value = serde_json::from_str(&output.stdout).unwrap();
        let violations = found["violations"].as_array().unwrap();
        let found: Vec<&str> =
            violations.iter().map(|found| found["kind"].as_str().unwrap()).collect();
        assert_eq!(found, kinds, "{output}");
        violations
            .first()
            .map(|found| found["message"].as_str().unwrap().to_owned())
            .unwrap_or_default()
    }

    /// Table and views are what the topic says; those of companies in several partitions differ by the order of their commits.
    async fn check(&self) {
        let mut versions: BTreeMap<(String, i32), Vec<Vec<String>>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for found in self.broker.read_all(&self.topic, partition).await {
                let event = serde_json::from_slice::<Value>(&found.record.value.unwrap());
                let Some(version) = event.ok().as_ref().and_then(version) else { continue };
                versions.entry((version[0].clone(), partition)).or_default().push(version);
            }
        }
        let texts =
            |values: &[&str]| values.iter().map(|value| Some((*value).to_owned())).collect::<Row>();
        let (mut history, mut latest) = (Vec::new(), BTreeMap::<String, Vec<Row>>::new());
        for ((id, partition), versions) in &versions {
            for (version, next) in
                versions.iter().zip(versions.iter().skip(1).map(Some).chain([None]))
            {
                let [id, name, organization, created, updated] = &version[..] else { panic!() };
                let mut row = texts(&[id, name, organization, created, updated]);
                row.extend([next.map(|next| next[4].clone()), Some(partition.to_string())]);
                history.push(row);
            }
            let last: Vec<&str> = versions.last().unwrap().iter().map(String::as_str).collect();
            latest.entry(id.clone()).or_default().push(texts(&last));
        }
        let found = self.rows(
            "select id, name, organization_id, created_at, valid_from, valid_to, partition from companies_history \
             order by id, partition, log, position",
        );
        assert_eq!(found.await, history);

        let columns = "id, name, organization_id, created_at, updated_at";
        for table in ["companies", "companies_latest"] {
            let found = self.rows(&format!("select {columns} from {table} order by id")).await;
            assert_eq!(found.len(), latest.len(), "{table}");
            for (row, (id, expected)) in found.iter().zip(&latest) {
                assert!(expected.contains(row), "{table} {id}: {row:?}, not {expected:?}");
            }
        }
        assert!(latest.values().any(|rows| rows.len() == 2), "one in both partitions");
        assert!(
            versions.values().any(|versions| versions.windows(2).any(|two| two[0] == two[1])),
            "one twice"
        );
        assert!(
            versions.values().any(|versions| versions.windows(2).any(|two| two[0][4] > two[1][4])),
            "a late one"
        );
        assert!(
            versions.values().any(|versions| versions.windows(2).any(|two| two[0][2] != two[1][2])),
            "a moved one"
        );
    }
}

/// A time as both stores show it, to the second; any other text as it is.
fn plain_time(text: String) -> String {
    match chrono::NaiveDateTime::parse_from_str(&text.replace('T', " "), "%Y-%m-%d %H:%M:%S%.f") {
        Ok(at) => at.format("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => text,
    }
}

/// A company by an event that the schema takes.
fn version(event: &Value) -> Option<Vec<String>> {
    let company = &event["company"];
    let text = |name: &str| Some(company[name].as_str()?.to_owned());
    let time = |name: &str| {
        let at = chrono::DateTime::from_timestamp(company[name].as_i64()?, 0)?;
        let is_valid = at.timestamp() < 253_402_300_800;
        is_valid.then(|| at.format("%Y-%m-%d %H:%M:%S").to_string())
    };
    let is_known = matches!(event["event"].as_str()?, "company.created" | "company.updated");
    let version = vec![
        text("id")?,
        text("name")?,
        text("organization_id")?,
        time("created_at")?,
        time("updated_at")?,
    ];
    is_known.then_some(version)
}

async fn what_the_events_say_is_in_tables_and_views(target: Target) {
    const EVENTS: usize = 3_000;
    let flow = Flow::new(target).await;
    flow.feed(EVENTS, 0.02);
    for place in ["commit-before", "commit-after"] {
        let killed =
            flow.consumer(&["--until-end"]).env("FAILPOINT", format!("{place}:kill:5")).spawn();
        assert_eq!(killed.wait(LONG).signal, Some(Signal::SIGKILL));
    }
    flow.consume();
    flow.check().await;
    flow.audit(&[]);
    let codes =
        flow.rows("select code, count(*) from dead_letters group by code order by code").await;
    let mut expected = BTreeMap::new();
    let events = Companies::new(SEED, 0.02);
    for number in 0..EVENTS as u64 {
        if let Some(fault) = events.fault_of(number) {
            *expected.entry(fault.code().to_owned()).or_insert(0) += 1;
        }
    }
    let expected =
        expected.into_iter().map(|(code, count)| vec![Some(code), Some(count.to_string())]);
    assert_eq!(codes, expected.collect::<Vec<_>>());

    // A re-read leaves everything as it is, in whatever batches.
    let before = flow.rows("select count(*) from companies_raw").await;
    let set = flow.program("kafka-consumer", &[]).args(["positions", "set", "--to", "earliest"]);
    ended_with(&set.spawn(), 0);
    ended_with(&flow.consumer(&["--until-end", "--batch-size=37"]).spawn(), 0);
    assert_eq!(flow.rows("select count(*) from companies_raw").await, before);
    flow.check().await;
    flow.audit(&[]);
}

fn event(id: &str, name: &str, organization: &str, updated_at: i64) -> Value {
    json!({"event": "company.updated", "company":
        {"id": id, "name": name, "organization_id": organization, "created_at": 1, "updated_at": updated_at}})
}

async fn a_row_that_its_history_does_not_have_is_found(target: Target) {
    let flow = Flow::new(target).await;
    let one = |partition, id: &'static str, at| (partition, id, event(id, "A", "o", at));
    flow.append(&[one(0, "a", 5), one(0, "a", 4), one(0, "b", 5), one(1, "b", 6)]).await;
    flow.consume();
    flow.audit(&[]);
    let (late, two) = (
        "update companies set name = 'B' where id = 'a'",
        "update companies set name = 'B' where id = 'b'",
    );
    flow.target.execute(two).await;
    flow.audit(&[]);
    flow.target.execute(late).await;
    let message = flow.audit(&["history_differs"]);
    let expected = format!(
        "companies tally/{} partition 0 log 1: companies does not have the row of the record at 1, the newest of its key by \
         companies_latest",
        flow.topic
    );
    assert_eq!(message, expected);
    flow.target.execute("update companies set name = 'A'").await;
    flow.audit(&[]);
    flow.target.execute("delete from companies where id = 'a'").await;
    flow.audit(&["record_missing", "record_missing", "history_differs"]);
}

async fn whole_old_days_are_deleted_by_an_act(target: Target) {
    let flow = Flow::new(target).await;
    let one = |id: &'static str, name: &str| (0, id, event(id, name, "o", 5));
    flow.append(&[one("a", "A"), one("a", "B"), one("b", "A"), one("c", "A")]).await;
    flow.consume();
    let days_ago = |days: i64| {
        let day = chrono::Utc::now().date_naive() - chrono::Duration::days(days);
        format!("{day} 12:00:00.000")
    };
    // A re-read can leave an older version longer than the newest one.
    for (days, which) in [(3, "position = 1"), (2, "position = 2"), (1, "position in (0, 3)")] {
        let sql =
            format!("update companies_raw set ingested_at = '{}' where {which}", days_ago(days));
        flow.target.execute(&sql).await;
    }
    flow.target.execute(&format!("update batches set started_at = '{}'", days_ago(2))).await;
    flow.audit(&[]);
    let kept = |kept: &str| {
        let consumer =
            flow.consumer(&["--until-end"]).env("TALLY_FLOWS__COMPANIES__RETENTION", kept);
        ended_with(&consumer.spawn(), 0)
    };
    kept("never");
    kept("2d 23h");
    let positions =
        async || flow.rows("select position from companies_raw order by position").await.concat();
    assert_eq!(positions().await, ["0", "2", "3"].map(|position| Some(position.to_owned())));
    let output = kept("1d");
    assert!(output.stderr.contains("deleted 1 rows of companies_raw ingested before "), "{output}");
    assert_eq!(positions().await, ["0", "3"].map(|position| Some(position.to_owned())));
    kept("1d");
    let acts = flow.rows("select verb, flow, target, result from acts order by id").await;
    let acts: Vec<(String, i64)> = acts
        .iter()
        .map(|act| {
            let [verb, flow, target, result] = act.iter().flatten().collect::<Vec<_>>()[..] else {
                panic!("{act:?}")
            };
            let result: Value = serde_json::from_str(result).unwrap();
            assert!(result["before"].as_str().unwrap().ends_with(" 00:00:00"), "{result}");
            (format!("{verb} {flow} {target}"), result["deleted"].as_i64().unwrap())
        })
        .collect();
    let act = "retention companies companies_raw".to_owned();
    assert_eq!(acts, [(act.clone(), 1), (act, 1)]);
    flow.audit(&[]);
    assert_eq!(flow.rows("select count(*) from companies").await.concat(), [Some("3".to_owned())]);

    // What is still to be kept is missed.
    flow.target
        .execute(&format!(
            "update acts set result = '{}'",
            json!({"before": "2020-01-01 00:00:00"})
        ))
        .await;
    flow.audit(&["appended_rows"; 2]);

    let wrong = |name: &str, value: &str| {
        let consumer = flow.consumer(&["--until-end"]).env(name, value);
        ended_with(&consumer.spawn(), 78).stderr
    };
    let short = wrong("TALLY_RETENTION", "23h");
    assert!(short.contains("retention is 23h: must be at least 1d, or never"), "{short}");
    let none = wrong("TALLY_FLOWS__INSOLVENCIES__RETENTION", "1d");
    assert!(
        none.contains("flows.insolvencies.retention is set, and the flow keeps no history"),
        "{none}"
    );
}

async fn what_rules_find_is_in_the_ledger(target: Target) {
    let flow = Flow::new(target).await;
    flow.feed(1_000, 0.0);
    flow.consume();
    let mut expected =
        BTreeMap::from([("key_not_id", 0), ("same_timestamps", 0), ("organization_changed", 0)]);
    for event in Companies::new(SEED, 0.0).take(1_000) {
        let value: Value = serde_json::from_slice(&event.payload.unwrap()).unwrap();
        let company = &value["company"];
        let is_update = value["event"] == "company.updated";
        let moved = value["changes"][0]["field"] == "organization_id"
            && value["changes"][0]["from"] != value["changes"][0]["to"];
        for (rule, is_broken) in [
            ("key_not_id", event.key.as_deref() != company["id"].as_str().map(str::as_bytes)),
            ("same_timestamps", is_update && company["created_at"] == company["updated_at"]),
            ("organization_changed", is_update && moved),
        ] {
            *expected.get_mut(rule).unwrap() += i64::from(is_broken);
        }
    }
    assert!(expected.values().all(|count| *count > 0), "{expected:?}");
    let mut found: BTreeMap<&str, i64> = expected.keys().map(|rule| (*rule, 0)).collect();
    let mut mismatches = 0;
    for report in flow.rows("select quality from batches").await.concat() {
        let report: Value = serde_json::from_str(&report.unwrap()).unwrap();
        for (rule, count) in &mut found {
            *count += report[*rule]["count"].as_i64().unwrap();
        }
        mismatches += report["change_mismatch"]["count"].as_i64().unwrap();
    }
    assert_eq!(found, expected);
    assert!(mismatches > 0);
    let refused = flow.rows("select count(*) from dead_letters").await.concat();
    assert_eq!(refused, [Some("0".to_owned())]);
}

async fn insolvent_organisations_are_joined_to_their_companies(target: Target) {
    const ORGANIZATIONS: u64 = 250;
    let flow = Flow::new(target).await;
    flow.feed(600, 0.0);
    flow.consume();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, seed: u64, more: &str| {
        let mut content = Vec::new();
        insolvencies(ORGANIZATIONS, seed, &mut content).unwrap();
        content.extend(more.as_bytes());
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let runner = |file: &Path, flags: &[&str]| {
        Launch::new(binary("csv-runner"))
            .args(["--flow", "insolvencies", "--database-url", &flow.target.url()])
            .args(["--batch-size=40", &format!("--lease={LEASE:?}")])
            .args(flags)
            .args([file])
    };
    let is = async |file: &Path| {
        let text = std::fs::read_to_string(file).unwrap();
        let mut expected = BTreeMap::new();
        for line in text.lines().skip(1) {
            let [id, at, _] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let at = if at.len() == 10 { format!("{at} 00:00:00") } else { at.to_owned() };
            expected.insert(id.to_owned(), at);
        }
        let mut joined = Vec::new();
        for company in
            flow.rows("select id, name, organization_id from companies order by id").await
        {
            if let Some(at) = expected.get(company[2].as_ref().unwrap()) {
                joined.push([company, vec![Some(at.clone())]].concat());
            }
        }
        assert!(joined.len() > 50, "{}", joined.len());
        let view =
            "select id, name, organization_id, insolvency_ts from company_insolvencies order by id";
        assert_eq!(flow.rows(view).await, joined);
        let rows =
            flow.rows("select organization_id, insolvency_ts from insolvencies order by 1").await;
        let expected = expected.into_iter().map(|(id, at)| vec![Some(id), Some(at)]);
        assert_eq!(rows, expected.collect::<Vec<_>>());
    };

    let first = file("first.csv", 1, "");
    let killed = runner(&first, &[]).env("FAILPOINT", "commit-after:kill:2").spawn();
    assert_eq!(killed.wait(LONG).signal, Some(Signal::SIGKILL));
    ended_with(&runner(&first, &[]).spawn(), 0);
    is(&first).await;
    // Of several rows of an organisation the last one stays, and of several files the one that is read last.
    let second = file("second.csv", 2, "o-000,2026-02-01,Lyon\no-000,2026-02-02 10:00,Lyon\n");
    let with_seconds = std::fs::read_to_string(&second).unwrap().replace("10:00,", "10:00:00,");
    std::fs::write(&second, with_seconds).unwrap();
    ended_with(&runner(&second, &[]).spawn(), 0);
    is(&second).await;
    ended_with(&runner(&first, &["--again"]).spawn(), 0);
    let number = flow.rows("select count(*) from insolvencies").await.concat();
    assert_eq!(number, [Some(ORGANIZATIONS.to_string())]);
    is(&first).await;
    let audit = Launch::new(binary("audit"))
        .args(["--flow", "insolvencies", "--database-url", &flow.target.url(), "--source"])
        .args([&first]);
    ended_with(&audit.spawn(), 0);
    let bad = folder.path().join("bad.csv");
    std::fs::write(&bad, "organization_id,insolvency_ts\no-1,31.01.2024\no-2,2024-01-31\n")
        .unwrap();
    ended_with(&runner(&bad, &[]).spawn(), 0);
    let codes =
        flow.rows("select code from dead_letters where flow = 'insolvencies'").await.concat();
    assert_eq!(codes, [Some("insolvency_ts_invalid".to_owned())]);
}
