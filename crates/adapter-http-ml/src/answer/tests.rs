use tally_domain::transactions::Transactions;
use tally_domain::{Decimal, Flow};
use uuid::Uuid;

use super::*;

/// What is said of transactions.
fn read(body: &[u8], asked: &[Value]) -> Result<Vec<Reply>, Unfit> {
    let asked: Vec<&Value> = asked.iter().collect();
    super::read(body, &asked, Transactions::default().model().unwrap(), Type::Uuid)
}

fn uuid(text: &str) -> Value {
    Value::Uuid(Uuid::try_parse(text).unwrap())
}

const A: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const B: &str = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const C: &str = "c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

/// Checks what is said of A, B and C by an answer made of `(id, category)`, the category being JSON.
#[track_caller]
fn check(items: &[(&str, &str)], expected: [&str; 3]) {
    let items: Vec<String> = items
        .iter()
        .map(|(id, category)| {
            format!(r#"{{"transaction_id": "{id}", "score": 0.5, "category": {category}}}"#)
        })
        .collect();
    let asked = [A, B, C].map(uuid);
    let said = read(format!("[{}]", items.join(", ")).as_bytes(), &asked).unwrap();
    let shown: Vec<&str> = said
        .iter()
        .map(|said| match said {
            Reply::Nothing => "",
            Reply::Unusable => "-",
            Reply::Answer(answer) => answer[0].as_str().unwrap(),
        })
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn answers_are_matched_by_id() {
    check(&[(A, r#""Food""#), (B, r#""Rent""#), (C, r#""Travel""#)], ["Food", "Rent", "Travel"]);
    check(&[(C, r#""Travel""#), (A, r#""Food""#), (B, r#""Rent""#)], ["Food", "Rent", "Travel"]);
    check(&[(A, r#""Food""#), (C, r#""Travel""#)], ["Food", "", "Travel"]);
    check(&[(&B.to_uppercase(), r#""Rent""#)], ["", "Rent", ""]);
}

#[test]
fn unknown_ids_are_ignored() {
    let unknown = "d0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    check(
        &[(unknown, r#""Food""#), (A, r#""Rent""#), ("", r#""Food""#), ("7", "null")],
        ["Rent", "", ""],
    );
}

#[test]
fn the_same_twice_is_one_and_two_different_ones_are_none() {
    check(&[(A, r#""Food""#), (A, r#""Food""#)], ["Food", "", ""]);
    check(&[(A, r#""Food""#), (B, r#""Rent""#), (A, r#""F\u006fod""#)], ["Food", "Rent", ""]);
    check(
        &[(A, r#""Food""#), (A, r#""Rent""#), (A, r#""Food""#), (B, r#""Rent""#)],
        ["-", "Rent", ""],
    );
    check(&[(A, r#""Food""#), (A, "null")], ["-", "", ""]);
    check(&[(A, r#""""#), (A, r#""Food""#)], ["-", "", ""]);
    check(&[(A, r#""Food""#), (A, r#""food""#)], ["-", "", ""]);
}

#[test]
fn a_category_has_1_to_64_characters_that_are_not_all_blank() {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let (longest, too_long) = ("é".repeat(64), "e".repeat(65));
    check(&[(A, r#""x""#), (B, &quoted(&longest)), (C, &quoted(&too_long))], ["x", &longest, "-"]);
    check(&[(A, r#""""#), (B, r#"" \t\u00a0""#), (C, r#"" Food ""#)], ["-", "-", "Food"]);
    check(&[(A, "null"), (B, r#""Fo\u0000od""#), (C, r#""\u00c9t\u00e9""#)], ["-", "-", "Été"]);
}

/// Checks what an answer of A's item, then this one, then C's says of A, B and C.
#[track_caller]
fn check_between(item: &str, expected: &[Reply; 3]) {
    let [a, c] = [A, C].map(|id| format!(r#"{{"transaction_id": "{id}", "category": "Food"}}"#));
    let asked = [A, B, C].map(uuid);
    let said = read(format!("[{a}, {item},\n{c}]").as_bytes(), &asked).unwrap();
    assert_eq!(said, expected, "{item}");

    let alone = format!("[{item}]");
    let is_fit = expected[1] != Reply::Nothing;
    let expected = if is_fit { Ok(vec![expected[1].clone()]) } else { Err(Unfit::NoFitItem) };
    assert_eq!(read(alone.as_bytes(), &asked[1..2]), expected, "{item} alone");
}

#[test]
fn an_item_that_is_not_fit_is_no_answer_for_its_record_alone() {
    let id = format!(r#""transaction_id": "{B}""#);
    for item in [
        format!("{{{id}}}"),
        format!(r#"{{{id}, "category": 5}}"#),
        format!(r#"{{{id}, "category": true}}"#),
        format!(r#"{{{id}, "category": ["Food"]}}"#),
        format!(r#"{{{id}, "category": {{"name": "Food"}}}}"#),
        format!(r#"{{{id}, "category": "\ud800"}}"#),
        format!(r#"{{{id}, "category": "Fo\udc00od"}}"#),
        format!(r#"{{{id}, "category": "Food", "category": "Food"}}"#),
        format!(r#"{{{id}, {id}, "category": "Food"}}"#),
        format!(r#"["{B}", "Food"]"#),
        format!(r#"[{{{id}, "category": "Food"}}]"#),
        format!(r#""{B}""#),
        r#"{"category": "Food"}"#.to_owned(),
        r#"{"transaction_id": null, "category": "Food"}"#.to_owned(),
        r#"{"transaction_id": 5, "category": "Food"}"#.to_owned(),
        r#"{"transaction_id": ["\ud800"], "category": "Food"}"#.to_owned(),
        format!(r#"{{"transaction_id": "{B}\ud800", "category": "Food"}}"#),
        "{}".to_owned(),
        "null".to_owned(),
        "1".to_owned(),
        r#""\ud800""#.to_owned(),
    ] {
        check_between(&item, &[food(), Reply::Nothing, food()]);
    }
}

#[test]
fn other_fields_of_an_item_are_passed_over() {
    for note in [r#""\ud800""#, r#"["\udc00", {"a": "\ud800\ud800"}]"#, "1e999", "null"] {
        let fields = format!(r#""transaction_id": "{B}", "category": "Food""#);
        check_between(&format!(r#"{{{fields}, "note": {note}}}"#), &[food(), food(), food()]);
        check_between(&format!(r#"{{"note": {note}, {fields}}}"#), &[food(), food(), food()]);
    }
}

#[test]
fn an_item_that_is_not_fit_changes_nothing_of_one_that_is() {
    check(&[(A, "5"), (A, r#""Food""#), (B, r#""Rent""#), (B, "[]")], ["Food", "Rent", ""]);
    check(&[(A, r#""Food""#), (A, r#""\ud800""#), (A, r#""Rent""#)], ["-", "", ""]);
}

#[test]
fn an_answer_without_one_fit_item_is_not_fit() {
    let unfit = |body: &[u8]| read(body, &[Value::Uuid(Uuid::nil())]).unwrap_err();
    for body in [
        "",
        "<html>",
        "[",
        r#"[{"transaction_id": "x""#,
        "[] []",
        "[,]",
        "\u{feff}[]",
        r#"["\u12"]"#,
        r#"[{"transaction_id": "x", "category": "y"} {}]"#,
    ] {
        assert_eq!(unfit(body.as_bytes()), Unfit::NotJson, "{body}");
    }
    let nil = Uuid::nil();
    let mut no_text =
        format!(r#"[{{"transaction_id": "{nil}", "category": "y", "note": "?"}}]"#).into_bytes();
    read(&no_text, &[Value::Uuid(nil)]).unwrap();
    let place = no_text.iter().position(|&byte| byte == b'?').unwrap();
    no_text[place] = 0xff;
    assert_eq!(unfit(&no_text), Unfit::NotJson);
    for body in ["null", "5", r#""x""#, "{}", r#"{"transaction_id": "x", "category": "y"}"#] {
        assert_eq!(unfit(body.as_bytes()), Unfit::NoList, "{body}");
    }
    for body in ["[1]", "[[], null, {}]", r#"[{"transaction_id": "x"}, {"category": "y"}]"#] {
        assert_eq!(unfit(body.as_bytes()), Unfit::NoFitItem, "{body}");
    }
    for body in [
        "[]",
        r#"[{"transaction_id": "x", "category": "y"}]"#,
        &format!(r#"[{{"transaction_id": "{A}", "category": "y"}}, 1]"#),
        &format!(
            r#"[{{"transaction_id": "{nil}", "category": 5}}, {{"transaction_id": "{A}", "category": null}}]"#
        ),
    ] {
        assert_eq!(unfit(body.as_bytes()), Unfit::NamesNone, "{body}");
    }
}

fn food() -> Reply {
    Reply::Answer([Value::Text("Food".into())].into())
}

#[test]
fn an_answer_may_have_several_fields_and_ids_of_other_kinds() {
    let field = |name: &'static str, kind| tally_domain::AnswerField { name: name.into(), kind };
    let api = ModelApi {
        path: "score".into(),
        table: 0,
        request: vec![0],
        id: 0,
        answer_id: "invoice".into(),
        answers: vec![
            field("score", Type::Decimal { precision: 5, scale: 4 }),
            field("decision", Type::Text { limit: Some(8) }),
        ],
    };
    let body = br#"[
        {"invoice": 1, "score": 0.1230, "decision": "pay"}, {"invoice": 2, "score": "0.5", "decision": "pay"},
        {"invoice": 3, "score": 0.12345, "decision": "pay"}, {"invoice": "4", "score": 1, "decision": "pay"},
        {"invoice": 5, "score": 1}, {"invoice": 6, "score": null, "decision": "pay"}, {"invoice": 7, "decision": "hold", "score": 1}]"#;
    let asked: Vec<Value> = (1..=7).map(Value::Integer).collect();
    let said = super::read(body, &asked.iter().collect::<Vec<_>>(), &api, Type::Integer).unwrap();
    let answer = |unscaled, text: &'static str| {
        let score = Value::Decimal(Decimal { unscaled, scale: 4 });
        Reply::Answer([score, Value::Text(text.into())].into())
    };
    let (nothing, unusable) = (Reply::Nothing, Reply::Unusable);
    let expected = [
        answer(1230, "pay"),
        nothing.clone(),
        unusable.clone(),
        nothing.clone(),
        nothing,
        unusable,
        answer(10_000, "hold"),
    ];
    assert_eq!(said, expected);
    let fields =
        "the answer is not a list of objects with the fields invoice and score and decision";
    assert_eq!(Unfit::NoList.told(&api), fields);
}
