//! Brokers that go away, and those that want to know who we are. One at a time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tally_adapter_kafka::{
    Cluster, KafkaSource, Mechanism, Outgoing, PartitionProgress, Publisher, Sasl, Security,
    Settings, Start,
};
use tally_harness::kafka::{OwnKafka, PASSWORD, USER};
use tally_ports::{Batch, Fault, Source, StopKind};

use crate::support::{
    Topic, blocked, check_follows, next, positions, produce_singly, range, read, visits,
};

const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a login may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

async fn topic(own: &OwnKafka) -> Topic {
    let topic = Topic::new(own).await;
    topic.with(|settings| (settings.timeout, settings.fetch_bytes) = (TIMEOUT, 1))
}

/// Calls until it fails; what was read meanwhile follows `next`, which is moved on.
async fn until_outage(source: &mut KafkaSource, progress: &PartitionProgress, next: &mut i64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "no outage");
        match source.next_batch(1).await {
            Ok(batch) => take(&batch.unwrap(), progress, next),
            Err(Fault::Outage { message, .. }) => {
                assert!(message.contains("kafka at 127.0.0.1:"), "{message}");
                return;
            }
            Err(stop) => panic!("{stop}"),
        }
    }
}

/// Reads on to `end`, whatever outages there are.
async fn read_on(source: &mut KafkaSource, progress: &PartitionProgress, next: &mut i64, end: i64) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while *next < end {
        assert!(Instant::now() < deadline, "only up to {next}");
        match source.next_batch(1).await {
            Ok(batch) => take(&batch.unwrap(), progress, next),
            Err(fault) => assert!(matches!(fault, Fault::Outage { .. }), "{fault}"),
        }
    }
}

fn take(batch: &Batch, progress: &PartitionProgress, next: &mut i64) {
    check_follows(batch, *next);
    *next = batch.last + 1;
    progress.committed(*next);
}

#[tokio::test]
async fn a_broker_that_is_stopped_and_started_again_costs_nothing() {
    let own = OwnKafka::start().await;
    let topic = topic(&own).await;
    produce_singly(&own, &topic.name, visits(0..20)).await;
    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let publisher = Publisher::open(&topic.cluster, &topic.name).await.unwrap();
    let mut next = 0;
    take(&crate::support::next(&mut source, 1).await, &progress, &mut next);

    own.stop().await;
    until_outage(&mut source, &progress, &mut next).await;
    assert!(next < 20, "all was read before");
    for _ in 0..2 {
        let again = source.next_batch(1).await.unwrap_err();
        assert!(matches!(again, Fault::Outage { .. }), "{again}");
    }
    let publishing = publisher.publish(&[visit()]).await;
    assert!(matches!(publishing, Err(Fault::Outage { .. })), "{publishing:?}");

    own.start_again().await;
    read_on(&mut source, &progress, &mut next, 20).await;
    publisher.publish(&[visit()]).await.unwrap();
    read_on(&mut source, &progress, &mut next, 21).await;
    assert_eq!(topic.cluster.offset(&topic.name, 0, Start::Latest).await, Ok(21));
}

#[tokio::test]
async fn a_frozen_broker_is_an_outage_within_the_timeout() {
    let own = OwnKafka::start().await;
    let topic = topic(&own).await;
    produce_singly(&own, &topic.name, visits(0..20)).await;
    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let publisher = Publisher::open(&topic.cluster, &topic.name).await.unwrap();
    publisher.publish(&[visit()]).await.unwrap();
    let mut next = 0;
    take(&crate::support::next(&mut source, 1).await, &progress, &mut next);

    own.freeze();
    let began = Instant::now();
    until_outage(&mut source, &progress, &mut next).await;
    assert!(began.elapsed() < TIMEOUT * 3, "{:?}", began.elapsed());
    assert!(next < 20, "all was read before");
    // Whoever probes must not take it for idle.
    for _ in 0..2 {
        let began = Instant::now();
        let again = source.next_batch(1).await.unwrap_err();
        assert!(matches!(again, Fault::Outage { .. }), "{again}");
        assert!(began.elapsed() < TIMEOUT * 3, "{:?}", began.elapsed());
    }
    let publishing = publisher.publish(&[visit()]).await;
    assert!(matches!(publishing, Err(Fault::Outage { .. })), "{publishing:?}");
    let asking = topic.cluster.offset(&topic.name, 0, Start::Latest).await;
    assert!(matches!(asking, Err(Fault::Outage { .. })), "{asking:?}");

    own.thaw();
    read_on(&mut source, &progress, &mut next, 21).await;
    publisher.publish(&[visit()]).await.unwrap();
    assert!(topic.cluster.offset(&topic.name, 0, Start::Latest).await.unwrap() >= 22);
}

#[tokio::test]
async fn batches_that_are_broken_on_disk_stop_the_partition_by_their_exact_range() {
    let own = OwnKafka::start().await;
    let topic = Topic::new(&own).await;
    // 0 to 2, 3 to 6, 7 and 8, 9 and 10, 11
    for visits in [visits(0..3), visits(3..7), visits(7..9), visits(9..11), visits(11..12)] {
        own.produce(&topic.name, 0, visits).await;
    }
    own.stop().await;
    for broken in [1, 2, 4] {
        own.edit_batch(&topic.name, 0, broken, |batch| batch[80] ^= 1); // within its first record
    }
    own.start_again().await;
    let topic = Topic::named(&own, topic.name);

    let (mut source, progress) = topic.source(0, &Value::Null, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!(positions(std::slice::from_ref(&batch)), [0, 1, 2]);
    let (gap, message) = blocked(&mut source, &progress).await;
    assert_eq!(range(&gap), (3, 6, 7));
    assert!(message.contains("cannot be decoded: its checksum says"), "{message}");
    let (mut source, progress) = topic.source(gap.resume, &batch.cursor, None);
    assert_eq!(range(&blocked(&mut source, &progress).await.0), (7, 8, 9));

    let (mut source, progress) = topic.source(9, &batch.cursor, None);
    let batch = next(&mut source, 1000).await;
    assert_eq!(positions(std::slice::from_ref(&batch)), [9, 10]);
    assert_eq!(range(&blocked(&mut source, &progress).await.0), (11, 11, 12));
    // Behind the end of a run it does not matter.
    let (mut source, _) = topic.source(9, &batch.cursor, Some(11));
    assert_eq!(positions(&read(&mut source, 9, 11).await), [9, 10]);

    // Behind it there is nothing, and then something.
    let (mut source, _) = topic.source(12, &batch.cursor, None);
    assert!(source.next_batch(1000).await.unwrap().unwrap().is_idle());
    own.produce(&topic.name, 0, visits(12..13)).await;
    assert_eq!(next(&mut source, 1000).await.first, 12);
}

fn visit() -> Outgoing {
    let value = Some(Bytes::from(crate::support::payload(0)));
    Outgoing { key: None, value, headers: Vec::new() }
}

/// What comes of reading with these settings.
async fn log_in(own: &OwnKafka, broker: String, security: Security) -> Result<(), Fault> {
    let settings = Settings { security, timeout: PATIENCE, ..Settings::new(vec![broker]) };
    let name = own.topic(1).await;
    own.produce(&name, 0, visits(0..1)).await;
    let cluster = Cluster::new(&settings)?;
    cluster.partitions(&name).await?;
    let topic = Topic { name, settings, cluster };
    let (mut source, _) = topic.source(0, &Value::Null, Some(1));
    assert_eq!(read(&mut source, 0, 1).await.len(), 1);
    Ok(())
}

#[track_caller]
fn check_refused(outcome: Result<(), Fault>, expected: &str) {
    let Err(Fault::Stop(stop)) = outcome else { panic!("no stop but {outcome:?}") };
    assert_eq!(stop.kind, StopKind::Setting, "{stop}");
    assert!(stop.message.contains("kafka at 127.0.0.1:"), "{stop}");
    assert!(stop.message.contains(expected), "{stop}");
    assert!(!stop.message.contains("opensesame"), "{stop}");
}

#[tokio::test]
async fn a_secured_broker_lets_in_whom_it_knows() {
    let own = OwnKafka::secured().await;
    let logins =
        |password: &str| {
            let (username, password) = (USER.to_owned(), password.to_owned());
            [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512].map(|mechanism| {
                Sasl { mechanism, username: username.clone(), password: password.clone() }
            })
        };
    let tls = Security { tls: true, ca_file: Some(own.ca()), sasl: None };

    log_in(&own, own.tls(), tls.clone()).await.unwrap();
    for sasl in logins(PASSWORD) {
        let plain = Security { sasl: Some(sasl.clone()), ..Security::default() };
        log_in(&own, own.sasl(), plain).await.unwrap();
        let encrypted = Security { sasl: Some(sasl), ..tls.clone() };
        log_in(&own, own.sasl_tls(), encrypted).await.unwrap();
    }

    for sasl in logins("opensesame") {
        let security = Security { sasl: Some(sasl), ..Security::default() };
        let refused = log_in(&own, own.sasl(), security).await;
        check_refused(refused, "the broker answers SaslAuthenticationFailed");
    }
    let other_ca = Security { ca_file: None, ..tls.clone() };
    let refused = log_in(&own, own.tls(), other_ca).await;
    check_refused(refused, "invalid peer certificate: UnknownIssuer");

    // A listener of another kind is not told from a broken connection.
    for (broker, security) in [
        (own.tls(), Security::default()),
        (own.bootstrap().to_owned(), tls),
        (own.sasl(), Security::default()),
    ] {
        let refused = log_in(&own, broker, security).await.unwrap_err();
        assert!(matches!(refused, Fault::Outage { .. }), "{refused}");
    }
}
