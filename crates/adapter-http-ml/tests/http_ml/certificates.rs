//! Models whose certificates cannot be trusted.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tally_harness::certificate::Certificate;
use tally_ports::{Fault, StopKind};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{ask, batch, model_at, outage};

/// A server that only greets, on an address of 127.0.0.0/8; its port.
async fn server(address: &str, certificate: &Certificate) -> u16 {
    let acceptor = TlsAcceptor::from(Arc::new(certificate.server()));
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move { drop(acceptor.accept(client).await) });
        }
    });
    port
}

async fn wrong_setting(url: &str) -> String {
    match ask(&model_at(url), &batch(1)).await {
        Err(Fault::Stop(stop)) if stop.kind == StopKind::Setting => stop.message,
        other => panic!("no wrong setting: {other:?}"),
    }
}

#[tokio::test]
async fn of_an_unknown_issuer() {
    let url = format!("https://127.0.0.1:{}", server("127.0.0.1", &Certificate::new()).await);
    let unknown = "nobody known has issued its certificate: install its authority's on this machine or name it by \
                   SSL_CERT_FILE";
    assert_eq!(wrong_setting(&url).await, format!("model at {url}: {unknown}"));
}

/// The authorities come from the environment of the process: it starts itself with the certificate's.
#[tokio::test]
async fn of_another_host() {
    const FOLDER: &str = "TEST_CERTIFICATE";
    let Some(folder) = std::env::var_os(FOLDER) else {
        let certificate = Certificate::new();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "certificates::of_another_host"])
            .env("SSL_CERT_FILE", certificate.ca())
            .env(FOLDER, certificate.folder())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    };
    let certificate = Certificate::in_folder(Path::new(&folder));
    let url = format!("https://127.0.0.2:{}", server("127.0.0.2", &certificate).await);
    let message = wrong_setting(&url).await;
    let other = format!("model at {url}: its certificate is for another host: ");
    assert!(
        message.starts_with(&other) && message.ends_with("; check its URL (ML_API_URL)"),
        "{message}"
    );
    // That of the right host is trusted; the server says no more.
    let url = format!("https://127.0.0.1:{}", server("127.0.0.1", &certificate).await);
    let (message, _) = outage(ask(&model_at(&url), &batch(1)).await);
    assert!(message.starts_with(&format!("model at {url}: no complete answer: ")), "{message}");
}
