//! JSON.

use tally_adapter_kafka::wire::Decoder;

use crate::wire::{decode, refused, shown};

async fn check(json: impl AsRef<[u8]>, expected: [&str; 7]) {
    let json = json.as_ref();
    let wire = decode(&Decoder::new(None), Some(json)).await;
    let wire = wire.unwrap_or_else(|reason| panic!("{}: {}", reason.code, reason.message));
    assert_eq!(shown(&wire), expected, "{}", String::from_utf8_lossy(json));
}

async fn check_amount(number: &str, expected: &str) {
    check(format!(r#"{{"amount":{number}}}"#), ["-", "-", expected, "-", "-", "-", "-"]).await;
}

async fn check_broken(json: impl AsRef<[u8]>, words: &str) {
    refused(decode(&Decoder::new(None), Some(json.as_ref())).await, "json", words);
}

#[tokio::test]
async fn columns_are_read_in_any_order_as_their_exact_texts() {
    check(
        r#" { "side":"debit", "id":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11","description":" é \"x\"\u0041\n😀",
            "amount": -12.340 , "timestamp":"2024-01-15T08:30:00Z", "merchant":"", "operation_type":"payment"}
        "#,
        [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            " é \"x\"A\n😀",
            "-12.340",
            "2024-01-15T08:30:00Z",
            "",
            "payment",
            "debit",
        ],
    )
    .await;
    check("{}", ["-"; 7]).await;
    check("\u{feff}{}", ["-"; 7]).await;
    check(r#"{"id":null,"amount":null,"merchant": null}"#, ["-"; 7]).await;
    check(
        r#"{"\u0069d":"by an escaped name"}"#,
        ["by an escaped name", "-", "-", "-", "-", "-", "-"],
    )
    .await;
}

#[tokio::test]
async fn numbers_never_go_through_a_float() {
    for number in [
        "12.34",
        "-0",
        "0.10",
        "9999999999.99",
        "9007199254740993",
        "0.1000000000000000055511151231257827",
        "123456789012345678901234567890.123456789012345678901234567890",
    ] {
        check_amount(number, number).await;
        check_amount(&format!(r#""{number}""#), number).await;
    }
    let largest_id = "340282366920938463463374607431768211455";
    check(format!(r#"{{"id":{largest_id}}}"#), [largest_id, "-", "-", "-", "-", "-", "-"]).await;
}

#[tokio::test]
async fn an_exponent_is_written_out_in_a_number_only() {
    check_amount("1.2e3", "1200").await;
    check_amount("-1.5E-1", "-0.15").await;
    check_amount("1e1000000000000", &format!("1{}", "0".repeat(128))).await;
    check_amount(r#""1.2e3""#, "1.2e3").await;
}

#[tokio::test]
async fn what_is_no_column_is_passed_over() {
    let deep = format!("{}{}", "[".repeat(300_000), "]".repeat(300_000));
    let huge = "x".repeat(900_000);
    for value in [
        "1",
        "null",
        "true",
        r#"{"id": {"amount": [1, {}]}}"#,
        r#""\ud800""#,
        "1e400",
        &deep,
        &format!(r#""{huge}""#),
    ] {
        let json = format!(r#"{{"other":{value},"other":{value},"Id":"x","id":"7"}}"#);
        check(json, ["7", "-", "-", "-", "-", "-", "-"]).await;
    }
}

#[tokio::test]
async fn anything_but_an_object_is_a_bad_record() {
    check_broken("", "empty").await;
    check_broken(" \n", "empty").await;
    for json in ["null", "7", r#""s3cret""#, r#"["s3cret"]"#, "s3cret", "\u{feff}\u{feff}{}"] {
        check_broken(json, "not a JSON object").await;
    }
    check_broken(b"{\"id\":\"\xff\"}", "not UTF-8").await;
    check_broken(b"{\"other\":\"\xff\"}", "not UTF-8").await;
    check_broken(b"\xff\xfe{\x00}\x00", "not UTF-8").await;
}

#[tokio::test]
async fn broken_json_is_a_bad_record() {
    for json in ["{", r#"{"id""#, r#"{"id":"s3cret"#, r#"{"id":"7","#, r#"{"other":[[[["#] {
        check_broken(json, "ends too early").await;
    }
    for json in [
        "{}{}",
        "{} s3cret",
        "{s3cret}",
        r#"{"id":}"#,
        r#"{"id":"7",}"#,
        r#"{"id" "s3cret"}"#,
        r#"{"amount":01}"#,
        r#"{"amount":+1}"#,
        r#"{"amount":.5}"#,
        r#"{"amount":1.}"#,
        r#"{"amount":1e}"#,
        r#"{"amount":NaN}"#,
        r#"{"amount":Infinity}"#,
        r#"{"amount":0x10}"#,
        r"{'id':'s3cret'}",
        "{\"id\":\"s3cret\n\"}",
        r#"{"id":"\x"}"#,
        r#"{"other":tru}"#,
        "{/* s3cret */}",
    ] {
        check_broken(json, "not JSON at line").await;
    }
    check_broken(r#"{"id":"\ud800"}"#, "id: a string with an escape").await;
}

#[tokio::test]
async fn a_column_of_another_type_is_a_bad_record() {
    check_broken(r#"{"side":true}"#, "side: true or false").await;
    check_broken(r#"{"amount":false}"#, "amount: true or false").await;
    check_broken(r#"{"merchant":["s3cret"]}"#, "merchant: a list").await;
    check_broken(r#"{"id":{"s3cret":1}}"#, "id: an object").await;
    let deep = format!("{}{}", "[".repeat(300_000), "]".repeat(300_000));
    check_broken(format!(r#"{{"id":{deep}}}"#), "id: a list").await;
}

#[tokio::test]
async fn a_column_that_is_there_twice_is_a_bad_record() {
    check_broken(r#"{"amount":1,"amount":2}"#, "amount: is there more than once").await;
    check_broken(r#"{"id":"7","side":"debit","id":"7"}"#, "id: is there more than once").await;
    check_broken(r#"{"id":"7","\u0069d":null}"#, "id: is there more than once").await;
}

#[tokio::test]
async fn a_tombstone_is_a_bad_record() {
    refused(decode(&Decoder::new(None), None).await, "tombstone", "no value");
}
