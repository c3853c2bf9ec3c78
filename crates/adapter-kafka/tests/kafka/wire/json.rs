//! JSON.

use bytes::Bytes;
use tally_adapter_kafka::wire::Decoder;
use tally_domain::{Column, Envelope, Field, Fields, Kind, Reason, TimeUnit, TimeUnits};

use crate::wire::{decode, decoder, is_shared, refused, shown};

async fn check(json: impl AsRef<[u8]>, expected: [&str; 7]) {
    let json = json.as_ref();
    let fields = decode(&decoder(None), json).await;
    let fields = fields.unwrap_or_else(|reason| panic!("{}: {}", reason.code, reason.message));
    assert_eq!(shown(&fields), expected, "{}", String::from_utf8_lossy(json));
}

async fn check_amount(number: &str, expected: &str) {
    check(format!(r#"{{"amount":{number}}}"#), ["-", "-", expected, "-", "-", "-", "-"]).await;
}

async fn check_broken(json: impl AsRef<[u8]>, words: &str) {
    refused(decode(&decoder(None), json.as_ref()).await, "json", words);
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
async fn a_tombstone_has_no_fields() {
    assert_eq!(decoder(None).decode(None).await, Ok(Ok(Fields::new())));
}

/// What these columns hold.
async fn read(columns: &[(&'static str, Kind)], json: &str) -> Result<Fields, Reason> {
    let columns: Vec<Column> =
        columns.iter().map(|&(name, kind)| Column::new(name, kind)).collect();
    decode(&Decoder::new(&columns, &TimeUnits::new(), Envelope::Plain, None), json.as_bytes()).await
}

async fn check_fields(columns: &[(&'static str, Kind)], json: &str, expected: &[Field]) {
    let fields = read(columns, json).await;
    assert_eq!(fields.unwrap_or_else(|reason| panic!("{}: {json}", reason.message)), expected);
}

async fn check_refused(columns: &[(&'static str, Kind)], json: &str, words: &str) {
    refused(read(columns, json).await, "json", words);
}

fn text(text: &str) -> Field {
    Field::Text(text.into())
}

fn number(text: &str) -> Field {
    Field::Number(text.into())
}

fn json(text: &str) -> Field {
    Field::Json(text.into())
}

#[tokio::test]
async fn a_number_is_a_time_in_the_unit_of_its_column() {
    let columns = [("at", Kind::Timestamp), ("after.at", Kind::Timestamp), ("id", Kind::Id)];
    let columns = columns.map(|(name, kind)| Column::new(name, kind));
    let units = [
        ("at".to_owned(), TimeUnit::Milliseconds),
        ("after.at".to_owned(), TimeUnit::Seconds),
        ("id".to_owned(), TimeUnit::Days),
    ];
    let decoder = Decoder::new(&columns, &TimeUnits::from(units), Envelope::Plain, None);
    let read = async |json: &str| decode(&decoder, json.as_bytes()).await.unwrap();
    let moment = |text: &str| Field::Instant(text.parse().unwrap());
    assert_eq!(
        read(r#"{"at": 1705307400250, "after": {"at": 1705307400.5}, "id": 7}"#).await,
        [moment("2024-01-15T08:30:00.25Z"), moment("2024-01-15T08:30:00.5Z"), number("7")]
    );
    // A text is one, and a number that is no time in its unit stays a number.
    assert_eq!(
        read(r#"{"at": "2024-01-15 08:30:00", "after": {"at": 1705307400250}}"#).await,
        [text("2024-01-15 08:30:00"), number("1705307400250"), Field::Absent]
    );
}

#[tokio::test]
async fn a_change_event_is_unwrapped_from_its_schema() {
    let columns =
        [("op", Kind::Text), ("after.id", Kind::Id)].map(|(name, kind)| Column::new(name, kind));
    let decoder = Decoder::new(&columns, &TimeUnits::new(), Envelope::Debezium, None);
    let event = r#"{"before": null, "after": {"id": 7}, "op": "c"}"#;
    let expected = Ok(vec![text("c"), number("7")]);
    for payload in [
        event.to_owned(),
        format!(r#"{{"schema": {{"type": "struct", "optional": false}}, "payload": {event}}}"#),
        format!(r#" {{"payload":{event},"schema":null}} "#),
    ] {
        let payload = Bytes::from(payload);
        let fields = decoder.decode(Some(&payload)).await.unwrap();
        assert_eq!(fields, expected, "{payload:?}");
        assert!(fields.unwrap().iter().all(|field| is_shared(field, &payload)));
    }
    let tombstone = decode(&decoder, br#"{"schema": null, "payload": null}"#).await;
    assert_eq!(tombstone, Ok(Fields::new()));
    // Other members beside them: no wrapper.
    let other = decode(&decoder, br#"{"schema": {}, "payload": {"op": "c"}, "op": "u"}"#).await;
    assert_eq!(other, Ok(vec![text("u"), Field::Absent]));
    for (broken, words) in [
        (&br#"{"schema": {}, "payload": [s3cret]}"#[..], "not JSON"),
        (br#"{"schema": {}, "payload": ["s3cret"]}"#, "not a JSON object"),
        (br#"[{}, {"op": "s3cret"}]"#, "not a JSON object"),
        (
            br#"{"schema": {}, "payload": {"op": "s3cret", "op": "s3cret"}}"#,
            "op: is there more than once",
        ),
    ] {
        refused(decode(&decoder, broken).await, "json", words);
    }
    let plain = read(
        &[("op", Kind::Text), ("payload", Kind::Json)],
        r#"{"schema": 1, "payload": {"op": "c"}}"#,
    );
    assert_eq!(plain.await, Ok(vec![Field::Absent, json(r#"{"op": "c"}"#)]));
}

#[tokio::test]
async fn fields_are_what_they_are_in_json() {
    let columns = &[("a", Kind::Text), ("b", Kind::Decimal), ("c", Kind::Id), ("d", Kind::Text)];
    check_fields(
        columns,
        r#"{"a":"1.50","b":1.50,"c":null}"#,
        &[text("1.50"), number("1.50"), Field::Null, Field::Absent],
    )
    .await;
    check_fields(
        columns,
        r#"{"d":0e5,"c":-0,"b":"","a":12e-1}"#,
        &[number("1.2"), text(""), number("-0"), number("0")],
    )
    .await;
}

#[tokio::test]
async fn booleans_have_a_kind_of_their_own() {
    let columns = &[("a", Kind::Boolean), ("b", Kind::Boolean), ("c", Kind::Boolean)];
    let (yes, no) = (Field::Boolean(true), Field::Boolean(false));
    check_fields(columns, r#"{"a":true,"b": false ,"c":null}"#, &[yes, no, Field::Null]).await;
    check_fields(columns, r#"{"a":"true","b":1}"#, &[text("true"), number("1"), Field::Absent])
        .await;
    check_refused(columns, r#"{"a":[true]}"#, "a: a list instead of true or false").await;
    check_refused(columns, r#"{"b":{"s3cret":1}}"#, "b: an object instead of true or false").await;
    for kind in [Kind::Id, Kind::Decimal, Kind::Timestamp, Kind::Text] {
        check_refused(&[("a", kind)], r#"{"a":true}"#, "a: true or false instead of a text").await;
    }
}

#[tokio::test]
async fn a_json_column_is_its_own_text_whatever_it_is() {
    let columns = &[("a", Kind::Json)];
    let deep = format!("{}{}", "[".repeat(300_000), "]".repeat(300_000));
    for value in [r#"{"b": [1.50e3, "x\u00e9"]}"#, "[]", r#""x\n""#, "12e1", "true", "false", &deep]
    {
        check_fields(columns, &format!(r#"{{"a": {value} }}"#), &[json(value)]).await;
    }
    check_fields(columns, r#"{"a":null}"#, &[Field::Null]).await;
    check_fields(columns, "{}", &[Field::Absent]).await;
    check_refused(columns, r#"{"a":[s3cret]}"#, "not JSON at line 1 column").await;
    check_refused(columns, r#"{"a":[],"a":[]}"#, "a: is there more than once").await;
}

/// As a change of a table's row has them.
const CHANGE: &[(&str, Kind)] = &[
    ("op", Kind::Text),
    ("after.id", Kind::Id),
    ("after.at.day", Kind::Text),
    ("after.amount", Kind::Decimal),
];

#[tokio::test]
async fn points_lead_into_inner_objects() {
    let all = [text("u"), number("7"), text("Monday"), number("-1.50")];
    check_fields(
        CHANGE,
        r#"{"id":1,"after":{"amount":-1.50,"id":7,"x":{"id":2},"at":{"day":"Monday","id":3}},"op":"u"}"#,
        &all,
    )
    .await;
    check_fields(
        CHANGE,
        r#"{"op":"d"}"#,
        &[text("d"), Field::Absent, Field::Absent, Field::Absent],
    )
    .await;
    check_fields(
        CHANGE,
        r#"{"after": null, "op":"d"}"#,
        &[text("d"), Field::Null, Field::Null, Field::Null],
    )
    .await;
    check_fields(
        CHANGE,
        r#"{"after":{"at":null,"id":null}}"#,
        &[Field::Absent, Field::Null, Field::Null, Field::Absent],
    )
    .await;
    check_fields(CHANGE, r#"{"after.id":7,"after":{}}"#, &[(); 4].map(|()| Field::Absent)).await;
}

#[tokio::test]
async fn what_columns_are_in_is_an_object_that_is_there_once() {
    for (value, what) in [
        ("[1]", "a list"),
        (r#""s3cret""#, "a text"),
        (r#""s3cret\n""#, "a text"),
        ("1", "a number"),
        ("-1", "a number"),
        ("1.5", "a number"),
        ("true", "true or false"),
    ] {
        let words = format!("after: {what} instead of an object");
        check_refused(CHANGE, &format!(r#"{{"after":{value}}}"#), &words).await;
        let words = format!("after.at: {what} instead of an object");
        check_refused(CHANGE, &format!(r#"{{"after":{{"at":{value}}}}}"#), &words).await;
    }
    let twice = "after: is there more than once";
    check_refused(CHANGE, r#"{"after":{"id":1},"after":{"amount":2}}"#, twice).await;
    check_refused(CHANGE, r#"{"after":null,"after":{}}"#, twice).await;
    check_refused(CHANGE, r#"{"after":{"id":1,"id":1}}"#, "after.id: is there more than once")
        .await;
    check_refused(CHANGE, r#"{"after":{"amount":[]}}"#, "after.amount: a list instead of a text")
        .await;
    check_refused(CHANGE, r#"{"after":{"id":1}"#, "ends too early").await;
    check_refused(CHANGE, r#"{"after":{"id":1,}}"#, "not JSON at line").await;
}

#[tokio::test]
async fn an_object_may_be_a_column_and_hold_others() {
    let columns = &[("after", Kind::Json), ("after.id", Kind::Id)];
    let all = [json(r#"{"x":1, "id":7}"#), number("7")];
    check_fields(columns, r#"{"after":{"x":1, "id":7}}"#, &all).await;
    check_fields(columns, r#"{"after":null}"#, &[Field::Null, Field::Null]).await;
    check_refused(columns, r#"{"after":[]}"#, "after: a list instead of an object").await;
    check_refused(columns, r#"{"after":{"id":[]}}"#, "after.id: a list instead of a text").await;
    check_refused(columns, r#"{"after":{},"after":{}}"#, "after: is there more than once").await;
}

#[tokio::test]
async fn what_stands_in_the_record_as_it_is_shares_its_bytes() {
    let columns = ["a", "b.c", "d", "e", "f"].map(|name| Column::new(name, Kind::Text));
    let columns = [&columns[..], &[Column::new("g", Kind::Json)]].concat();
    let payload = r#"{"a":"é","b":{"c":" x "},"d":1.50,"e":"\u0041","f":1e2,"g":["x\n"]}"#;
    let payload = Bytes::from_static(payload.as_bytes());
    let fields = Decoder::new(&columns, &TimeUnits::new(), Envelope::Plain, None)
        .decode(Some(&payload))
        .await
        .unwrap()
        .unwrap();
    let expected =
        [text("é"), text(" x "), number("1.50"), text("A"), number("100"), json(r#"["x\n"]"#)];
    assert_eq!(fields, expected);
    let shared: Vec<bool> = fields.iter().map(|field| is_shared(field, &payload)).collect();
    assert_eq!(shared, [true, true, true, false, false, true]);
}
