//! What a request carries, how many records it has, and when it is sent.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tally_adapter_http_ml::{Model, Settings};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_ports::{Stop, StopKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::{
    all_asked, answer, ask, ask_on, asked, batch, food, food_but, id, inquiry, model_as, model_at,
    outage, shown, transactions,
};

const SECRET: &str = "s3cret";

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

fn with_header(name: &str, value: &str) -> Settings {
    Settings { headers: vec![(name.into(), value.into())], ..Settings::default() }
}

#[tokio::test]
async fn headers_and_a_token_are_sent_and_not_shown() {
    let server = ScriptedServer::start(food).await;
    let settings = Settings {
        headers: vec![("X-Api-Key".into(), SECRET.into()), ("User-Agent".into(), "bank".into())],
        bearer_token: SECRET.into(),
        ..Settings::new(server.url())
    };
    let model = model_as(&settings);
    for debug in [format!("{settings:?}"), format!("{model:?}")] {
        assert!(!debug.contains(SECRET), "{debug}");
    }
    assert_eq!(shown(ask(&model, &batch(1)).await), ["Food"]);
    let request = &server.requests()[0];
    assert_eq!(header(request, "x-api-key"), Some(SECRET));
    assert_eq!(header(request, "user-agent"), Some("bank"));
    assert_eq!(header(request, "authorization"), Some("Bearer s3cret"));
}

#[test]
fn headers_that_cannot_be_sent_are_wrong_settings() {
    let with_token = |settings| Settings { bearer_token: SECRET.into(), ..settings };
    let both = "are both set: leave one of them out";
    for (settings, message) in [
        (
            with_header("X Api", SECRET),
            "ml.headers: \"X Api\" is not the name of a header".to_owned(),
        ),
        (
            with_header("x-key", "s3cret\u{1}"),
            "ml.headers.x-key cannot be sent: it has a character that no header may have"
                .to_owned(),
        ),
        (
            with_header("Content-Type", "text/csv"),
            "ml.headers.Content-Type is a header that each request has anyway".to_owned(),
        ),
        (
            Settings { bearer_token: "s3cret\n".into(), ..Settings::default() },
            "ml.bearer_token cannot be sent: it has a character that no header may have".to_owned(),
        ),
        (
            with_token(Settings::new("http://anna:s3cret@127.0.0.1:1")),
            format!("ml.bearer_token and the user in ml.url {both}"),
        ),
        (
            with_token(with_header("Authorization", SECRET)),
            format!("ml.bearer_token and ml.headers.authorization {both}"),
        ),
    ] {
        let error = Model::new(&settings, &transactions()).unwrap_err();
        assert_eq!(error, Stop { kind: StopKind::Setting, message });
    }
}

#[tokio::test]
async fn a_request_has_at_most_so_many_records() {
    let server = ScriptedServer::start(food).await;
    let model = model_as(&Settings { request_size: 10, ..Settings::new(server.url()) });
    assert_eq!(shown(ask(&model, &batch(25)).await), ["Food"; 25]);
    let lists: [Vec<usize>; 3] = [(1..=10).collect(), (11..=20).collect(), (21..=25).collect()];
    assert_eq!(all_asked(&server), lists);
}

#[tokio::test]
async fn a_request_is_halved_while_answers_time_out_and_grows_again() {
    let (never, slow) = (watch::Sender::new(false), watch::Sender::new(true));
    let (released, is_slow) = (never.subscribe(), slow.subscribe());
    let script = move |request: &Request| {
        let reply = food(request);
        if asked(request).len() > 4 && *is_slow.borrow() {
            reply.held(released.clone())
        } else {
            reply
        }
    };
    let server = ScriptedServer::start(script).await;
    let model = model_as(&Settings {
        answer_timeout: Duration::from_secs(1),
        request_size: 16,
        ..Settings::new(server.url())
    });
    let mut slow_batch = inquiry(&model, &batch(16));
    for (asked, next) in [(16, 8), (8, 4)] {
        let (message, _) = outage(ask_on(&model, &mut slow_batch).await);
        assert_eq!(
            message,
            format!(
                "model at {}: no answer within 1 s to a request of {asked} records: the next has {next} \
                 (ml.request_size); if the model needs longer, raise ml.answer_timeout",
                server.url()
            )
        );
    }
    slow.send_replace(false);
    assert_eq!(shown(ask_on(&model, &mut slow_batch).await), ["Food"; 16]);
    let sizes: Vec<usize> = all_asked(&server).iter().map(Vec::len).collect();
    assert_eq!(sizes, [16, 8, 4, 4, 8]);
    assert_eq!(shown(ask(&model, &batch(16)).await), ["Food"; 16]);
    assert_eq!(all_asked(&server)[5].len(), 16);
}

#[tokio::test]
async fn a_429_slows_requests_down_and_is_no_outage_at_first() {
    let script = |request: &Request| match request.number {
        0 | 1 | 3 => Reply::status(429).header("retry-after", "0"),
        _ => food(request),
    };
    let server = ScriptedServer::start(script).await;
    let model = model_at(&server.url());
    assert_eq!(shown(ask(&model, &batch(2)).await), ["Food"; 2]);
    assert_eq!(server.requests().len(), 3);
    assert_eq!(shown(ask(&model, &batch(2)).await), ["Food"; 2]);
    assert_eq!(server.requests().len(), 5);
    // The requests are 50 ms apart after the first, and further after the next ones.
    let began = Instant::now();
    for _ in 0..4 {
        ask(&model, &batch(2)).await.unwrap();
    }
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_model_that_answers_only_429_is_unavailable() {
    let server = ScriptedServer::start(|_: &_| Reply::status(429)).await;
    let (message, pause) = outage(ask(&model_at(&server.url()), &batch(2)).await);
    assert_eq!((message, pause), (format!("model at {}: answered 429", server.url()), None));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn no_more_requests_per_second_than_the_setting_says() {
    let server = ScriptedServer::start(food).await;
    let settings = Settings { max_requests_per_second: 20.0, ..Settings::new(server.url()) };
    let model = model_as(&settings);
    let began = Instant::now();
    for _ in 0..5 {
        ask(&model, &batch(1)).await.unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

/// Answers one request of each connection and closes it when the next one comes.
async fn forgetful_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                let read = client.read(&mut request).await.unwrap();
                assert!(read > 0);
                let body = json!([{"transaction_id": id(1), "category": "Food"}]).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                client.readable().await.unwrap();
            });
        }
    });
    url
}

#[tokio::test]
async fn a_kept_connection_that_the_model_has_closed_is_no_outage() {
    let model = model_at(&forgetful_server().await);
    for _ in 0..3 {
        assert_eq!(shown(ask(&model, &batch(1)).await), ["Food"]);
    }
}

#[tokio::test]
async fn the_same_question_has_the_same_key_until_an_answer_is_not_believed() {
    let script = |request: &Request| match request.number {
        0 => Reply::reset(),
        1 => Reply::status(503),
        2 => Reply::json("{}"),
        3 => answer([(1, "Food")]),
        _ => food(request),
    };
    let server = ScriptedServer::start(script).await;
    let model = model_at(&server.url());
    let mut asked = inquiry(&model, &batch(2));
    for _ in 0..3 {
        outage(ask_on(&model, &mut asked).await);
    }
    assert_eq!(shown(ask_on(&model, &mut asked).await), ["Food"; 2]);
    // As a process that was killed would ask again.
    ask(&model, &batch(2)).await.unwrap();
    let requests = server.requests();
    let keys: Vec<&str> =
        requests.iter().map(|request| header(request, "idempotency-key").unwrap()).collect();
    assert_eq!(keys.len(), 6);
    assert_eq!((keys[0], keys[0], keys[0]), (keys[1], keys[2], keys[5]));
    assert_ne!(keys[2], keys[3]);
    assert_ne!(keys[3], keys[4]);
}

#[tokio::test]
async fn an_answer_may_be_packed() {
    let server = ScriptedServer::start(|request| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&food(request).into_body()).unwrap();
        Reply::json(packed.finish().unwrap()).header("content-encoding", "gzip")
    })
    .await;
    assert_eq!(shown(ask(&model_at(&server.url()), &batch(3)).await), ["Food"; 3]);
    assert!(header(&server.requests()[0], "accept-encoding").unwrap().contains("gzip"));
}

#[tokio::test]
async fn a_packed_answer_is_bounded_unpacked() {
    let server = ScriptedServer::start(|_: &_| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&vec![b' '; 1 << 20]).unwrap();
        Reply::json(packed.finish().unwrap()).header("content-encoding", "gzip")
    })
    .await;
    let (message, _) = outage(ask(&model_at(&server.url()), &batch(3)).await);
    assert!(message.contains("the answer is longer than "), "{message}");
}

/// A model that fails on every list with a record that `is_bad`.
fn failing(is_bad: impl Fn(usize) -> bool) -> impl Fn(&Request) -> Reply {
    move |request| {
        if asked(request).into_iter().any(&is_bad) { Reply::status(500) } else { food(request) }
    }
}

fn isolating(url: &str) -> Model {
    model_as(&Settings { isolate_errors: true, ..Settings::new(url) })
}

#[tokio::test]
async fn a_record_on_which_the_model_fails_is_isolated_where_that_is_set() {
    let server = ScriptedServer::start(failing(|number| number == 3)).await;
    let model = model_at(&server.url());
    for _ in 0..5 {
        outage(ask(&model, &batch(4)).await);
    }
    assert_eq!(server.requests().len(), 5);

    let server = ScriptedServer::start(failing(|number| number == 3)).await;
    let model = isolating(&server.url());
    let mut inquiry = inquiry(&model, &batch(4));
    for _ in 0..2 {
        let (message, _) = outage(ask_on(&model, &mut inquiry).await);
        assert_eq!(message, format!("model at {}: answered 500", server.url()));
    }
    let answers = ask_on(&model, &mut inquiry).await.unwrap();
    let reason = answers[2].clone().unwrap_err();
    assert_eq!(
        reason.message,
        "the model answered 500 to the record alone, and answered for others"
    );
    assert_eq!(shown(Ok(answers)), ["Food", "Food", "!model_failed", "Food"]);
    let all: &[usize] = &[1, 2, 3, 4];
    // The first record is asked about once more before the third is given up.
    let requests: [&[usize]; 8] = [all, all, all, &[1, 2], &[3, 4], &[3], &[1], &[4]];
    assert_eq!(all_asked(&server), requests);
}

#[tokio::test]
async fn a_model_that_fails_on_all_is_unavailable_also_where_failures_are_isolated() {
    for count in [1, 2, 5] {
        let works = watch::Sender::new(false);
        let is_back = works.subscribe();
        let script = move |request: &Request| {
            if *is_back.borrow() { food(request) } else { Reply::status(500) }
        };
        let server = ScriptedServer::start(script).await;
        let model = isolating(&server.url());
        let mut inquiry = inquiry(&model, &batch(count));
        for _ in 0..9 {
            outage(ask_on(&model, &mut inquiry).await);
        }
        works.send_replace(true);
        assert_eq!(shown(ask_on(&model, &mut inquiry).await), vec!["Food"; count]);
    }
}

#[tokio::test]
async fn an_outage_after_a_list_was_split_costs_no_record() {
    let works = watch::Sender::new(true);
    let (is_up, goes_down) = (works.subscribe(), works.clone());
    let script = move |request: &Request| {
        let asked = asked(request);
        if !*is_up.borrow() || asked.contains(&3) {
            return Reply::status(500);
        }
        goes_down.send_replace(asked.len() == 4); // after the first half
        food_but(request, |_| false)
    };
    let server = ScriptedServer::start(script).await;
    let model = isolating(&server.url());
    let mut inquiry = inquiry(&model, &batch(4));
    for _ in 0..6 {
        outage(ask_on(&model, &mut inquiry).await);
    }
    works.send_replace(true);
    outage(ask_on(&model, &mut inquiry).await);
    works.send_replace(true);
    let outcome = ask_on(&model, &mut inquiry).await;
    assert_eq!(shown(outcome), ["Food", "Food", "!model_failed", "Food"]);
}
