//! Connections that break on purpose.

use std::io::ErrorKind;
use std::time::Duration;

use tally_harness::eventually;
use tally_harness::http::{Reply, ScriptedServer};
use tally_harness::job::LONG;
use tally_harness::postgres::{TestDatabase, connect};
use tally_harness::proxy::{Mode, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn rows(database: &TestDatabase) -> usize {
    database.query_text("select a from t").await.len()
}

#[tokio::test]
async fn a_connection_cut_before_commit_leaves_nothing() {
    let database = TestDatabase::create().await;
    database.execute("create table t (a int)").await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let client = connect(&database.url_through(proxy.addr())).await;

    proxy.cut_on_commit_request(2);
    client.batch_execute("begin; insert into t values (1)").await.unwrap();
    client.batch_execute("commit").await.unwrap();
    client.batch_execute("begin; insert into t values (2)").await.unwrap();
    client.batch_execute("COMMIT").await.unwrap_err();

    proxy.until_fired(1).await;
    assert_eq!((rows(&database).await, proxy.fired()), (1, 1));
}

#[tokio::test]
async fn a_connection_cut_after_commit_has_written() {
    let database = TestDatabase::create().await;
    database.execute("create table t (a int)").await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let client = connect(&database.url_through(proxy.addr())).await;

    // Prepared before the rule is set, as by a pool that caches statements.
    let commit = client.prepare("commit").await.unwrap();
    proxy.cut_on_commit_answer(1);
    client.batch_execute("begin; insert into t values (1)").await.unwrap();
    client.execute(&commit, &[]).await.unwrap_err();
    assert_eq!(
        (rows(&database).await, proxy.fired()),
        (1, 1),
        "committed before the answer was cut"
    );

    // A rule is spent once it has fired.
    let client = connect(&database.url_through(proxy.addr())).await;
    client.batch_execute("begin; insert into t values (2); commit").await.unwrap();
    assert_eq!((rows(&database).await, proxy.fired(), proxy.accepted()), (2, 1, 2));
}

#[tokio::test]
async fn modes_apply_to_connections_old_and_new() {
    let server = ScriptedServer::start(|_| Reply::json("[]")).await;
    let proxy = Proxy::start(server.addr()).await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    eventually(LONG, async || proxy.accepted() == 1).await;

    proxy.set_mode(Mode::Refuse).await;
    assert_eq!(
        TcpStream::connect(proxy.addr()).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(old.read(&mut [0]).await.unwrap_or(0), 0, "the old one is cut");

    proxy.set_mode(Mode::Close).await;
    assert!(!get(&proxy, "/").await.is_ok_and(|answer| answer.starts_with("HTTP")));

    proxy.set_mode(Mode::Blackhole).await;
    let answer = get(&proxy, "/");
    tokio::pin!(answer);
    assert!(timeout(Duration::from_millis(100), &mut answer).await.is_err(), "silence");
    proxy.set_mode(Mode::Pass).await;
    assert!(answer.await.unwrap().ends_with("[]"), "nothing was lost");
    assert_eq!(server.requests().len(), 1);

    let mut idle = TcpStream::connect(proxy.addr()).await.unwrap();
    eventually(LONG, async || proxy.accepted() == 4).await;
    proxy.sever().await;
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
}

async fn get(proxy: &Proxy, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
