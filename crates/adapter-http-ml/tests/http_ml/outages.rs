//! Whatever is neither a fit answer nor a refusal: an outage, which costs no record, or a wrong setting.

use std::time::{Duration, SystemTime};

use crate::support::{
    End, Outcome, ask, ask_once, batch, food, id, model_as, model_at, outage, raw_server, shown,
    transactions,
};
use tally_adapter_http_ml::{Model, Settings};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_ports::{Fault, StopKind};

const SECRET: &str = "s3cret";
const LATE: &str = "no answer within 250ms to a request of 2 records: the next has 1 (ml.request_size); if the model \
                    needs longer, raise ml.answer_timeout";

/// Asks a model with the password and query [`SECRET`] that gives up after 250 ms; says what is wrong with it.
async fn cause_at(host: &str) -> String {
    let url = format!("http://{SECRET}:{SECRET}@{host}/v1?key={SECRET}");
    let settings = Settings { answer_timeout: Duration::from_millis(250), ..Settings::new(url) };
    let (message, pause) = outage(ask(&model_as(&settings), &batch(2)).await);
    assert_eq!(pause, None, "{message}");
    let prefix = format!("model at http://{host}/v1: ");
    message.strip_prefix(&prefix).unwrap_or_else(|| panic!("{message}")).to_owned()
}

/// The same with a server that sends these bytes.
async fn cause_of(answer: impl Into<Vec<u8>>, end: End) -> String {
    let url = raw_server(answer, end).await;
    cause_at(url.trim_start_matches("http://")).await
}

fn fit_answer() -> String {
    format!(r#"[{{"transaction_id": "{}", "category": "Food"}}]"#, id(1))
}

#[tokio::test]
async fn other_statuses() {
    for status in [402, 406, 408, 409, 410, 415, 418, 451, 500, 501, 502, 503, 504, 599, 304] {
        let (outcome, server) =
            ask_once(&batch(2), move |_| Reply::status(status).body("coffee")).await;
        let (message, pause) = outage(outcome);
        assert_eq!(message, format!("model at {}: answered {status}", server.url()));
        assert_eq!(pause, None);
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_where_it_leads() {
    for status in [301, 302, 303, 307, 308] {
        let script = move |request: &Request| match request.number {
            1 => food(request),
            _ => Reply::status(status)
                .header("location", "//me:s3cret@ml.test/v2/predict?key=s3cret"),
        };
        let server = ScriptedServer::start(script).await;
        let model = model_at(&server.url());
        let leads = "it leads to http://ml.test/v2/predict, and redirects are not followed";
        assert_eq!(
            wrong_setting(ask(&model, &batch(2)).await),
            format!(
                "model at {}: answered {status} to the first request: {leads}: set its URL (ML_API_URL)",
                server.url()
            )
        );
        ask(&model, &batch(2)).await.unwrap();
        let (message, _) = outage(ask(&model, &batch(2)).await);
        assert_eq!(message, format!("model at {}: answered {status}: {leads}", server.url()));
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn retry_after_is_handed_on_in_both_forms() {
    let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(1));
    let s = Duration::from_secs;
    for (status, header, least, most) in [
        (503, "7", s(7), s(7)),
        (429, "7", s(7), s(7)), // of up to five seconds it is none
        (500, "86400", s(300), s(300)),
        (503, &in_a_minute, s(30), s(60)),
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", s(0), s(0)),
    ] {
        let header = header.to_owned();
        let script = move |_: &_| Reply::status(status).header("retry-after", &header);
        let (outcome, _server) = ask_once(&batch(2), script).await;
        let pause = outage(outcome).1.unwrap();
        assert!((least..=most).contains(&pause), "{pause:?}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(cause_at(&unused.to_string()).await, "connection refused");
}

#[tokio::test]
async fn nobody_accepts() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    // The kernel completes as many connections as the queue holds; the next one waits.
    let mut queued = Vec::new();
    while let Ok(connection) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(addr)).await
    {
        queued.push(connection.unwrap());
    }
    let url = format!("http://{addr}");
    let settings = Settings { connect_timeout: Duration::from_millis(100), ..Settings::new(&url) };
    let (message, _) = outage(ask(&model_as(&settings), &batch(1)).await);
    assert_eq!(message, format!("model at {url}: no connection within 100ms"));
}

#[tokio::test]
async fn the_host_name_is_unknown() {
    // No resolver is asked about a label of more than 63 characters.
    let cause = cause_at(&format!("{}.invalid", "x".repeat(64))).await;
    let expected = format!("the host name {}.invalid cannot be resolved: ", "x".repeat(64));
    assert!(cause.starts_with(&expected), "{cause}");
}

#[tokio::test]
async fn the_connection_breaks() {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", fit_answer().len() + 1);
    assert_eq!(cause_of("", End::Reset).await, "connection reset");
    assert_eq!(cause_of(format!("{head}{}", fit_answer()), End::Reset).await, "connection reset");
    assert_eq!(
        cause_of("", End::Close).await,
        "no complete answer: connection closed before message completed"
    );
    assert_eq!(
        cause_of(format!("{head}{}", fit_answer()), End::Close).await,
        "no complete answer: end of file before message length reached"
    );
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n",
        fit_answer().len(),
        fit_answer()
    );
    assert!(cause_of(chunked, End::Close).await.starts_with("no complete answer: "));
    let refusal = "HTTP/1.1 422 Unprocessable\r\ncontent-length: 10\r\n\r\ncoffee";
    assert!(cause_of(refusal, End::Close).await.starts_with("no complete answer: "));
    let garbage = cause_of("coffee\r\n\r\n", End::Close).await;
    assert!(
        garbage.starts_with("no complete answer: ") && !garbage.contains("coffee"),
        "{garbage}"
    );
}

#[tokio::test]
async fn an_answer_that_is_late_or_drips() {
    let never = tokio::sync::watch::Sender::new(false);
    let released = never.subscribe();
    let late = ScriptedServer::start(move |request| food(request).held(released.clone())).await;
    assert_eq!(cause_at(&late.addr().to_string()).await, LATE);

    // Each byte comes long before the timeout.
    let dripping =
        ScriptedServer::start(|request| food(request).drip(Duration::from_millis(20))).await;
    assert_eq!(cause_at(&dripping.addr().to_string()).await, LATE);
    let refusal = Reply::status(422).body("x".repeat(1000)).drip(Duration::from_millis(20));
    let dripping = ScriptedServer::start(move |_| refusal.clone()).await;
    assert_eq!(cause_at(&dripping.addr().to_string()).await, LATE);
}

#[tokio::test]
async fn an_answer_that_is_no_list_of_answers() {
    let shape = "the answer is not a list of objects with the fields transaction_id and category";
    for (body, expected) in [
        ("", "the answer is not JSON"),
        ("<html>coffee</html>", "the answer is not JSON"),
        (
            r#"[{"transaction_id": "00000000-0000-0000-0000-000000000001", "category": "coff"#,
            "the answer is not JSON",
        ),
        (r#"{"detail": "coffee"}"#, shape),
        (r#"["coffee"]"#, shape),
        (r#"[{"id": "coffee", "category": "coffee"}]"#, shape),
    ] {
        let server = ScriptedServer::start(move |_| Reply::json(body)).await;
        assert_eq!(cause_at(&server.addr().to_string()).await, expected, "{body}");
    }
}

#[tokio::test]
async fn tls_where_there_is_none() {
    let server = ScriptedServer::start(food).await;
    let url = server.url().replace("http://", "https://");
    let (message, _) = outage(ask(&model_at(&url), &batch(1)).await);
    assert!(message.starts_with(&format!("model at {url}: no complete answer: ")), "{message}");
}

#[track_caller]
fn wrong_setting(outcome: Outcome) -> String {
    match outcome {
        Err(Fault::Stop(stop)) => {
            assert_eq!(stop.kind, StopKind::Setting);
            stop.message
        }
        other => panic!("no wrong setting: {other:?}"),
    }
}

#[tokio::test]
async fn unauthorized_or_not_found_at_first_is_a_wrong_setting() {
    for (status, to_check) in [
        (401, "check the user and password in its URL (ML_API_URL), ml.bearer_token or ml.headers"),
        (403, "check the user and password in its URL (ML_API_URL), ml.bearer_token or ml.headers"),
        (404, "check its URL, to which /predict is appended (ML_API_URL)"),
        (405, "POST is not allowed at SHOWN/predict: check its URL (ML_API_URL)"),
    ] {
        let server = ScriptedServer::start(move |_| Reply::status(status).body("coffee")).await;
        let url = format!("http://{SECRET}:{SECRET}@{}/v1?key={SECRET}", server.addr());
        let message = wrong_setting(ask(&model_at(&url), &batch(2)).await);
        let shown = format!("http://{}/v1", server.addr());
        assert_eq!(
            message,
            format!(
                "model at {shown}: answered {status} to the first request: {}",
                to_check.replace("SHOWN", &shown)
            )
        );
    }
}

#[tokio::test]
async fn after_a_fit_answer_they_are_outages() {
    for status in [401, 403, 404, 405] {
        let script = move |request: &Request| match request.number {
            0 => Reply::status(503),
            1 => food(request),
            _ => Reply::status(status),
        };
        let server = ScriptedServer::start(script).await;
        let model = model_at(&server.url());
        outage(ask(&model, &batch(2)).await);
        ask(&model, &batch(2)).await.unwrap();
        let (message, _) = outage(ask(&model, &batch(2)).await);
        assert_eq!(message, format!("model at {}: answered {status}", server.url()));
    }
    // What came before, outages and answers that cover nothing, was none.
    let script = |request: &Request| match request.number {
        0 => Reply::status(503),
        1 => Reply::json("[]"),
        _ => Reply::status(404),
    };
    let server = ScriptedServer::start(script).await;
    let model = model_at(&server.url());
    outage(ask(&model, &batch(2)).await);
    outage(ask(&model, &batch(2)).await);
    wrong_setting(ask(&model, &batch(2)).await);
}

#[tokio::test]
async fn a_model_that_was_away_answers_again() {
    let script = |request: &Request| match request.number {
        0 => Reply::reset(),
        2 | 3 => Reply::status(503),
        _ => food(request),
    };
    let server = ScriptedServer::start(script).await;
    let model = model_at(&server.url());
    for (requests, is_away) in [(1, true), (2, false), (3, true), (4, true), (5, false)] {
        let outcome = ask(&model, &batch(2)).await;
        assert_eq!(server.requests().len(), requests, "an adapter does not try again");
        if is_away {
            outage(outcome);
        } else {
            assert_eq!(shown(outcome), ["Food", "Food"]);
        }
    }
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outages::a_model_that_was_away_answers_again"])
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn settings_that_are_wrong_or_hold_a_secret() {
    let zero = Settings { answer_timeout: Duration::ZERO, ..Settings::default() };
    assert_eq!(Model::new(&zero, &transactions()).unwrap_err().kind, StopKind::Setting);
    assert_eq!(
        Model::new(&Settings::new("127.0.0.1:8000"), &transactions()).unwrap_err().kind,
        StopKind::Setting
    );

    let settings = Settings::new(format!("http://{SECRET}:{SECRET}@127.0.0.1/?key={SECRET}"));
    let model = Model::new(&settings, &transactions()).unwrap();
    for debug in [format!("{settings:?}"), format!("{model:?}")] {
        assert!(!debug.contains(SECRET), "{debug}");
    }
}
