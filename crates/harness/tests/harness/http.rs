//! The scripted HTTP server.

use std::net::SocketAddr;
use std::time::Duration;

use tally_harness::http::{Reply, ScriptedServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

async fn ask(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = "POST /predict?x=1 HTTP/1.1\r\nhost: test\r\nx-a: b\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn each_request_is_recorded_and_answered_by_the_script() {
    let server = ScriptedServer::start(|request| match request.number {
        0 => Reply::status(503).header("retry-after", "7"),
        _ => Reply::json(request.body.clone()),
    })
    .await;
    assert_eq!(server.url(), format!("http://{}", server.addr()));
    let first = answer(ask(server.addr()).await).await;
    assert!(first.starts_with("HTTP/1.1 503") && first.contains("retry-after: 7"), "{first}");
    assert!(answer(ask(server.addr()).await).await.ends_with("\r\n\r\n[]"));

    server.until_requests(2).await;
    let request = &server.requests()[1];
    assert_eq!(
        (request.number, request.method.as_str(), request.path.as_str()),
        (1, "POST", "/predict?x=1")
    );
    assert_eq!((request.headers["x-a"].as_bytes(), &request.body[..]), (&b"b"[..], &b"[]"[..]));
    assert_eq!(server.most_in_flight(), 1);
}

#[tokio::test]
async fn a_reset_is_no_answer() {
    let server = ScriptedServer::start(|_| Reply::reset()).await;
    assert_eq!(answer(ask(server.addr()).await).await, "");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_drip_takes_its_time() {
    let server =
        ScriptedServer::start(|_| Reply::json("[1, 2, 3]").drip(Duration::from_millis(5))).await;
    let asked = Instant::now();
    assert!(answer(ask(server.addr()).await).await.ends_with("[1, 2, 3]"));
    assert!(asked.elapsed() >= Duration::from_millis(45));

    let server = ScriptedServer::start(|_| Reply::json("x").drip(Duration::from_mins(1))).await;
    let mut stream = ask(server.addr()).await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200", "the head comes at once");
}

#[tokio::test]
async fn answers_are_held_until_the_test_lets_go() {
    let (release, held) = watch::channel(false);
    let server = ScriptedServer::start(move |_| {
        Reply::status(200).held(held.clone()).delay(Duration::from_millis(1))
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(ask(server.addr()).await);
    }
    server.until_requests(3).await;
    assert!(timeout(Duration::from_millis(50), streams[0].read_u8()).await.is_err());
    release.send_replace(true);
    for stream in streams {
        assert!(answer(stream).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(server.most_in_flight(), 3);
}
