//! Committed and aborted transactions.

use std::time::Duration;

use tally_harness::kafka::{Broker, JavaProducer, record};
use tally_kafka_client::{Fetch, Isolation};

use crate::support::{answer, partition, read, send, told, until_decided, until_end};

#[tokio::test]
async fn aborted_records_are_passed_between_others_and_from_within() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let (mut one, mut other) =
        (JavaProducer::start(broker.bootstrap()), JavaProducer::start(broker.bootstrap()));
    let partition = partition(broker.bootstrap(), &topic).await;
    one.begin().await;
    send(&mut one, &topic, &["a0", "a1"]).await;
    other.begin().await;
    send(&mut other, &topic, &["c2"]).await;
    send(&mut one, &topic, &["a3"]).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"p4"))]).await;
    one.abort().await;
    one.begin().await;
    send(&mut one, &topic, &["c6"]).await;
    one.commit().await;
    until_end(&partition, 8, Isolation::ReadUncommitted).await;
    other.commit().await;
    until_decided(&partition, 9).await;
    one.begin().await;
    send(&mut one, &topic, &["a9"]).await;
    one.abort().await;
    until_decided(&partition, 11).await;

    let all = [
        "offsets 0 to 1 written by an aborted transaction",
        "c2",
        "offset 3 written by an aborted transaction",
        "p4",
        "offset 5 marked as the abort of a transaction",
        "c6",
        "offset 7 marked as the commit of a transaction",
        "offset 8 marked as the commit of a transaction",
        "offset 9 written by an aborted transaction",
        "offset 10 marked as the abort of a transaction",
    ];
    assert_eq!(told(&read(&partition, Fetch::from(0), 11).await), all);
    // From within the aborted one, and batch by batch.
    let told_from_1 = told(&read(&partition, Fetch::from(1), 11).await);
    assert_eq!(told_from_1[0], "offset 1 written by an aborted transaction");
    assert_eq!(told_from_1[1..], all[1..]);
    for (from, rest) in [(3, 2), (4, 3), (5, 4), (6, 5), (9, 8)] {
        let small = Fetch { max_bytes: 1, ..Fetch::from(from) };
        assert_eq!(told(&read(&partition, small, 11).await), all[rest..]);
    }
    let isolation = Isolation::ReadUncommitted;
    let uncommitted = told(&read(&partition, Fetch { isolation, ..Fetch::from(0) }, 11).await);
    assert_eq!(uncommitted[..3], ["a0 a1", "c2", "a3"]);
    assert_eq!(uncommitted[8], "a9");
}

#[tokio::test]
async fn what_is_not_decided_is_not_read() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    broker.produce(&topic, 0, vec![record(None, Some(b"p0"))]).await;
    java.begin().await;
    send(&mut java, &topic, &["c1", "c2"]).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"p3"))]).await;

    let partition = partition(broker.bootstrap(), &topic).await;
    assert_eq!(partition.latest(Isolation::ReadCommitted).await.unwrap(), 1);
    assert_eq!(partition.latest(Isolation::ReadUncommitted).await.unwrap(), 4);
    assert_eq!(told(&answer(&partition, Fetch::from(0)).await.unwrap()), ["p0"]);
    assert!(answer(&partition, Fetch::from(1)).await.unwrap().is_empty());
    let isolation = Isolation::ReadUncommitted;
    let all = answer(&partition, Fetch { isolation, ..Fetch::from(0) }).await.unwrap();
    assert_eq!(told(&all), ["p0", "c1 c2", "p3"]);

    java.commit().await;
    until_decided(&partition, 5).await;
    let rest = told(&read(&partition, Fetch::from(1), 5).await);
    assert_eq!(rest, ["c1 c2", "p3", "offset 4 marked as the commit of a transaction"]);
    // From within it.
    assert_eq!(told(&read(&partition, Fetch::from(2), 5).await)[..2], ["c2", "p3"]);
}

#[tokio::test]
async fn a_transaction_that_times_out_is_passed_as_aborted() {
    let broker = Broker::shared().await;
    let topic = broker.topic(1).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    java.begin_within(Duration::from_secs(1)).await;
    send(&mut java, &topic, &["a0", "a1"]).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"p2"))]).await;

    let partition = partition(broker.bootstrap(), &topic).await;
    until_decided(&partition, 4).await;
    let all = told(&read(&partition, Fetch::from(0), 4).await);
    assert_eq!(
        all,
        [
            "offsets 0 to 1 written by an aborted transaction",
            "p2",
            "offset 3 marked as the abort of a transaction"
        ]
    );
    assert_eq!(told(&read(&partition, Fetch::from(1), 4).await)[1..], all[1..]);
}
