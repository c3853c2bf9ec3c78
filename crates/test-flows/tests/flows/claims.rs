//! A model with two answer columns on a path of its own.

use serde_json::{Value, json};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_harness::job::Target;

use crate::on_both_stores;
use crate::support::{Table, audited, codes, counts, rows, take};

on_both_stores! {
    each_answer_has_its_column_and_who_is_not_to_be_asked_about_is_not_shown
}

/// A score of a thousandth of the amount, and a decision by it; none for claim 4.
fn assess(request: &Request) -> Reply {
    if request.path != "/assess" {
        return Reply::status(404);
    }
    let claims: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
    let answer = claims.iter().filter(|claim| claim["number"] != 4).map(|claim| {
        let score = claim["amount"].as_f64().unwrap() / 1000.0;
        let decision = if score > 0.5 { "refuse" } else { "pay" };
        json!({"decision": decision, "number": claim["number"], "score": score})
    });
    Reply::json(serde_json::to_vec(&answer.collect::<Vec<_>>()).unwrap())
}

async fn each_answer_has_its_column_and_who_is_not_to_be_asked_about_is_not_shown(target: Target) {
    let model = ScriptedServer::start(assess).await;
    let table = Table::new(&[
        "number;claimant;amount;is_withdrawn",
        "1;ann;100.5;",
        "2;bob;900;false",
        "3;cem;10;true",
        "4;dan;10;",
    ]);
    let summary = take("claims", &target, &table, &["--ml-url", &model.url()]);
    assert_eq!(counts(&summary), [4, 3, 0, 0, 1]);
    assert_eq!(codes(&summary), [("model_no_answer", 1)]);
    assert_eq!(summary["categories"], json!({"pay": 1, "refuse": 1}));
    let claims = "select number, cast(amount as text), cast(score as text), decision from claims order by number";
    assert_eq!(
        rows(&target, claims).await,
        ["1|100.50|0.1005|pay", "2|900.00|0.9000|refuse", "3|10.00|-|-"]
    );
    let first: Value = serde_json::from_slice(&model.requests()[0].body).unwrap();
    assert_eq!(first[0], json!({"number": 1, "claimant": "ann", "amount": 100.5}));
    assert_eq!(first.as_array().unwrap().len(), 3);
    audited(&target);
}
