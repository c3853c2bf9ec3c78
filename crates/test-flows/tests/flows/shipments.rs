//! Records that a JSON Schema checks, plain and in the registry's frame.

use tally_harness::http::{Reply, ScriptedServer};
use tally_harness::job::{Target, ended_with};

use crate::on_both_stores;
use crate::support::{audited, consumer, rows, topic};

on_both_stores! {
    what_the_schema_allows_is_kept_and_each_violation_of_the_rest_is_named
}

async fn what_the_schema_allows_is_kept_and_each_violation_of_the_rest_is_named(target: Target) {
    let registry =
        ScriptedServer::start(|_| Reply::json(r#"{"schema": "{}", "schemaType": "JSON"}"#)).await;
    let plain = r#"{"number": 1, "address": {"city": "Lyon"}, "weight": 1.50}"#;
    let framed =
        "\0\0\0\0\x07{\"number\": 2, \"address\": {\"city\": \"Nice\", \"postcode\": \"06000\"}}";
    let invalid =
        "\0\0\0\0\x07{\"number\": 0, \"address\": {\"city\": \"Caen\", \"postcode\": \"secret\"}}";
    let incomplete = r#"{"number": 4, "address": {}}"#;
    let records = [plain, framed, invalid, incomplete].map(|value| (None, Some(value)));
    let (broker, topic) = topic(&records).await;
    let consumer = consumer("shipments", &target, broker, &topic);
    ended_with(&consumer.env("SCHEMA_REGISTRY_URL", registry.url()).spawn(), 0);

    let kept = rows(&target, "select cast(document as text) from shipments order by number").await;
    assert_eq!(kept, [plain, &framed[5..]]);
    let refused =
        rows(&target, "select stage, code, message from dead_letters order by position").await;
    assert_eq!(
        refused,
        [
            "validate|schema_pattern|address.postcode: value does not match \"^[0-9]{5}$\";\
             number: value is less than the minimum of 1",
            "validate|schema_required|address: \"city\" is a required property",
        ]
    );
    audited(&target);
}
