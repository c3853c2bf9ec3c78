//! Dead letters of topics, in both formats.

use std::time::Duration;

use crate::support::{Desk, HEADER, objects, on_both_stores, outcomes, replayed, row};
use serde_json::json;
use tally_harness::job::{Job, Target};
use tally_harness::kafka::{Broker, record};
use tally_harness::process::{Launch, binary};
use tally_harness::registry::Registry;
use uuid::Uuid;

/// How long a run with a topic may take on a busy machine.
const LONG: Duration = Duration::from_secs(90);

on_both_stores! {
    records_of_a_topic_are_replayed
    avro_is_read_once_the_registry_is_known
}

fn json_of(id: u128, description: &str) -> Vec<u8> {
    let id = Uuid::from_u128(id).to_string();
    let record = json!({"id": id, "description": description, "amount": -1.5, "merchant": null,
        "timestamp": "2024-01-15T08:30:00", "operation_type": "payment", "side": "debit"});
    record.to_string().into_bytes()
}

/// Takes the topic to its end.
fn consume(desk: &Desk, broker: &Broker, topic: &str) {
    let job = Job::consumer(&desk.target.url(), broker.bootstrap(), topic);
    let output = job.model(&desk.model.url()).flag("--until-end").spawn().wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
}

/// With their offsets, and never over a later record of the key.
async fn records_of_a_topic_are_replayed(desk: Desk) {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let records = [
        (1, Some(json_of(1, "bad"))),
        (2, Some(json_of(2, "good"))),
        (3, None),
        (4, Some(json_of(4, "bad"))),
        (4, Some(json_of(4, "later"))),
    ];
    let records = records.map(|(key, value): (u128, _)| {
        record(Some(Uuid::from_u128(key).to_string().as_bytes()), value.as_deref())
    });
    broker.produce(&topic, 0, records.to_vec()).await;
    desk.model.refuse();
    consume(&desk, broker, &topic);
    assert_eq!(desk.states().await, ["0 1 open", "2 1 open", "3 1 open"]);

    desk.model.answer();
    let stream = format!("tally/{topic}");
    let (told, _) = desk.replay(&["--stream", &stream]);
    let expected = outcomes([(0, "replayed"), (2, "failed_again"), (3, "outdated")]);
    assert_eq!(told, expected);
    assert_eq!(desk.states().await, ["0 1 replayed", "2 1 retried", "2 2 open", "3 1 outdated"]);
    let rows = desk.texts("select description, position from transactions order by id").await;
    assert_eq!(rows, ["bad 0", "good 1", "later 4"]);

    let key = Uuid::from_u128(3).to_string();
    let page = desk.json(&["list", "--key", &key, "--label", &topic, "--state", "open"]);
    let letter = &page["dead_letters"][0];
    assert_eq!((&letter["code"], &letter["key"]), (&json!("tombstone"), &json!(key)));
    assert_eq!((&letter["payload_bytes"], &letter["attempt"]), (&json!(null), &json!(2)));
    let table = desk.done(&["list", "--key", &key]);
    assert!(table.contains(&format!("{topic}/0@2")), "{table}");
    // A new record of the key is live traffic, and newer than all of these.
    let newer = record(Some(b"1"), Some(&json_of(1, "newest")));
    broker.produce(&topic, 0, vec![newer]).await;
    consume(&desk, broker, &topic);
    let rows = desk.texts("select description, position from transactions order by id").await;
    assert_eq!(rows, ["newest 5", "good 1", "later 4"]);
}

/// The cause was a setting: no registry was named.
async fn avro_is_read_once_the_registry_is_known(desk: Desk) {
    let (broker, registry) = (Broker::shared().await, Registry::shared().await);
    let topic = broker.topic(1).await;
    let rows: String = (1..=3).map(|id| row(id, "good")).collect();
    let file = desk.file("a.csv", format!("{HEADER}{rows}"));
    let sent = Launch::new(binary("producer"))
        .args(["--brokers", broker.bootstrap(), "--topic", &topic, "--format", "avro"])
        .args([&file])
        .env("SCHEMA_REGISTRY_URL", registry.url())
        .spawn()
        .wait(LONG);
    assert_eq!(sent.code, Some(0), "{sent}");
    consume(&desk, broker, &topic);
    assert_eq!(desk.states().await, ["0 1 open", "1 1 open", "2 1 open"]);

    let lines = desk.lines(&["replay", "--all"]);
    assert_eq!(
        (&lines[0]["outcome"], &lines[0]["code"]),
        (&json!("failed_again"), &json!("schema_unknown"))
    );
    let away = desk
        .launch(&["replay", "--all", "--max-outage", "1s"])
        .env("SCHEMA_REGISTRY_URL", "http://127.0.0.1:9")
        .spawn()
        .wait(LONG);
    assert_eq!(away.code, Some(69), "{away}");
    let open = desk.target.number("select count(*) from dead_letters where state = 'open'").await;
    assert_eq!(open, 3, "an outage is not a bad record");

    let output = desk
        .launch(&["replay", "--all", "--output", "json"])
        .env("SCHEMA_REGISTRY_URL", registry.url())
        .spawn()
        .wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
    let (told, _) = replayed(objects(&output.stdout));
    assert_eq!(told, outcomes([(0, "replayed"), (1, "replayed"), (2, "replayed")]));
    let rows = desk.texts("select amount, timestamp, position from transactions order by id").await;
    assert_eq!(rows, [0, 1, 2].map(|at| format!("-1.50 2024-01-15 08:30:00 {at}")));
}
