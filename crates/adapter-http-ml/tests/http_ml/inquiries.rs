//! What was answered about a batch is kept through whatever comes between its requests.

use crate::support::{
    all_asked, answer, ask_more, ask_on, asked, batch, food, food_but, id, inquiry, model_at,
    outage, shown,
};
use serde_json::{Value, json};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tokio::sync::watch;

#[tokio::test]
async fn an_outage_while_a_list_is_split_keeps_what_was_answered() {
    let server = ScriptedServer::start(|request| match request.number {
        1 | 4 | 6 => Reply::status(503),
        _ if asked(request).contains(&2) => Reply::status(422),
        _ => food(request),
    })
    .await;
    let model = model_at(&server.url());
    let mut inquiry = inquiry(&model, &batch(4));
    for _ in 0..3 {
        outage(ask_on(&model, &mut inquiry).await);
    }
    let outcome = ask_on(&model, &mut inquiry).await;
    assert_eq!(shown(outcome), ["Food", "!model_refused", "Food", "Food"]);
    let requests: [&[usize]; 8] =
        [&[1, 2, 3, 4], &[1, 2], &[1, 2], &[1], &[2], &[2], &[3, 4], &[3, 4]];
    assert_eq!(all_asked(&server), requests);
}

#[tokio::test]
async fn an_outage_of_the_second_round_keeps_the_first_one() {
    let server = ScriptedServer::start(|request| match request.number {
        0 => food_but(request, |number| number == 2),
        1 => Reply::status(503),
        _ => food(request),
    })
    .await;
    let model = model_at(&server.url());
    let mut inquiry = inquiry(&model, &batch(3));
    outage(ask_on(&model, &mut inquiry).await);
    assert_eq!(shown(ask_on(&model, &mut inquiry).await), ["Food"; 3]);
    assert_eq!(all_asked(&server), [vec![1, 2, 3], vec![2], vec![2]]);
}

#[tokio::test]
async fn each_call_asks_until_an_answer_with_a_category() {
    let server = ScriptedServer::start(|request| match asked(request).as_slice() {
        [5, 6] => answer([(5, ""), (6, "")]),
        [5, 6, 7] | [7] => Reply::json("[]"),
        [_, _, _, ..] | [1, ..] | [7, 8] => Reply::status(422),
        _ => food(request),
    })
    .await;
    let model = model_at(&server.url());
    let mut inquiry = inquiry(&model, &batch(8));
    for _ in 0..3 {
        assert_eq!(ask_more(&model, &mut inquiry).await, Ok(None));
    }
    let calls: [&[&[usize]]; 4] = [
        &[&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4], &[1, 2], &[1], &[2]],
        &[&[3, 4]],
        &[&[5, 6, 7, 8], &[5, 6], &[7, 8], &[7], &[8]],
        &[&[5, 6, 7]],
    ];
    assert_eq!(all_asked(&server), calls[..3].concat());

    let outcome = ask_more(&model, &mut inquiry).await.map(Option::unwrap);
    let no_answer = "!model_no_answer";
    let expected =
        ["!model_refused", "Food", "Food", "Food", no_answer, no_answer, no_answer, "Food"];
    assert_eq!(shown(outcome), expected);
    assert_eq!(all_asked(&server), calls.concat());
}

#[tokio::test]
async fn a_dropped_request_loses_no_answer() {
    let never = watch::Sender::new(false);
    let released = never.subscribe();
    let server = ScriptedServer::start(move |request| match request.number {
        3 => food(request).held(released.clone()),
        _ if asked(request).contains(&1) => Reply::status(422),
        _ => food(request),
    })
    .await;
    let model = model_at(&server.url());
    let mut inquiry = inquiry(&model, &batch(4));
    tokio::select! {
        outcome = ask_on(&model, &mut inquiry) => panic!("{outcome:?}"),
        () = server.until_requests(4) => {}
    }
    assert_eq!(
        shown(ask_on(&model, &mut inquiry).await),
        ["!model_refused", "Food", "Food", "Food"]
    );
    let requests: [&[usize]; 6] = [&[1, 2, 3, 4], &[1, 2], &[1], &[2], &[2], &[3, 4]];
    assert_eq!(all_asked(&server), requests);
}

#[tokio::test]
async fn a_complete_inquiry_asks_nothing_more() {
    let server = ScriptedServer::start(food).await;
    let model = model_at(&server.url());
    let mut inquiry = inquiry(&model, &batch(2));
    for _ in 0..2 {
        assert_eq!(shown(ask_on(&model, &mut inquiry).await), ["Food", "Food"]);
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_batch_without_one_answer_that_can_be_believed_is_asked_about_anew() {
    let refusing = |_: &Request| Reply::status(422);
    let empty = |request: &Request| {
        if asked(request).len() > 1 { Reply::status(413) } else { Reply::json("[]") }
    };
    let blank = |request: &Request| answer(asked(request).into_iter().map(|number| (number, "")));
    for (fault, requests) in [(refusing as fn(&Request) -> Reply, 21), (empty, 21), (blank, 2)] {
        let works = watch::Sender::new(false);
        let is_back = works.subscribe();
        let script = move |request: &Request| {
            if *is_back.borrow() { food(request) } else { fault(request) }
        };
        let server = ScriptedServer::start(script).await;
        let model = model_at(&server.url());
        let mut inquiry = inquiry(&model, &batch(11));
        for attempt in 1..=2 {
            // Within one call: what the model says in between would else end an outage.
            outage(ask_more(&model, &mut inquiry).await.map(Option::unwrap_or_default));
            assert_eq!(server.requests().len(), attempt * requests);
        }
        works.send_replace(true);
        assert_eq!(shown(ask_on(&model, &mut inquiry).await), ["Food"; 11]);
        assert_eq!(all_asked(&server)[2 * requests..], [(1..=11).collect::<Vec<_>>()]);
    }
}

/// An answer to all with `Food`, but with `item` about record 2.
fn with_item(request: &Request, item: &Value) -> Reply {
    let item = |number| match number {
        2 => item.clone(),
        _ => json!({"transaction_id": id(number), "category": "Food"}),
    };
    Reply::json(asked(request).into_iter().map(item).collect::<Value>().to_string())
}

#[tokio::test]
async fn an_item_that_is_never_fit_costs_its_record_alone() {
    for item in [
        json!({"transaction_id": id(2)}),
        json!({"transaction_id": id(2), "category": 5}),
        json!({"transaction_id": id(2), "category": ["Food"]}),
        json!({"transaction_id": null, "category": "Food"}),
        json!({"transaction_id": 2, "category": "Food"}),
        json!("Food"),
    ] {
        let shown_item = item.to_string();
        let server = ScriptedServer::start(move |request| with_item(request, &item)).await;
        let model = model_at(&server.url());
        let outcome = ask_on(&model, &mut inquiry(&model, &batch(3))).await;
        assert_eq!(shown(outcome), ["Food", "!model_no_answer", "Food"], "{shown_item}");
        assert_eq!(all_asked(&server), [vec![1, 2, 3], vec![2]]);
    }
}

#[tokio::test]
async fn an_item_that_is_not_fit_at_first_is_asked_for_once_more() {
    let server = ScriptedServer::start(|request| match request.number {
        0 => Reply::json(format!(
            r#"[{{"transaction_id": "{}", "category": "Food"}}, {{"transaction_id": "{}", "category": "\ud800"}}]"#,
            id(1),
            id(2)
        )),
        _ => food(request),
    })
    .await;
    let model = model_at(&server.url());
    let outcome = ask_on(&model, &mut inquiry(&model, &batch(2))).await;
    assert_eq!(shown(outcome), ["Food", "Food"]);
    assert_eq!(all_asked(&server), [vec![1, 2], vec![2]]);
}

/// A model that loses its data while a batch is split costs none of the records that it was not asked about before.
#[tokio::test]
async fn a_half_without_one_fit_item_is_an_outage_of_that_half() {
    let server = ScriptedServer::start(|request| match request.number {
        0 => Reply::status(422),
        2 => Reply::json("[]"),
        _ => food(request),
    })
    .await;
    let model = model_at(&server.url());
    let mut inquiry = inquiry(&model, &batch(4));
    outage(ask_on(&model, &mut inquiry).await);
    assert_eq!(shown(ask_on(&model, &mut inquiry).await), ["Food"; 4]);
    assert_eq!(all_asked(&server), [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![3, 4]]);
}

#[tokio::test]
async fn without_one_fit_item_in_the_first_answers_it_is_an_outage() {
    let server = ScriptedServer::start(|request| {
        let items = asked(request)
            .into_iter()
            .map(|number| json!({"transaction_id": id(number), "category": 5}));
        match request.number {
            0 => Reply::json(items.collect::<Value>().to_string()),
            _ => food(request),
        }
    })
    .await;
    let model = model_at(&server.url());
    let mut inquiry = inquiry(&model, &batch(2));
    let (message, _) = outage(ask_on(&model, &mut inquiry).await);
    assert_eq!(
        message,
        format!(
            "model at {}: the answer is not a list of objects with the fields transaction_id and category",
            server.url()
        )
    );
    assert_eq!(shown(ask_on(&model, &mut inquiry).await), ["Food", "Food"]);
}
