//! Answers of the model that are refusals, none, or not for every record.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally_harness::http::{Reply, ScriptedServer};
use tally_harness::job::{Job, Target};

use crate::support::assert_untouched;
use crate::support::model::{answer, by_id};
use crate::support::{Folder, SOON, assert_accounted, run, said, summary, table};

#[tokio::test]
async fn a_model_that_refuses_the_first_request() {
    let password =
        "check the user and password in its URL (ML_API_URL), ml.bearer_token or ml.headers";
    for (status, check) in [
        (401, password),
        (403, password),
        (404, "check its URL, to which /predict is appended (ML_API_URL)"),
        (405, "POST is not allowed at SHOWN/predict: check its URL (ML_API_URL)"),
        (
            302,
            "it leads to http://127.0.0.1:9/login, and redirects are not followed: set its URL (ML_API_URL)",
        ),
    ] {
        let (folder, target) = (Folder::new(), Target::sqlite());
        let path = folder.write("good.csv", table(1..=10));
        let model = ScriptedServer::start(move |_| {
            Reply::status(status)
                .header("location", "http://me:hidden@127.0.0.1:9/login?key=hidden")
                .body("hidden")
        })
        .await;
        let url = format!("http://me:hidden@{}/v1?key=hidden", model.addr());
        let output = run(&target, &url, &[path], &[]);
        assert_eq!(output.code, Some(78), "{output}");
        let shown = format!("{}/v1", model.url());
        let check = check.replace("SHOWN", &shown);
        let line =
            format!("ERROR model at {shown}: answered {status} to the first request: {check}");
        assert_eq!(said(&output), [line]);
        assert!(!output.to_string().contains("hidden"), "{output}");
        assert_eq!(model.requests().len(), 1, "a wrong setting is not tried again");
        assert_untouched(&target).await;
    }
}

#[tokio::test]
async fn a_refusal_after_an_answer_is_an_outage() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("good.csv", table(1..=20));
    let model = ScriptedServer::start(|request| {
        if request.number == 1 { Reply::status(401) } else { answer(request) }
    })
    .await;
    let job = Job::new(&target.url()).model(&model.url()).file(path).flags([
        "--batch-size",
        "10",
        "--summary",
        "json",
    ]);
    let output = job.env("TALLY_ML__CONCURRENCY", "1").spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let away = format!("WARN unavailable, retrying: model at {}: answered 401", model.url());
    assert_eq!(said(&output), [away, "INFO available again".to_owned()]);
    assert_accounted(&target, &summary(&output)).await;
}

#[tokio::test]
async fn answers_that_are_none() {
    let page = "<html>It works!</html>";
    for (reply, problem) in [
        (Reply::status(200).body(page), "the answer is not JSON"),
        (
            Reply::json("{\"categories\": []}"),
            "the answer is not a list of objects with the fields transaction_id and category",
        ),
        (Reply::json("[]"), "the answer covers none of the records asked for"),
        (Reply::status(429), "answered 429"),
        (
            Reply::status(422).body(page),
            "no category for any of 11 records: answered 422 to single records",
        ),
    ] {
        let (folder, target) = (Folder::new(), Target::sqlite());
        let path = folder.write("good.csv", table(1..=11));
        let model = ScriptedServer::start(move |_| reply.clone()).await;
        let output = run(&target, &model.url(), &[path], &["--max-outage", "300ms"]);
        assert_eq!(output.code, Some(69), "{output}");
        let away = format!("model at {}: {problem}", model.url());
        assert!(said(&output).contains(&format!("WARN unavailable, retrying: {away}")), "{output}");
        assert_untouched(&target).await;
    }
}

#[tokio::test]
async fn answers_are_matched_by_id_and_what_has_none_is_a_dead_letter() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("good.csv", table(1..=12));
    let two = vec![json!("Food"), json!("Rent")];
    let same = vec![json!("Twice"), json!("Twice")];
    let items = BTreeMap::from([
        (3, vec![]),
        (4, same),
        (5, two),
        (6, vec![json!("")]),
        (7, vec![json!("x".repeat(65))]),
        (8, vec![Value::Null]),
        (10, vec![json!("Näh & Co")]),
    ]);
    let model = by_id(items, vec![9]).await;
    let output = run(&target, &model.url(), &[path], &[]);
    assert_eq!((output.code, said(&output)), (Some(0), vec![]), "{output}");

    let summary = summary(&output);
    assert_accounted(&target, &summary).await;
    assert_eq!(summary["dead_letters"], json!({"model_no_answer": 5, "model_refused": 1}));
    let letters = target
        .query("select position, stage, code, message from dead_letters order by position")
        .await;
    let letter = |position: &str, code: &str, message: &str| {
        [position, "enrich", code, message].map(|text| Some(text.to_owned())).to_vec()
    };
    let nothing = "the model gave no answer when asked twice";
    let unusable = "the model gave no usable category when asked twice";
    let expected = [
        letter("2", "model_no_answer", nothing),
        letter("4", "model_no_answer", unusable),
        letter("5", "model_no_answer", unusable),
        letter("6", "model_no_answer", unusable),
        letter("7", "model_no_answer", unusable),
        letter("8", "model_refused", "the model refused the record: it answered 422"),
    ];
    assert_eq!(letters, expected);
    let categories =
        target.query("select position, category from transactions order by position").await;
    let usual = |id: u128| ml_api::category(uuid::Uuid::from_u128(id));
    let expected = [
        ("0", usual(1)),
        ("1", usual(2)),
        ("3", "Twice"),
        ("9", "Näh & Co"),
        ("10", usual(11)),
        ("11", usual(12)),
    ];
    assert_eq!(
        categories,
        expected.map(|(position, name)| vec![Some(position.to_owned()), Some(name.to_owned())])
    );
}
