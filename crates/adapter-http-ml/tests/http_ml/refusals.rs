//! 400, 413 and 422: a refused list is split until the refused record stands alone.

use crate::support::{
    all_asked, answer, ask, ask_once, asked, batch, food, model_at, outage, shown, transaction,
};
use tally_domain::Stage;
use tally_harness::http::{Reply, Request, ScriptedServer};

/// A model that refuses every list with a record that `is_bad`.
fn refusing(status: u16, is_bad: impl Fn(usize) -> bool) -> impl Fn(&Request) -> Reply {
    move |request| {
        if asked(request).into_iter().any(&is_bad) {
            Reply::status(status).body("the model says: coffee is bad")
        } else {
            food(request)
        }
    }
}

#[tokio::test]
async fn a_refused_record_costs_only_itself() {
    for status in [400, 413, 422] {
        let (outcome, server) = ask_once(&batch(8), refusing(status, |number| number == 6)).await;
        let results = outcome.unwrap();
        for (index, result) in results.into_iter().enumerate() {
            if index != 5 {
                assert_eq!(result.unwrap()[0].as_str(), Some("Food"));
                continue;
            }
            let reason = result.unwrap_err();
            assert_eq!((reason.stage, reason.code.as_ref()), (Stage::Enrich, "model_refused"));
            assert_eq!(
                reason.message,
                format!("the model refused the record: it answered {status}")
            );
        }
        let halves: [&[usize]; 7] =
            [&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4], &[5, 6, 7, 8], &[5, 6], &[5], &[6], &[7, 8]];
        assert_eq!(all_asked(&server), halves);
    }
}

#[tokio::test]
async fn a_list_that_is_too_long_is_only_split() {
    let script = |request: &Request| {
        if asked(request).len() > 100 { Reply::status(413) } else { food(request) }
    };
    let (outcome, server) = ask_once(&batch(1000), script).await;
    assert_eq!(shown(outcome), vec!["Food"; 1000]);
    assert_eq!(server.requests().len(), 31);
}

#[tokio::test]
async fn one_record_or_ten_may_be_refused_as_a_whole() {
    for count in [1, 10] {
        let (outcome, _server) = ask_once(&batch(count), refusing(422, |_| true)).await;
        assert_eq!(shown(outcome), vec!["!model_refused"; count]);
    }
}

#[tokio::test]
async fn more_than_ten_records_that_are_all_refused_are_an_outage() {
    let (outcome, server) = ask_once(&batch(11), refusing(422, |_| true)).await;
    let (message, pause) = outage(outcome);
    assert_eq!(
        message,
        format!(
            "model at {}: no category for any of 11 records: answered 422 to single records",
            server.url()
        )
    );
    assert_eq!(pause, None);

    let (outcome, _server) = ask_once(&batch(100), refusing(422, |number| number != 77)).await;
    let shown = shown(outcome);
    assert_eq!(shown.iter().filter(|code| *code == "!model_refused").count(), 99);
    assert_eq!(shown[76], "Food");
}

#[tokio::test]
async fn records_that_were_refused_before_may_all_be_refused_again() {
    let server = ScriptedServer::start(refusing(422, |_| true)).await;
    let outcome = ask(&model_at(&server.url()).of_refused(), &batch(11)).await;
    assert_eq!(shown(outcome), vec!["!model_refused"; 11]);
    let server = ScriptedServer::start(|_: &_| answer([])).await;
    let outcome = ask(&model_at(&server.url()).of_refused(), &batch(1)).await;
    assert_eq!(shown(outcome), ["!model_no_answer"]);
    let server = ScriptedServer::start(|_: &_| Reply::status(503)).await;
    outage(ask(&model_at(&server.url()).of_refused(), &batch(1)).await);
}

#[tokio::test]
async fn an_outage_while_it_is_split_says_when_to_ask_again() {
    let script = |request: &Request| match asked(request).as_slice() {
        [3, 4] => Reply::status(503).header("retry-after", "7"),
        records if records.contains(&2) => Reply::status(422),
        _ => food(request),
    };
    let (outcome, server) = ask_once(&batch(4), script).await;
    let (message, pause) = outage(outcome);
    assert_eq!(message, format!("model at {}: answered 503", server.url()));
    assert_eq!(pause.map(|pause| pause.as_secs()), Some(7));
}

#[tokio::test]
async fn those_asked_for_once_more_may_be_refused_too() {
    let script = |request: &Request| match request.number {
        0 => answer([(1, "Food")]),
        _ if asked(request).contains(&2) => Reply::status(400),
        _ => answer([(3, "Rent")]),
    };
    let (outcome, server) = ask_once(&batch(4), script).await;
    assert_eq!(shown(outcome), ["Food", "!model_refused", "Rent", "!model_no_answer"]);
    assert_eq!(all_asked(&server), [vec![1, 2, 3, 4], vec![2, 3, 4], vec![2], vec![3, 4]]);
}

#[tokio::test]
async fn a_repetition_of_a_refused_record_is_refused_with_it() {
    let records = [transaction(1), transaction(2), transaction(1)];
    let (outcome, server) = ask_once(&records, refusing(422, |number| number == 1)).await;
    assert_eq!(shown(outcome), ["!model_refused", "Food", "!model_refused"]);
    assert_eq!(all_asked(&server), [vec![1, 2], vec![1], vec![2]]);
}
