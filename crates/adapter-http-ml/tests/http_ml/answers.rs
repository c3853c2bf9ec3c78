//! Fit answers: who gets which category, and who is asked for once more.

use crate::support::{
    End, all_asked, answer, ask, ask_once, asked, batch, described, food, food_but, id, model_at,
    outage, raw_server, shown, transaction,
};
use serde_json::{Value, json};
use tally_domain::Stage;
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_harness::proxy::Proxy;

#[tokio::test]
async fn a_batch_is_one_request_with_the_columns_of_the_table() {
    let (outcome, server) = ask_once(&batch(2), food).await;
    assert_eq!(shown(outcome), ["Food", "Food"]);

    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/predict"));
    assert_eq!(requests[0].headers["content-type"], "application/json");
    let questions: Value = serde_json::from_slice(&requests[0].body).unwrap();
    let question = |id: &str| {
        json!({
            "id": id, "description": "coffee", "amount": -3.5, "timestamp": "2024-01-31T23:59:59",
            "merchant": "Café Zoë", "operation_type": "payment", "side": "debit",
        })
    };
    let expected = [
        question("00000000-0000-0000-0000-000000000001"),
        question("00000000-0000-0000-0000-000000000002"),
    ];
    assert_eq!(questions, json!(expected));
}

#[tokio::test]
async fn no_records_are_no_request() {
    let (outcome, server) = ask_once(&[], food).await;
    assert!(shown(outcome).is_empty());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_path_prefix_a_query_and_the_user_are_sent() {
    let server = ScriptedServer::start(food).await;
    let url = format!("http://anna:s3cret@{}/v1/?key=k", server.addr());
    let model = model_at(&url);
    ask(&model, &batch(1)).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.path, "/v1/predict?key=k");
    assert_eq!(request.headers["authorization"], "Basic YW5uYTpzM2NyZXQ=");
}

#[tokio::test]
async fn answers_are_matched_by_id_and_unknown_ids_ignored() {
    let script =
        |_: &_| answer([(3, "Rent"), (77, "Travel"), (1, "Food"), (1, "Food"), (2, "Shopping")]);
    let (outcome, server) = ask_once(&batch(3), script).await;
    assert_eq!(shown(outcome), ["Food", "Shopping", "Rent"]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn all_that_have_no_answer_are_asked_for_once_more_in_one_request() {
    let script = |request: &Request| match request.number {
        0 => answer([
            (1, "Food"),
            (3, ""),
            (4, " "),
            (5, &"x".repeat(65)),
            (6, "Food"),
            (6, "Rent"),
            (7, "Travel"),
        ]),
        _ => answer([(2, "Two"), (3, "Three"), (4, "Four"), (5, "Five"), (6, "Six"), (7, "Seven")]),
    };
    let (outcome, server) = ask_once(&batch(7), script).await;
    assert_eq!(shown(outcome), ["Food", "Two", "Three", "Four", "Five", "Six", "Travel"]);
    assert_eq!(all_asked(&server), [vec![1, 2, 3, 4, 5, 6, 7], vec![2, 3, 4, 5, 6]]);
}

#[tokio::test]
async fn without_an_answer_the_second_time_it_is_a_dead_letter() {
    let script = |request: &Request| match request.number {
        0 => answer([(1, "Food"), (3, "")]),
        _ => answer([(3, "Food"), (3, "Rent")]),
    };
    let (outcome, server) = ask_once(&batch(3), script).await;
    let mut results = outcome.unwrap();
    let contradictory = results.pop().unwrap().unwrap_err();
    let unanswered = results.pop().unwrap().unwrap_err();
    assert_eq!(shown(Ok(results)), ["Food"]);
    for reason in [&contradictory, &unanswered] {
        assert_eq!((reason.stage, reason.code.as_ref()), (Stage::Enrich, "model_no_answer"));
    }
    assert_eq!(unanswered.message, "the model gave no answer when asked twice");
    assert_eq!(contradictory.message, "the model gave no usable category when asked twice");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_second_answer_that_covers_none_costs_only_those_asked_for_again() {
    let (outcome, server) =
        ask_once(&batch(40), |request| food_but(request, |number| number > 20)).await;
    let shown = shown(outcome);
    assert!(shown[..20].iter().all(|category| category == "Food"));
    assert!(shown[20..].iter().all(|code| code == "!model_no_answer"));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn null_is_no_answer_for_that_record_alone() {
    let script = |request: &Request| match request.number {
        0 => Reply::json(
            json!([
                {"transaction_id": id(1), "category": null},
                {"transaction_id": id(2), "category": "Food"},
            ])
            .to_string(),
        ),
        _ => Reply::json(json!([{"transaction_id": id(1), "category": null}]).to_string()),
    };
    let (outcome, _server) = ask_once(&batch(2), script).await;
    assert_eq!(shown(outcome), ["!model_no_answer", "Food"]);
}

#[tokio::test]
async fn a_first_answer_that_covers_none_is_an_outage() {
    for records in [1, 3, 1000] {
        for body in [
            "[]",
            r#"[{"transaction_id": "00000000-0000-0000-0000-0000000f0000", "category": "Food"}]"#,
        ] {
            let (outcome, server) = ask_once(&batch(records), move |_| Reply::json(body)).await;
            let (message, _) = outage(outcome);
            assert_eq!(
                message,
                format!(
                    "model at {}: the answer covers none of the records asked for",
                    server.url()
                )
            );
            assert_eq!(server.requests().len(), 1);
        }
    }
}

#[tokio::test]
async fn more_than_ten_records_without_one_category_are_an_outage() {
    let script = |request: &Request| answer(asked(request).into_iter().map(|n| (n, "")));
    let (outcome, server) = ask_once(&batch(10), script).await;
    assert_eq!(shown(outcome), ["!model_no_answer"; 10]);
    drop(server);

    let (outcome, server) = ask_once(&batch(11), script).await;
    let (message, _) = outage(outcome);
    assert_eq!(message, format!("model at {}: no category for any of 11 records", server.url()));
}

#[tokio::test]
async fn a_repeated_record_is_asked_for_once() {
    let records = [transaction(1), transaction(2), transaction(1), transaction(1)];
    let (outcome, server) =
        ask_once(&records, |request| food_but(request, |number| number == 1)).await;
    assert_eq!(
        shown(outcome),
        ["!model_no_answer", "Food", "!model_no_answer", "!model_no_answer"]
    );
    assert_eq!(all_asked(&server), [vec![1, 2], vec![1]]);
}

#[tokio::test]
async fn no_request_holds_two_versions_of_one_id() {
    let versions = ["first", "second", "first", "third"];
    let mut records: Vec<_> = versions.map(|description| described(1, description)).into();
    records.insert(1, transaction(2));
    let script = |request: &Request| {
        let questions: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
        let item = |question: &Value| json!({"transaction_id": question["id"], "category": question["description"]});
        Reply::json(questions.iter().map(item).collect::<Value>().to_string())
    };
    let (outcome, server) = ask_once(&records, script).await;
    assert_eq!(shown(outcome), ["first", "coffee", "second", "first", "third"]);
    assert_eq!(all_asked(&server), [vec![1, 2], vec![1], vec![1]]);
}

#[tokio::test]
async fn versions_without_an_answer_are_asked_for_again_apart() {
    let records = [described(1, "first"), described(1, "second"), transaction(2)];
    let script = |request: &Request| food_but(request, |number| number == 1 && request.number < 2);
    let (outcome, server) = ask_once(&records, script).await;
    assert_eq!(shown(outcome), ["Food", "Food", "Food"]);
    assert_eq!(all_asked(&server), [vec![1, 2], vec![1], vec![1], vec![1]]);
}

#[tokio::test]
async fn the_longest_fit_answer_is_read_and_a_longer_one_is_an_outage() {
    // 64 characters, each of them two escapes.
    let category = r"\ud83d\ude00".repeat(64);
    let item = |number: usize| {
        format!(r#"{{ "transaction_id": "{}", "category": "{category}" }}"#, id(number))
    };
    let body = format!("[\n  {}\n]", (1..=1000).map(item).collect::<Vec<_>>().join(",\n  "));
    let (outcome, _server) = ask_once(&batch(1000), move |_| Reply::json(body.clone())).await;
    assert_eq!(shown(outcome), vec!["😀".repeat(64); 1000]);

    let body = format!(
        r#"[{{"transaction_id": "{}", "category": "Food"}}]{}"#,
        id(1),
        " ".repeat(66 * 1024)
    );
    let with_length = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let until_closed = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
    for answer in [with_length, until_closed] {
        let url = raw_server(answer, End::Close).await;
        let (message, _) = outage(ask(&model_at(&url), &batch(1)).await);
        assert_eq!(message, format!("model at {url}: the answer is longer than 66560 bytes"));
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = ScriptedServer::start(|request| match request.number {
        1 => Reply::status(422).body("[]"),
        _ => food(request),
    })
    .await;
    let proxy = Proxy::start(server.addr()).await;
    let model = model_at(&format!("http://{}", proxy.addr()));
    for _ in 0..5 {
        ask(&model, &batch(100)).await.unwrap();
    }
    assert_eq!(server.requests().len(), 7);
    assert_eq!(proxy.accepted(), 1);
}
