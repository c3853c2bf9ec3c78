//! The greatest counters of a flow: at the end of a run, by `top`, and on `/metrics`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::job::{LONG, Target, ended_with};
use tally_harness::kafka::{Broker, record};
use tally_harness::process::{Launch, Process, Signal};
use tally_harness::proxy::{Mode, Proxy};

use crate::on_both_stores;
use crate::support::{Table, address, consume, get, program, rows, take, topic};

on_both_stores! {
    counters_are_shown_at_the_end_and_on_request
    the_ten_greatest_and_the_rest_are_metrics
    only_what_is_there_is_shown
}

fn top(target: &Target, flow: &str) -> Launch {
    program("kafka-consumer").args(["top", "--flow", flow, "--database-url", &target.url()])
}

fn click(visitor: &str) -> String {
    json!({ "page": "/", "visitor": visitor, "seconds": "1" }).to_string()
}

async fn counters_are_shown_at_the_end_and_on_request(target: Target) {
    let visitors = [("ann", 4), ("bob", 2), ("Zoe", 2), ("eve\u{1b}", 1)];
    let clicks: Vec<String> =
        visitors.iter().flat_map(|&(visitor, clicks)| vec![click(visitor); clicks]).collect();
    let records: Vec<_> = clicks.iter().map(|click| (None, Some(&**click))).collect();
    let (broker, topic) = topic(&records).await;
    let output = consume("clicks", &target, broker, &topic, &[]);
    let [forty, twenty, ten] = [40, 20, 10].map(|length| "█".repeat(length));
    let expected = format!(
        "visitors\n\
         VISITOR       CLICKS\n\
         ann                4  {forty}\n\
         Zoe                2  {twenty}\n\
         bob                2  {twenty}\n\
         eve\\u{{1b}}          1  {ten}\n\n\
         top 3 visitors\n\
         VISITOR     CLICKS\n\
         ann              4  {forty}\n\
         Zoe              2  {twenty}\n\
         bob              2  {twenty}\n"
    );
    assert_eq!(output.stdout, expected, "{output}");
    assert_eq!(ended_with(&top(&target, "clicks").spawn(), 0).stdout, expected);

    let output = ended_with(&top(&target, "clicks").args(["--output", "json"]).spawn(), 0);
    let counts = [("ann", 4), ("Zoe", 2), ("bob", 2), ("eve\u{1b}", 1)]
        .map(|(key, count)| json!({ "key": key, "count": count }));
    let section = |title, counts: &[Value]| {
        let table = "clicks_by_visitor";
        json!({ "title": title, "table": table, "counts": counts })
    };
    let tops = [section("visitors", &counts), section("top 3 visitors", &counts[..3])];
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(found, json!({ "flow": "clicks", "tops": tops }));
}

fn consumer(url: &str, broker: &Broker, topic: &str) -> Process {
    program("kafka-consumer")
        .args(["--flow", "clicks", "--database-url", url, "--lease", "2s"])
        .args(["--brokers", broker.bootstrap(), "--topic", topic])
        .env("LOG_FORMAT", "pretty")
        .env("TALLY_DRAIN", "1s")
        .spawn()
}

/// The values of `ingest_counts` by key.
fn metrics(address: &str) -> BTreeMap<String, i64> {
    let answer = get(address, "/metrics");
    let start = "ingest_counts{flow=\"clicks\",table=\"clicks_by_visitor\",key=\"";
    let lines: Vec<&str> =
        answer.lines().filter(|line| line.starts_with("ingest_counts")).collect();
    let values: BTreeMap<String, i64> = lines
        .iter()
        .map(|line| {
            let (key, count) = line.strip_prefix(start).unwrap().split_once("\"} ").unwrap();
            (key.to_owned(), count.parse().unwrap())
        })
        .collect();
    assert_eq!(values.len(), lines.len(), "no two values are of the same key: {answer}");
    values
}

async fn feed(broker: &Broker, topic: &str, visitors: impl IntoIterator<Item = (String, usize)>) {
    let clicks = visitors.into_iter().flat_map(|(visitor, clicks)| vec![click(&visitor); clicks]);
    let records = clicks.map(|click| record(None, Some(click.as_bytes()))).collect();
    broker.produce(topic, 0, records).await;
}

async fn the_ten_greatest_and_the_rest_are_metrics(target: Target) {
    let (broker, topic) = topic(&[]).await;
    let numbered = |number: usize| format!("say \"{number:02}\"");
    feed(broker, &topic, (1..=12).map(|number| (numbered(number), number))).await;
    feed(broker, &topic, [("other".to_owned(), 20)]).await;
    let consumer = consumer(&target.url(), broker, &topic);
    let address = address(&consumer);
    let shown = |numbers: std::ops::RangeInclusive<usize>, other| {
        let shown = |number| (format!("say \\\"{number:02}\\\""), i64::try_from(number).unwrap());
        let mut all: BTreeMap<String, i64> = numbers.map(shown).collect();
        all.insert("other".to_owned(), other);
        all
    };
    let expected = shown(3..=12, 20 + 1 + 2);
    eventually(LONG, async || metrics(&address) == expected).await;
    let described = get(&address, "/metrics").matches(" ingest_counts ").count();
    assert_eq!(described, 2, "one help and one type");

    // Nobody is in the way of who looks.
    let output = ended_with(&top(&target, "clicks").spawn(), 0);
    assert!(output.stdout.lines().nth(2).unwrap().starts_with("other "), "{output}");

    // One that falls out of the ten is gone.
    feed(broker, &topic, [(numbered(13), 13)]).await;
    let expected = shown(4..=13, 20 + 1 + 2 + 3);
    eventually(LONG, async || metrics(&address) == expected).await;
    consumer.signal(Signal::SIGINT);
    let output = ended_with(&consumer, 130);
    let lines: Vec<&str> = output.stdout.lines().collect();
    let last = ["top 3 visitors", "VISITOR", "other", "say \"13\"", "say \"12\""];
    assert_eq!((lines[0], lines.len()), ("visitors", 22), "{output}");
    assert!(lines[17..].iter().zip(last).all(|(line, text)| line.starts_with(text)), "{output}");
}

async fn only_what_is_there_is_shown(target: Target) {
    let refused = |flow: &str, texts: &[&str]| {
        let output = ended_with(&top(&target, flow).spawn(), 78);
        let is_said = texts.iter().all(|text| output.stderr.contains(text));
        assert!(is_said && output.stdout.is_empty(), "no {texts:?} in {output}");
    };
    let without = ["the flow readings has no counters to show: say --flow clicks"];
    refused("readings", &without);
    refused("clicks", &[]);
    let is_empty = match &target {
        Target::Sqlite(file) => !file.path().exists(),
        Target::Postgres(_) => {
            rows(&target, "select count(*) from pg_tables where schemaname = 'public'").await
                == ["0"]
        }
    };
    assert!(is_empty, "nothing was made");

    let readings = ["sensor;at;value;second_value;is_valid;details", "a;b;c;;;"];
    take("readings", &target, &Table::new(&readings), &[]);
    refused("clicks", &["table", "clicks_by_visitor"]);
    take("clicks", &target, &Table::new(&["page;visitor;seconds"]), &[]);
    let output = ended_with(&top(&target, "clicks").spawn(), 0);
    let nothing = "visitors\nnothing is counted\n\ntop 3 visitors\nnothing is counted\n";
    assert_eq!(output.stdout, nothing);
}

/// Whether it refuses or swallows what it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_does_not_wait_for_a_database_that_is_away() {
    for mode in [Mode::Refuse, Mode::Blackhole] {
        let target = Target::postgres().await;
        let Target::Postgres(database) = &target else { unreachable!("as it was made") };
        let proxy = Proxy::start_postgres(database.addr()).await;
        let click = click("ann");
        let (broker, topic) = topic(&[(None, Some(&click))]).await;
        let consumer = consumer(&database.url_through(proxy.addr()), broker, &topic);
        let address = address(&consumer);
        eventually(LONG, async || metrics(&address).get("ann") == Some(&1)).await;
        proxy.set_mode(mode).await;
        consumer.signal(Signal::SIGTERM);
        let output = ended_with(&consumer, 143);
        assert!(output.stderr.contains("the counters of clicks are left out: "), "{output}");
        assert_eq!(output.stdout, "", "{output}");
    }
}
