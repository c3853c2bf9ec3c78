//! Brokers that are away.

use tally_harness::kafka::OwnKafka;

use super::*;
use crate::support::{address, get};

/// Nothing becomes a dead letter; `/ready` tells; what goes on publishes all.
async fn a_frozen_broker_is_waited_for(flow: &str, records: Vec<String>) {
    let broker = OwnKafka::start().await;
    broker.create_topic("from", 1).await;
    broker.create_topic("to", 1).await;
    feed(&broker, "from", &records).await;
    let (target, records) = (Target::postgres().await, i64::try_from(records.len()).unwrap());
    let consumer = consumer(&broker, "from", flow, &target, &[])
        .env(setting(flow), "to")
        .env("TALLY_KAFKA__TIMEOUT", "2s")
        .spawn();
    let address = address(&consumer);
    eventually(LONG, async || count(&target, "select count(*) from batches").await > 0).await;
    broker.freeze();
    consumer.wait_for_line("unavailable, retrying", LONG);
    eventually(LONG, async || get(&address, "/ready").starts_with("HTTP/1.1 503")).await;
    broker.thaw();
    let read = "select coalesce(sum(read), 0) from batches";
    eventually(LONG, async || {
        target.number(read).await == records
            && target.number("select count(*) from outbox").await == 0
    })
    .await;
    let metrics = get(&address, "/metrics");
    let total = format!("ingest_published_total{{flow=\"{flow}\",topic=\"to\"}} ");
    let shown = metrics.lines().find_map(|line| line.strip_prefix(&total)).unwrap();
    assert!(shown.parse::<i64>().unwrap() > 0, "{metrics}");
    assert!(metrics.contains("ingest_outbox_backlog{"), "{metrics}");
    consumer.signal(Signal::SIGTERM);
    ended_with(&consumer, 143);
    check_once_or_repeated("tally/from", &published(&broker, "to").await, records);
    assert_eq!(rows(&target, "select count(*) from dead_letters").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_wait_for_a_frozen_broker() {
    let alerts = (0..20_000).map(|_| alert("a", "0.01", 1)).collect();
    a_frozen_broker_is_waited_for("alerts", alerts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wait_for_a_frozen_broker() {
    let orders = (0..20_000).map(|number| order(number, "new", 1)).collect();
    a_frozen_broker_is_waited_for("orders", orders).await;
}

/// Its rows are committed, and the next run publishes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_does_not_end_while_the_topics_are_away() {
    let broker = OwnKafka::start().await;
    broker.create_topic("to", 1).await;
    let target = Target::postgres().await;
    let mut lines = vec!["number,state,times".to_owned()];
    lines.extend((0..5_000).map(|number| format!("{number},new,1")));
    let table = Table::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let run = || {
        program("csv-runner")
            .args(["--flow", "orders", "--database-url", &target.url()])
            .args(["--batch-size", "10", "--max-outage", "3s", "--lease", "2s"])
            .args([table.path()])
            .env("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap())
            .env("TALLY_KAFKA__TIMEOUT", "1s")
            .env(setting("orders"), "to")
            .spawn()
    };
    let process = run();
    eventually(LONG, async || count(&target, "select count(*) from batches").await > 0).await;
    broker.freeze();
    ended_with(&process, 69);
    broker.thaw();
    let ended = "select count(*) from positions where ended_at is not null";
    assert_eq!(rows(&target, ended).await, ["0"]);
    ended_with(&run(), 0);
    assert_eq!(rows(&target, ended).await, ["1"]);
    let all = published(&broker, "to").await;
    let stream = all[0].id.split_once("/0/1/").unwrap().0.to_owned();
    check_once_or_repeated(&stream, &all, 5_000);
}

/// The pass has ended, so that no owner will publish it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_replay_could_not_publish_is_by_the_next_run_of_files() {
    let broker = OwnKafka::start().await;
    broker.create_topic("to", 1).await;
    let target = Target::sqlite();
    let table = Table::new(&["number,state,times", "1,new,1", "2,refused,1"]);
    let with = |launch: Launch| {
        launch
            .args(["--database-url", &target.url(), "--max-outage", "2s"])
            .env("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap())
            .env("TALLY_KAFKA__TIMEOUT", "1s")
            .env(setting("orders"), "to")
    };
    let run = || {
        let launch = program("csv-runner").args(["--flow", "orders"]).args([table.path()]);
        ended_with(&with(launch).spawn(), 0)
    };
    run();
    target.execute("update dead_letters set payload = cast('2,new,1' as blob)").await;
    let replay = || {
        let launch = program("dead-letters").args(["replay", "--all", "--reason", "test"]);
        with(launch).env("FAILPOINT", "produce-before:kill:1").spawn()
    };
    assert_eq!(replay().wait(LONG).signal, Some(Signal::SIGKILL));
    assert_eq!(rows(&target, "select count(*) from outbox").await, ["1"]);
    eventually(LONG, async || {
        run();
        target.number("select count(*) from outbox").await == 0
    })
    .await;
    let last = published(&broker, "to").await.pop().unwrap();
    assert_eq!((&*last.key, last.is_replay), ("2", true));
}
