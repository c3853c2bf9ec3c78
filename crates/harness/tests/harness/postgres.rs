//! The real Postgres of the tests.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tally_harness::postgres::{OwnPostgres, TestDatabase, connect, query_text};
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::support::assert_wiped;

#[tokio::test]
async fn a_database_is_the_tests_own_and_goes_with_its_value() {
    let (database, other) = (TestDatabase::create().await, TestDatabase::create().await);
    database
        .execute("create table t (a int, b text); insert into t values (1, null), (2, 'x')")
        .await;

    let rows = database.query_text("select a, b from t order by a").await;
    assert_eq!(rows, [[Some("1".to_owned()), None], [Some("2".to_owned()), Some("x".to_owned())]]);
    assert!(other.query_text("select 1 from pg_class where relname = 't'").await.is_empty());

    let _open = database.connect().await;
    let look = format!("select 1 from pg_database where datname = '{}'", database.name());
    assert_eq!(other.query_text(&look).await.len(), 1);
    drop(database);
    assert!(other.query_text(&look).await.is_empty(), "it is dropped under an open session");
}

#[tokio::test]
async fn another_role_connects_whatever_its_password() {
    let database = TestDatabase::create().await;
    let name = database.name();
    database.execute(&format!("create role {name} login password 'p@ss/wörd:?#%'")).await;
    let rows = query_text(&database.url_as(name, "p@ss/wörd:?#%"), "select current_user").await;
    assert_eq!(rows, [[Some(name.to_owned())]]);
    let refused = tokio_postgres::connect(&database.url_as(name, "wrong"), NoTls).await;
    assert!(refused.is_err(), "passwords are checked");
}

#[tokio::test]
async fn the_certificate_stands_full_verification() {
    let database = TestDatabase::create().await;
    let url = database.tls_url();
    let (url, settings) = url.split_once('?').unwrap();
    let authority =
        CertificateDer::from_pem_file(settings.split_once("sslrootcert=").unwrap().1).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let tls = MakeRustlsConnect::new(config);
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("{}?sslmode=require", url.replace("localhost", host));
        let (client, connection) = tokio_postgres::connect(&url, tls.clone()).await.unwrap();
        let connection = tokio::spawn(connection);
        let row = client
            .query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[])
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0));
        drop(client);
        connection.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_own_server_is_killed_frozen_stopped_and_started_again() {
    let server = OwnPostgres::start().await;
    server.execute("create table t as select 1 as a").await;

    server.kill().await;
    assert!(tokio_postgres::connect(&server.url(), NoTls).await.is_err());
    server.start_again().await;
    assert_eq!(server.query_text("select a from t").await.len(), 1, "what was committed survives");

    let session = server.connect().await;
    server.freeze();
    let answer = session.simple_query("select 1");
    tokio::pin!(answer);
    assert!(
        timeout(Duration::from_millis(200), &mut answer).await.is_err(),
        "a frozen server is silent"
    );
    server.thaw();
    answer.await.unwrap();

    server.stop().await;
    assert!(tokio_postgres::connect(&server.url(), NoTls).await.is_err());
    server.start_again().await;
    assert_eq!(
        connect(&server.url()).await.simple_query("select a from t").await.unwrap().len(),
        3
    );
    // Frozen when its value goes: it is wiped all the same.
    server.freeze();
    let addr = server.addr();
    drop(server);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

/// What happens to the servers of tests that are killed: the kernel lets go of their lock.
#[tokio::test]
async fn a_server_that_nobody_uses_is_wiped() {
    let settings = [("PG_PORT", "0"), ("PG_FSYNC", "off"), ("PG_WIPE_IDLE", "0")];
    assert_wiped("postgres", &settings).await;
}
