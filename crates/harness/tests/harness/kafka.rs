//! The real Kafka and the real schema registry of the tests.

use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::{ClientBuilder, Credentials, SaslConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tally_harness::eventually;
use tally_harness::kafka::{
    Broker, JavaProducer, JavaRecord, OwnKafka, PASSWORD, Stored, USER, record,
};
use tally_harness::registry::Registry;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::assert_wiped;

#[tokio::test]
async fn a_topic_is_the_tests_own() {
    let broker = Broker::shared().await;
    let topic = broker.topic(6).await;
    assert_ne!(topic, broker.topic(1).await);

    let sent =
        vec![record(Some(b"k"), Some(b"v")), record(None, None), record(Some(b""), Some(b""))];
    assert_eq!(broker.produce(&topic, 5, sent.clone()).await, [0, 1, 2]);
    let read = broker.read_all(&topic, 5).await;
    assert_eq!(read.iter().map(|read| read.offset).collect::<Vec<_>>(), [0, 1, 2]);
    for (read, sent) in read.iter().zip(&sent) {
        assert_eq!((&read.record.key, &read.record.value), (&sent.key, &sent.value));
    }
    assert!(broker.read_all(&topic, 0).await.is_empty());

    broker.delete_records(&topic, 5, 2).await;
    assert_eq!(broker.offsets(&topic, 5).await, (2, 3));
    assert_eq!(broker.read_all(&topic, 5).await.len(), 1);

    broker.delete_topic(&topic).await;
    broker.create_topic(&topic, 1).await;
    assert_eq!(broker.offsets(&topic, 0).await, (0, 0), "recreated");
}

#[tokio::test]
async fn a_topic_with_settings_is_compacted() {
    let broker = Broker::shared().await;
    let settings = "cleanup.policy=compact,segment.ms=100,min.cleanable.dirty.ratio=0.001";
    let topic = broker.topic_with(1, settings).await;
    for value in [b"1", b"2", b"3"] {
        broker.produce(&topic, 0, vec![record(Some(b"k"), Some(value))]).await;
    }
    // A write after the segment's time is what closes it; the last record of a log is never removed.
    eventually(Duration::from_secs(50), async || {
        broker.produce(&topic, 0, vec![record(Some(b"k"), Some(b"4"))]).await;
        broker.read_all(&topic, 0).await[0].offset >= 2
    })
    .await;
}

#[tokio::test]
async fn kafkas_own_client_writes_what_ours_cannot() {
    let broker = Broker::shared().await;
    let topic = broker.topic(2).await;
    let mut java = JavaProducer::start(broker.bootstrap());

    let headers: [(&str, Option<&[u8]>); 3] =
        [("a", Some(b"\xff\0")), ("a", Some(b"")), ("b", None)];
    let odd = JavaRecord {
        topic: &topic,
        partition: Some(1),
        key: Some(b"\0\xff"),
        value: None,
        headers: &headers,
        timestamp: Some(1_000),
        compression: Some("zstd"),
    };
    java.send(odd).await;
    assert_eq!(java.flush().await, [0]);
    let stored = Stored {
        offset: 0,
        timestamp: 1_000,
        key: Some(b"\0\xff".to_vec()),
        value: None,
        headers: headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).to_vec(),
    };
    assert_eq!(java.read_all(&topic, 1, true).await, [stored]);

    let send = async |java: &mut JavaProducer, value: &'static str| {
        let record = JavaRecord { topic: &topic, partition: Some(0), ..JavaRecord::default() };
        java.send(JavaRecord { value: Some(value.as_bytes()), ..record }).await;
    };
    send(&mut java, "plain").await;
    assert_eq!(java.flush().await, [0]);
    java.begin().await;
    send(&mut java, "kept").await;
    send(&mut java, "kept too").await;
    assert_eq!(java.commit().await, [1, 2]);
    java.begin().await;
    send(&mut java, "thrown away").await;
    assert_eq!(java.abort().await, [4], "the marker took an offset");
    java.begin().await;
    send(&mut java, "open").await;
    assert_eq!(java.flush().await, [6]);

    let values = |stored: Vec<Stored>| -> Vec<(i64, String)> {
        let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
        stored.into_iter().map(|stored| (stored.offset, text(stored.value))).collect()
    };
    let owned = |values: &[(i64, &str)]| -> Vec<(i64, String)> {
        values.iter().map(|&(offset, value)| (offset, value.to_owned())).collect()
    };
    let committed = owned(&[(0, "plain"), (1, "kept"), (2, "kept too")]);
    assert_eq!(values(java.read_all(&topic, 0, true).await), committed);
    let all = [&committed[..], &owned(&[(4, "thrown away"), (6, "open")])].concat();
    assert_eq!(values(java.read_all(&topic, 0, false).await), all);
    assert_eq!(broker.offsets(&topic, 0).await, (0, 6), "the last stable offset");

    drop(java);
    assert_eq!(broker.offsets(&topic, 0).await, (0, 6), "an open transaction stays open");
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn an_own_broker_is_killed_frozen_stopped_and_started_again() {
        let own = OwnKafka::start().await;
        let bootstrap = own.bootstrap().to_owned();
        assert_ne!(bootstrap, Broker::shared().await.bootstrap());
        let topic = own.topic(1).await;
        own.produce(&topic, 0, vec![record(None, Some(b"1"))]).await;

        own.kill9().await;
        assert!(TcpStream::connect(&bootstrap).await.is_err());
        own.start_again().await;
        assert_eq!(own.bootstrap(), bootstrap);
        assert_eq!(own.read_all(&topic, 0).await.len(), 1, "what was acknowledged survives");

        own.freeze();
        let client = ClientBuilder::new(vec![bootstrap.clone()]).build();
        tokio::pin!(client);
        assert!(timeout(Duration::from_millis(500), &mut client).await.is_err(), "it is silent");
        own.thaw();
        timeout(Duration::from_secs(20), client).await.unwrap().unwrap();

        own.stop().await;
        assert!(TcpStream::connect(&bootstrap).await.is_err());
        own.start_again().await;
        assert_eq!(own.produce(&topic, 0, vec![record(None, Some(b"2"))]).await, [1]);
        // Frozen it is stopped, and wiped, all the same.
        own.freeze();
        own.stop().await;
        own.start_again().await;
        own.freeze();
        drop(own);
        assert!(TcpStream::connect(&bootstrap).await.is_err());
    }

    #[tokio::test]
    async fn a_secured_broker_takes_tls_and_every_login() {
        let own = OwnKafka::secured().await;
        let topic = own.topic(1).await;
        let topics = async |bootstrap: &str, tls: bool, sasl: Option<SaslConfig>| {
            let mut builder = ClientBuilder::new(vec![bootstrap.to_owned()]);
            builder = builder.backoff_config(BackoffConfig {
                deadline: Some(Duration::from_millis(500)),
                ..BackoffConfig::default()
            });
            if tls {
                builder = builder.tls_config(Arc::new(trusting(own.ca())));
            }
            if let Some(sasl) = sasl {
                builder = builder.sasl_config(sasl);
            }
            let answer = timeout(Duration::from_secs(10), async {
                builder.build().await.ok()?.list_topics().await.ok()
            });
            answer.await.ok().flatten().map(|topics| topics.len())
        };
        let logins = |password: &str| {
            let login = Credentials::new(USER.to_owned(), password.to_owned());
            [
                SaslConfig::Plain(login.clone()),
                SaslConfig::ScramSha256(login.clone()),
                SaslConfig::ScramSha512(login),
            ]
        };
        let tls = own.tls();
        assert_eq!(topics(&tls, true, None).await, Some(1), "{topic}");
        assert_eq!(topics(&tls.replace("127.0.0.1", "localhost"), true, None).await, Some(1));
        assert_eq!(topics(&tls, false, None).await, None);
        for (bootstrap, tls) in [(own.sasl(), false), (own.sasl_tls(), true)] {
            for (right, wrong) in logins(PASSWORD).into_iter().zip(logins("wrong")) {
                assert_eq!(topics(&bootstrap, tls, Some(right)).await, Some(1));
                assert_eq!(topics(&bootstrap, tls, Some(wrong)).await, None);
            }
            assert_eq!(topics(&bootstrap, tls, None).await, None);
        }
    }

    /// What happens to the brokers of tests that are killed: the kernel lets go of their lock.
    #[tokio::test]
    async fn a_broker_that_nobody_uses_is_wiped() {
        let settings = [("KAFKA_PORT", "0"), ("KAFKA_HEAP", "256m"), ("KAFKA_WIPE_IDLE", "0")];
        assert_wiped("kafka", &settings).await;
    }
}

#[tokio::test]
async fn a_registry_gives_a_schema_one_id() {
    let registry = Registry::shared().await;
    let subject = format!("t-{}", process::id());
    let id = registry.register(&subject, r#"{"type":"string"}"#).await;
    assert_eq!(registry.register(&subject, r#"{"type":"string"}"#).await, id);
    assert_ne!(registry.register(&subject, r#"{"type":"long"}"#).await, id);
    assert!(registry.url().ends_with("/apis/ccompat/v7"));
}

fn trusting(ca: PathBuf) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
