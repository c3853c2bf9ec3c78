//! What it answers over real TCP.

use serde_json::json;

use crate::support::{ID, Service};

#[test]
fn answers_a_list_in_its_order() {
    let service = Service::start();
    let body = json!([
        {"id": "00000000-0000-0000-0000-000000000001", "description": "VIR SEPA SALAIRE", "amount": 2100.5,
         "timestamp": "2024-01-31T08:00:00", "merchant": null, "operation_type": "transfer", "side": "credit"},
        {"id": ID.to_uppercase(), "amount": -1, "unknown": [{"deep": null}]},
        {"id": "00000000-0000-0000-0000-000000000000"},
    ]);
    let expected = json!([
        {"transaction_id": "00000000-0000-0000-0000-000000000001", "category": "Salary Income"},
        {"transaction_id": ID, "category": ml_api::category(ID.parse().unwrap())},
        {"transaction_id": "00000000-0000-0000-0000-000000000000", "category": "Rent"},
    ]);
    assert_eq!(service.predict(&body.to_string()), (200, expected));
}

#[test]
fn answers_one_object_with_a_list_of_one() {
    let body = format!(" \n{{\"id\": \"{ID}\"}}");
    let expected =
        json!([{"transaction_id": ID, "category": ml_api::category(ID.parse().unwrap())}]);
    assert_eq!(Service::start().predict(&body), (200, expected));
}

#[test]
fn answers_an_empty_list_with_one() {
    assert_eq!(Service::start().predict("[]"), (200, json!([])));
}

#[test]
fn refuses_bad_input_with_item_and_field() {
    let service = Service::start();
    let refused = [
        (json!([{"id": ID}, {"amount": 1}]), "item 1: field `id`: missing"),
        (
            json!([{"id": ID}, {"id": ID}, {"id": ID}, {"id": "12"}]),
            "item 3: field `id`: not a UUID",
        ),
        (json!({"id": null}), "item 0: field `id`: not a UUID"),
        (json!({"id": 12}), "item 0: field `id`: not a UUID"),
        (json!({"id": ID, "amount": "1.5"}), "item 0: field `amount`: not a number"),
        (json!({"id": ID, "amount": null}), "item 0: field `amount`: not a number"),
        (json!({"id": ID, "timestamp": 1_700_000_000}), "item 0: field `timestamp`: not text"),
        (json!({"id": ID, "timestamp": null}), "item 0: field `timestamp`: not text"),
        (json!({"id": ID, "description": 1}), "item 0: field `description`: neither text nor null"),
        (json!({"id": ID, "merchant": []}), "item 0: field `merchant`: neither text nor null"),
        (
            json!({"id": ID, "operation_type": {}}),
            "item 0: field `operation_type`: neither text nor null",
        ),
        (json!({"id": ID, "side": true}), "item 0: field `side`: neither text nor null"),
        (json!([{"id": ID}, [ID]]), "item 1: not an object"),
        (json!("text"), "item 0: not an object"),
    ];
    for (body, error) in refused {
        assert_eq!(service.predict(&body.to_string()), (422, json!({"error": error})), "{body}");
    }
    let repeated = format!("{{\"id\": \"{ID}\", \"id\": \"{ID}\"}}");
    let error = json!({"error": "item 0: duplicate field `id`"});
    assert_eq!(service.predict(&repeated), (422, error));
}

#[test]
fn refuses_what_is_not_json() {
    let service = Service::start();
    for body in ["", "no", "[{}", "[] []", "{\"id\": }"] {
        let (status, answer) = service.predict(body);
        assert_eq!(status, 422, "{body}");
        assert!(answer["error"].as_str().unwrap().starts_with("not JSON: "), "{answer}");
    }
    let (status, _) = service.send("POST", "/predict", b"{\"id\": \"\xff\"}");
    assert_eq!(status, 422);
}

#[test]
fn refuses_a_body_over_the_limit() {
    let service = Service::start();
    let mut body = vec![b' '; ml_api::BODY_LIMIT];
    body[..2].copy_from_slice(b"[]");
    assert_eq!(service.send("POST", "/predict", &body), (200, "[]".to_owned()));

    body.push(b' ');
    assert_eq!(service.send("POST", "/predict", &body).0, 413);
    body.resize(2 * ml_api::BODY_LIMIT, b' ');
    assert_eq!(service.send("POST", "/predict", &body).0, 413);
}

#[test]
fn is_healthy() {
    assert_eq!(Service::start().send("GET", "/health", b"").0, 200);
}
