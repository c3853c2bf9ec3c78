//! Encryption and logins.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tally_harness::kafka::{OwnKafka, PASSWORD, USER, record};
use tally_kafka_client::{Client, Error, Fetch, Isolation, Mechanism, Sasl, Security, Settings};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{read, settings, told};

fn tls(ca: Option<&Path>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
    }
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn sasl(mechanism: Mechanism, password: &str) -> Sasl {
    Sasl { mechanism, username: USER.to_owned(), password: password.to_owned() }
}

fn secured(bootstrap: &str, tls: Option<Arc<ClientConfig>>, sasl: Option<Sasl>) -> Settings {
    Settings { security: Security { tls, sasl }, ..settings(bootstrap) }
}

async fn fault(settings: Settings) -> Error {
    Client::new(settings).unwrap().topics().await.unwrap_err()
}

/// An address whose connections lead there.
async fn by_another_name(address: String) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let name = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            let mut outer = TcpStream::connect(&address).await.unwrap();
            // Its end is the client's.
            let _ = copy_bidirectional(&mut inner, &mut outer).await;
        }
    });
    name
}

#[tokio::test]
async fn each_way_in_is_taken_and_each_wrong_one_is_named() {
    let broker = OwnKafka::secured().await;
    let topic = broker.topic(1).await;
    broker.produce(&topic, 0, vec![record(None, Some(b"v"))]).await;
    let ca = tls(Some(&broker.ca()));
    let all = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];

    let mut ways = vec![secured(&broker.tls(), Some(ca.clone()), None)];
    for mechanism in all {
        ways.push(secured(&broker.sasl(), None, Some(sasl(mechanism, PASSWORD))));
        ways.push(secured(&broker.sasl_tls(), Some(ca.clone()), Some(sasl(mechanism, PASSWORD))));
    }
    for way in ways {
        let partition = Client::new(way).unwrap().partition(&topic, 0).await.unwrap();
        assert_eq!(told(&read(&partition, Fetch::from(0), 1).await), ["v"]);
    }

    for mechanism in all {
        let error = fault(secured(&broker.sasl(), None, Some(sasl(mechanism, "wrong")))).await;
        let text = format!(
            "cannot log in to kafka at {} by {mechanism}: the broker answers SaslAuthenticationFailed: ",
            broker.sasl()
        );
        assert!(error.to_string().starts_with(&text), "{error}");
        assert!(!error.is_retriable() && !error.to_string().contains("wrong"), "{error}");
    }
    let error =
        fault(secured(broker.bootstrap(), None, Some(sasl(Mechanism::Plain, PASSWORD)))).await;
    assert!(error.to_string().contains("takes no login"), "{error}");

    let error = fault(secured(&broker.tls(), Some(tls(None)), None)).await;
    assert!(matches!(error, Error::Tls { .. }) && !error.is_retriable(), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    // The certificate is for 127.0.0.1 and localhost.
    let error = fault(secured(&by_another_name(broker.tls()).await, Some(ca), None)).await;
    assert!(matches!(error, Error::Tls { .. }) && !error.is_retriable(), "{error}");
    assert!(error.to_string().contains("not valid for name"), "{error}");

    // Without TLS on a port that expects it, and the other way round.
    let error = fault(secured(&broker.tls(), None, None)).await;
    assert!(error.broker() == Some(&broker.tls()), "{error}");
    let error = fault(secured(broker.bootstrap(), Some(tls(None)), None)).await;
    assert!(matches!(error, Error::Tls { .. } | Error::ConnectTimeout { .. }), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_for_good() {
    let broker = OwnKafka::secured_with(&[("KAFKA_CERTIFICATE_DAYS", "0")]).await;
    let error = fault(secured(&broker.tls(), Some(tls(Some(&broker.ca()))), None)).await;
    assert!(matches!(error, Error::Tls { .. }) && !error.is_retriable(), "{error}");
    assert_eq!(error.broker(), Some(&*broker.tls()));
    assert!(error.to_string().contains("certificate expired"), "{error}");
}

#[tokio::test]
async fn logins_that_run_out_are_renewed_without_an_error() {
    const LIFETIME: Duration = Duration::from_secs(1);
    let expiring = format!("connections.max.reauth.ms={}", LIFETIME.as_millis());
    let broker = OwnKafka::secured_with(&[("KAFKA_SETTINGS", &expiring)]).await;
    let topic = broker.topic(1).await;
    let login = Some(sasl(Mechanism::ScramSha256, PASSWORD));
    let client = Client::new(secured(&broker.sasl(), None, login)).unwrap();
    let partition = client.partition(&topic, 0).await.unwrap();

    let begun = Instant::now();
    let mut next = 0;
    while begun.elapsed() < LIFETIME * 3 {
        let value = next.to_string();
        broker.produce(&topic, 0, vec![record(None, Some(value.as_bytes()))]).await;
        // Two connections, of which the second is idle meanwhile.
        let (pieces, end) = tokio::join!(
            read(&partition, Fetch::from(next), next + 1),
            partition.latest(Isolation::ReadCommitted)
        );
        next += 1;
        assert_eq!((told(&pieces), end.unwrap()), (vec![value], next));
    }
}
