//! What happens between the commit of a transaction and that of the database.

use std::collections::BTreeSet;

use tally_harness::kafka::{JavaRecord, OwnKafka, PASSWORD, Resource, USER};
use tally_harness::process::Output;

use super::*;
use crate::support::Table;

/// Published and not committed: the first `batch_size` records.
async fn killed_between(topics: &Topics, target: &Target, batch_size: usize) {
    let consumer = topics.consumer(target, batch_size);
    let consumer = consumer.env("FAILPOINT", "kafka-commit-after:kill:1").spawn();
    assert_eq!(consumer.wait(LONG).signal, Some(Signal::SIGKILL));
    assert_eq!(rows(target, "select count(*) from batches").await, ["0"]);
}

fn set(topics: &Topics, target: &Target, to: &str) -> Output {
    let launch = program("kafka-consumer")
        .args(["positions", "set", "--to", to, "--flow", topics.flow, "--lease", "2s"])
        .args(["--database-url", &target.url(), "--topic", &topics.from]);
    ended_with(&topics.with(launch).spawn(), 0)
}

async fn positions(topics: &Topics) -> Vec<i64> {
    let ids = ids(&topics.published().await);
    ids.iter().map(|id| id.rsplit('/').nth(1).unwrap().parse().unwrap()).collect()
}

/// The lease of a process that was killed lives on for a while.
async fn until_free(target: &Target) {
    let free = match target {
        Target::Postgres(_) => "lease_until < now() at time zone 'utc'",
        Target::Sqlite(_) => "lease_until < strftime('%Y-%m-%d %H:%M:%f', 'now')",
    };
    let free = format!("select count(*) from positions where owner is null or {free}");
    eventually(LONG, async || target.number(&free).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_rule_changes_nothing_that_was_published() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 300)).await;
    let target = Target::postgres().await;
    killed_between(&topics, &target, 100).await;
    let consumer = topics
        .consumer(&target, 30)
        .env("TALLY_QUALITY__WINDOW", "1")
        .env("TALLY_QUALITY__FREE__THRESHOLD", "0")
        .env("TALLY_QUALITY__FREE__POLICY", "quarantine")
        .spawn();
    ended_with(&consumer, 0);
    let expected: Vec<i64> = (0..300).filter(|n| *n < 100 || n % 7 != 0).collect();
    assert_eq!(positions(&topics).await, expected);
    let first = "select read, written, dead_lettered from batches order by first limit 1";
    assert_eq!(rows(&target, first).await, ["100|100|0"]);
    let refused = "select min(position) from dead_letters";
    assert_eq!(rows(&target, refused).await, ["105"]);
    topics.audit(&target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_set_settles_what_was_published() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 300)).await;
    let target = Target::postgres().await;
    killed_between(&topics, &target, 100).await;
    until_free(&target).await;
    let output = set(&topics, &target, "250");
    let from = &topics.from;
    assert_eq!(output.stdout, format!("{from}/0: from 100 to 250\n"));
    let settled = format!("{from}/0: committed what was published, up to before 100\n");
    assert!(output.stderr.contains(&settled), "{output}");
    ended_with(&topics.consumer(&target, 50).spawn(), 0);
    assert_eq!(positions(&topics).await, (0..100).chain(250..300).collect::<Vec<_>>());
    assert_eq!(rows(&target, "select sum(read) from batches").await, ["150"]);

    set(&topics, &target, "earliest");
    ended_with(&topics.consumer(&target, 70).spawn(), 0);
    let all = positions(&topics).await;
    assert_eq!(all.len(), 300);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (0..300).collect());
    check_counts(&target, 300).await;
    topics.audit(&target);
}

/// As after a restore, or with the wrong database.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_knows_nothing_of_what_was_published_stops() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 300)).await;
    ended_with(&topics.consumer(&Target::sqlite(), 100).spawn(), 0);
    let other = Target::postgres().await;
    let output = ended_with(&topics.consumer(&other, 100).spawn(), 78);
    let text = format!("says of alerts/tally/{}/0 that epoch", topics.from);
    assert!(output.stderr.contains(&text), "{output}");
    assert_eq!(rows(&other, "select count(*) from batches").await, ["0"]);

    let output = set(&topics, &other, "200");
    assert!(output.stderr.contains("forgot what was published"), "{output}");
    ended_with(&topics.consumer(&other, 100).spawn(), 0);
    assert_eq!(positions(&topics).await, (0..300).chain(200..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_again_publishes_nothing_twice() {
    let topics = Topics::of("alerts", "exactly-once", &[]).await;
    let target = Target::postgres().await;
    let lines = (0..300).map(|_| "a,look,0.01,1".to_owned());
    let lines: Vec<String> = ["account,text,amount,times".to_owned()]
        .into_iter()
        .chain(lines)
        .chain([String::new()])
        .collect();
    let table = Table::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let runner = |flags: &[&str]| {
        let launch = program("csv-runner")
            .args(["--flow", "alerts", "--database-url", &target.url(), "--lease", "2s"])
            .args([table.path()])
            .args(flags);
        topics.with(launch)
    };
    let killed =
        runner(&["--batch-size", "100"]).env("FAILPOINT", "kafka-commit-after:kill:3").spawn();
    assert_eq!(killed.wait(LONG).signal, Some(Signal::SIGKILL));
    ended_with(&runner(&["--batch-size", "70", "--again"]).spawn(), 0);
    ended_with(&runner(&["--again"]).spawn(), 0);
    assert_eq!(positions(&topics).await, (0..300).collect::<Vec<_>>());
    let counted = "select alerts, amount from alerts_by_account";
    assert_eq!(rows(&target, counted).await, ["300|3.00"]);
    let passes = "select pass, sum(read), sum(written) from batches group by pass order by pass";
    assert_eq!(rows(&target, passes).await, ["1|300|300", "2|300|300"]);
    let launch = program("audit").args(["--flow", "alerts", "--database-url", &target.url()]);
    let launch = launch.args(["--brokers", &topics.bootstrap, "--source"]);
    ended_with(&topics.with(launch.args([table.path()])).spawn(), 0);
}

/// The broker aborts it; nobody else has the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_takes_too_long_is_written_again() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 300)).await;
    let target = Target::postgres().await;
    let consumer = topics.consumer(&target, 100);
    let consumer = consumer.env("FAILPOINT", "kafka-commit-before:stop:2").spawn();
    consumer.until_frozen().await;
    topics.until_decided().await;
    consumer.signal(Signal::SIGCONT);
    ended_with(&consumer, 0);
    topics.check(300).await;
    check_ledger(&topics, &target, 300).await;
    check_counts(&target, 300).await;
}

/// The transaction is committed and the database is away for longer than it could have taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_is_waited_for() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 300)).await;
    let target = Target::postgres().await;
    let Target::Postgres(database) = &target else { panic!("Postgres") };
    let consumer = topics.consumer(&target, 100);
    let consumer = consumer.env("FAILPOINT", "begin-before:stop:2").spawn();
    consumer.until_frozen().await;
    let other = database.connect().await;
    other.batch_execute("begin; lock table batches").await.unwrap();
    consumer.signal(Signal::SIGCONT);
    // A transaction may take one second.
    let is_locked_long = "select count(*) from pg_stat_activity where datname = current_database() \
        and state = 'idle in transaction' and clock_timestamp() - xact_start > interval '3 s'";
    eventually(LONG, async || target.number(is_locked_long).await > 0).await;
    other.batch_execute("commit").await.unwrap();
    ended_with(&consumer, 0);
    topics.check(300).await;
    check_ledger(&topics, &target, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_progress_topic_that_is_not_fit_is_a_wrong_setting() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 10)).await;
    ended_with(&topics.consumer(&Target::sqlite(), 10).spawn(), 0);
    let (target, broker) = (Target::sqlite(), Broker::shared().await);
    let other = topics.consumer(&target, 10).env("TALLY_KAFKA__TRANSACTIONAL_ID_PREFIX", "other");
    let output = ended_with(&other.spawn(), 78);
    assert!(output.stderr.contains("kafka.transactional_id_prefix"), "{output}");

    let small = broker.topic_with(1, "cleanup.policy=compact").await;
    let wide = Topics { from: broker.topic(2).await, ..topics };
    let consumer = wide.consumer(&target, 10).env("TALLY_KAFKA__PROGRESS_TOPIC", &small);
    let output = ended_with(&consumer.spawn(), 78);
    assert!(output.stderr.contains(&small), "{output}");
    assert!(output.stderr.contains("partition"), "{output}");
}

/// Another flow's, whose end nobody knows yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_another_flow_is_waited_for() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 300)).await;
    let target = Target::postgres().await;
    let progress = format!("{}-progress", topics.to);
    ended_with(&topics.consumer(&target, 100).spawn(), 0);
    let mut java = JavaProducer::start(&topics.bootstrap);
    java.begin().await;
    let (key, value) = (Some(b"x".as_slice()), Some(b"y".as_slice()));
    let partition = Some(0);
    java.send(JavaRecord { topic: &progress, partition, key, value, ..JavaRecord::default() })
        .await;
    java.flush().await;
    feed(Broker::shared().await, &topics.from, &records("alerts", 7)).await;
    let consumer = topics.consumer(&target, 100).env("TALLY_KAFKA__TIMEOUT", "1s").spawn();
    consumer.wait_for_line("another transaction is open", LONG);
    java.abort().await;
    ended_with(&consumer, 0);
    topics.check(307).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_recreated_settles_nothing_of_the_one_before() {
    let topics = Topics::of("alerts", "exactly-once", &records("alerts", 300)).await;
    let target = Target::postgres().await;
    killed_between(&topics, &target, 100).await;
    let broker = Broker::shared().await;
    broker.delete_topic(&topics.from).await;
    broker.create_topic(&topics.from, 1).await;
    feed(broker, &topics.from, &vec![alert("b", "1", 1); 200]).await;
    let output = ended_with(&topics.consumer(&target, 100).spawn(), 65);
    assert!(output.stderr.contains("other records are there now"), "{output}");
    assert_eq!(rows(&target, "select count(*) from batches").await, ["0"]);
    let output = set(&topics, &target, "earliest");
    assert!(output.stderr.contains("forgot what was published"), "{output}");
    ended_with(&topics.consumer(&target, 100).spawn(), 0);
    assert_eq!(rows(&target, "select sum(read) from batches").await, ["200"]);
}

/// Both are transactions of one partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_published_once_beside_what_is_read() {
    let mut all = records("alerts", 1_000);
    all[3] = "{}".to_owned();
    let topics = Topics::of("alerts", "exactly-once", &all).await;
    let target = Target::postgres().await;
    let consumer = topics.consumer(&target, 10).spawn();
    eventually(LONG, async || count(&target, "select count(*) from dead_letters").await == 1).await;
    let corrected = alert("a", "0.01", 1);
    let correct = format!("update dead_letters set payload = convert_to('{corrected}', 'UTF8')");
    target.execute(&correct).await;
    let launch = program("dead-letters").args([
        "replay",
        "--all",
        "--reason",
        "test",
        "--database-url",
        &target.url(),
    ]);
    ended_with(&topics.with(launch).spawn(), 0);
    ended_with(&consumer, 0);
    ended_with(&topics.consumer(&target, 10).spawn(), 0);
    let mut found = positions(&topics).await;
    found.sort_unstable();
    assert_eq!(found, (0..1_000).collect::<Vec<_>>());
    assert_eq!(rows(&target, "select count(*) from outbox").await, ["0"]);
}

mod serial {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_right_on_the_transactional_id_that_is_missing_is_named() {
        let acls = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                    allow.everyone.if.no.acl.found=true\nsuper.users=User:ANONYMOUS";
        let broker = OwnKafka::secured_with(&[("KAFKA_SETTINGS", acls)]).await;
        broker.create_topic("from", 1).await;
        broker.create_topic("to", 1).await;
        feed(&broker, "from", &records("alerts", 3)).await;
        let mut java = JavaProducer::start(broker.bootstrap());
        let id = "tally/alerts/tally/from/0";
        java.restrict(USER, Resource::TransactionalId(id), &["DESCRIBE"]).await;
        let target = Target::sqlite();
        let consumer = program("kafka-consumer")
            .args(["--flow", "alerts", "--database-url", &target.url(), "--topic", "from"])
            .args(["--until-end", "--brokers", &broker.sasl()])
            .env("TALLY_KAFKA__SASL__MECHANISM", "plain")
            .env("TALLY_KAFKA__SASL__USERNAME", USER)
            .env("TALLY_KAFKA__SASL__PASSWORD", PASSWORD)
            .env("TALLY_KAFKA__DELIVERY", "exactly-once")
            .env(setting("alerts"), "to")
            .spawn();
        let output = ended_with(&consumer, 78);
        assert!(output.stderr.contains(&format!("transactional id {id}")), "{output}");
        assert!(output.stderr.contains("TransactionalIdAuthorizationFailed"), "{output}");
        assert_eq!(rows(&target, "select count(*) from batches").await, ["0"]);
    }
}
