//! Generated records.

use std::collections::BTreeMap;

use tally_harness::job::ended_with;
use tally_harness::kafka::Broker;
use tally_harness::process::{Launch, Signal};
use tally_sample::Logins;

use crate::support::SOON;

fn producer(broker: &Broker, topic: &str, flags: &[&str]) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_producer"))
        .args(["--flow", "user-logins", "--brokers", broker.bootstrap(), "--topic", topic])
        .args(flags)
}

/// What a generator gives, keyed by user, in its order within each key; then no more.
#[tokio::test]
async fn as_many_logins_are_generated_as_asked_for_the_same_for_a_seed() {
    let broker = Broker::shared().await;
    let topic = broker.topic(2).await;
    let flags = ["--count", "1000", "--spoil", "0.1", "--seed", "5"];
    let output = ended_with(&producer(broker, &topic, &flags).spawn(), 0);
    assert!(output.stdout.contains("1000 rows read, 1000 sent"), "{output}");

    let mut found: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for partition in 0..2 {
        for record in broker.read_all(&topic, partition).await {
            let record = record.record;
            found.entry(record.key.unwrap()).or_default().push(record.value.unwrap());
        }
    }
    let mut expected: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for login in Logins::new(5, 0.1).take(1_000) {
        let value = login.payload.unwrap().to_vec();
        expected.entry(login.key.unwrap().to_vec()).or_default().push(value);
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn logins_come_at_their_rate_until_a_signal() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let producer = producer(broker, &topic, &["--rate", "200/s"]).spawn();
    producer.wait_for_line(" records sent, ", SOON);
    producer.signal(Signal::SIGTERM);
    let output = producer.wait(SOON);
    assert_eq!(output.code, Some(143), "{output}");
    let sent = broker.read_all(&topic, 0).await.len();
    // At least five seconds, after which a line is logged.
    assert!((900..=4_000).contains(&sent), "{sent}");
    assert!(output.stdout.contains(&format!("{sent} rows read, {sent} sent")), "{output}");
}

#[tokio::test]
async fn what_a_generator_cannot_do_is_said_at_once() {
    let broker = Broker::shared().await;
    let refused = |flags: &[&str], says: &str| {
        let output = ended_with(&producer(broker, "none", flags).spawn(), 2);
        assert!(output.stderr.contains(says), "{output}");
    };
    refused(&["--spoil", "1.5"], "from 0 to 1");
    refused(&["--repeat"], "<FILE>");
    refused(&["--transactional"], "<FILE>");
    refused(&["rows.csv", "--seed", "1"], "cannot be used with");
    let launch = Launch::new(env!("CARGO_BIN_EXE_producer"));
    let output = ended_with(&launch.args(["--brokers", broker.bootstrap()]).spawn(), 2);
    assert!(output.stderr.contains("the flow transactions has no generator"), "{output}");
}
