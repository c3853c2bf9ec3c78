//! What an answer of the model says of each record.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess};
use serde_json::value::RawValue;
use tally_domain::{Decimal, ModelApi, Type, Value};
use tally_ports::Answer;
use uuid::Uuid;

/// What the model says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// No fit item names the record.
    Nothing,
    /// It names the record, but with nothing, an unusable value, or two different ones.
    Unusable,
    /// One answer.
    Answer(Answer),
}

/// What `body` says of each of the records `asked` for, in their order; it names at least one of them. Items that are
/// not fit are ignored, and so are ids that were not asked for.
///
/// `asked` holds no id twice. `id_kind` is what the ids are.
pub(crate) fn read(
    body: &[u8],
    asked: &[Value],
    api: &ModelApi,
    id_kind: Type,
) -> Result<Vec<Said>, Unfit> {
    let text = str::from_utf8(body).map_err(|_| Unfit::NotJson)?;
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Unfit::NoList,
            _ => Unfit::NotJson,
        })?;

    let mut places = Places::new(asked);
    let mut heard = vec![Heard::Nothing; asked.len()];
    let mut otherwise = if items.is_empty() { Unfit::NamesNone } else { Unfit::NoFitItem };
    for item in items {
        let Some(Item { id, answer }) = Item::fit(item, api, id_kind) else { continue };
        otherwise = Unfit::NamesNone;
        let Some(place) = id.and_then(|id| places.find(&id)) else { continue };
        match &heard[place] {
            Heard::Nothing => heard[place] = Heard::Once(answer),
            Heard::Once(earlier) if *earlier != answer => heard[place] = Heard::Contradiction,
            Heard::Once(_) | Heard::Contradiction => {}
        }
    }
    if heard.iter().all(|heard| matches!(heard, Heard::Nothing)) {
        return Err(otherwise);
    }
    Ok(heard.into_iter().map(Heard::conclude).collect())
}

/// Why an answer is not fit. Its text holds nothing of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The answer is not JSON, or ends too early.
    NotJson,
    /// It is JSON, but no list.
    NoList,
    /// It is a list of items of which not one is fit.
    NoFitItem,
    /// No fit item names a record that was asked for.
    NamesNone,
}

impl Unfit {
    /// For people, with the fields that an item has by `api`.
    pub(crate) fn told(self, api: &ModelApi) -> String {
        match self {
            Self::NotJson => "the answer is not JSON".to_owned(),
            Self::NoList | Self::NoFitItem => {
                let (id, fields) = (&api.answer_id, Names(api));
                format!("the answer is not a list of objects with the fields {id} and {fields}")
            }
            Self::NamesNone => "the answer covers none of the records asked for".to_owned(),
        }
    }
}

/// The names of an answer's fields, for people.
pub(crate) struct Names<'a>(pub(crate) &'a ModelApi);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.0.answers.iter().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            f.write_str(&field.name)?;
        }
        Ok(())
    }
}

/// A fit element of the list.
struct Item {
    /// `None` for a text that is no id.
    id: Option<Value>,
    /// `None` where it says that the model knows none, or something that no column can hold.
    answer: Option<Answer>,
}

impl Item {
    /// What is not fit costs no neighbour: an element that is no object, whose fields are not there once each, of another
    /// kind, or whose texts are not Unicode (half of a surrogate pair). Its other fields are only passed over.
    fn fit(element: &RawValue, api: &ModelApi, id_kind: Type) -> Option<Self> {
        let object = element.get().starts_with('{').then(|| element.get())?;
        let mut json = serde_json::Deserializer::from_str(object);
        let fields = json.deserialize_map(Members(api)).ok()?;
        let (id, answers) = fields.split_first()?;
        let id = read_id((*id)?, id_kind).ok()?;
        let mut answer = Some(Vec::with_capacity(answers.len()));
        for (field, raw) in api.answers.iter().zip(answers) {
            match (read_value((*raw)?, field.kind).ok()?, &mut answer) {
                (Some(value), Some(values)) => values.push(value),
                (None, answer) => *answer = None,
                (Some(_), None) => {}
            }
        }
        Some(Self { id, answer })
    }
}

/// Reads the members of an item: the id, then the fields of the answer; one that is there twice is an error.
struct Members<'a>(&'a ModelApi);

impl<'de> de::Visitor<'de> for Members<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let ModelApi { answer_id, answers, .. } = self.0;
        let mut fields = vec![None; 1 + answers.len()];
        while let Some(Text(name)) = map.next_key()? {
            let place = if name == *answer_id {
                Some(0)
            } else {
                answers.iter().position(|field| field.name == name).map(|place| place + 1)
            };
            match place {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(place) if fields[place].is_some() => {
                    return Err(de::Error::custom("a field is there twice"));
                }
                Some(place) => fields[place] = Some(map.next_value()?),
            }
        }
        Ok(fields)
    }
}

/// A text that borrows where it can.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
}

/// A value is of another kind than its field.
struct OtherKind;

/// The id; `None` for a text that is none.
fn read_id(raw: &RawValue, kind: Type) -> Result<Option<Value>, OtherKind> {
    if kind == Type::Integer {
        let number = raw.get().parse().map_err(|_| OtherKind)?;
        return Ok(Some(Value::Integer(number)));
    }
    let text = read_text(raw).ok_or(OtherKind)?;
    Ok(match kind {
        Type::Uuid => Uuid::try_parse(&text).ok().map(Value::Uuid),
        _ => Some(Value::Text(text.into_owned().into())),
    })
}

/// The value of a field; `None` where it is `null` or no column could hold it.
fn read_value(raw: &RawValue, kind: Type) -> Result<Option<Value>, OtherKind> {
    let json = raw.get();
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    Ok(match kind {
        _ if json == "null" => None,
        Type::Boolean => Some(Value::Boolean(json.parse().map_err(|_| OtherKind)?)),
        Type::Integer if is_number => json.parse().ok().map(Value::Integer),
        Type::Decimal { precision, scale } if is_number => {
            Decimal::parse(json, precision, scale).map(Value::Decimal)
        }
        Type::Text { limit } => {
            let text = read_text(raw).ok_or(OtherKind)?;
            is_usable(&text, limit).then(|| Value::Text(text.into_owned().into()))
        }
        Type::Json => Some(Value::Json(json.into())),
        _ => return Err(OtherKind),
    })
}

/// Blanks around a text belong to it, but blanks alone are none, as in the columns of a record. U+0000 cannot be stored.
fn is_usable(text: &str, limit: Option<usize>) -> bool {
    let is_short = limit.is_none_or(|most| text.len() <= most || text.chars().count() <= most);
    is_short && !text.trim().is_empty() && !text.contains('\0')
}

/// What was said of one record so far.
#[derive(Clone)]
enum Heard {
    Nothing,
    Once(Option<Answer>),
    Contradiction,
}

impl Heard {
    fn conclude(self) -> Said {
        match self {
            Self::Nothing => Said::Nothing,
            Self::Once(Some(answer)) => Said::Answer(answer),
            Self::Once(None) | Self::Contradiction => Said::Unusable,
        }
    }
}

/// Finds the places of ids; at once as long as they come in the order in which they were asked for.
struct Places<'a> {
    asked: &'a [Value],
    next: usize,
    /// Made when an id first comes out of order.
    by_id: Option<HashMap<&'a Value, usize>>,
}

impl<'a> Places<'a> {
    fn new(asked: &'a [Value]) -> Self {
        Self { asked, next: 0, by_id: None }
    }

    fn find(&mut self, id: &Value) -> Option<usize> {
        let place = if self.asked.get(self.next) == Some(id) {
            self.next
        } else {
            let numbered =
                || self.asked.iter().enumerate().map(|(place, id)| (id, place)).collect();
            *self.by_id.get_or_insert_with(numbered).get(id)?
        };
        self.next = place + 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use tally_domain::Flow;
    use tally_domain::transactions::Transactions;

    use super::*;

    /// What is said of transactions.
    fn read(body: &[u8], asked: &[Value]) -> Result<Vec<Said>, Unfit> {
        super::read(body, asked, Transactions::default().model().unwrap(), Type::Uuid)
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
                Said::Nothing => "",
                Said::Unusable => "-",
                Said::Answer(answer) => answer[0].as_str().unwrap(),
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn answers_are_matched_by_id() {
        check(
            &[(A, r#""Food""#), (B, r#""Rent""#), (C, r#""Travel""#)],
            ["Food", "Rent", "Travel"],
        );
        check(
            &[(C, r#""Travel""#), (A, r#""Food""#), (B, r#""Rent""#)],
            ["Food", "Rent", "Travel"],
        );
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
        check(
            &[(A, r#""x""#), (B, &quoted(&longest)), (C, &quoted(&too_long))],
            ["x", &longest, "-"],
        );
        check(&[(A, r#""""#), (B, r#"" \t\u00a0""#), (C, r#"" Food ""#)], ["-", "-", " Food "]);
        check(&[(A, "null"), (B, r#""Fo\u0000od""#), (C, r#""\u00c9t\u00e9""#)], ["-", "-", "Été"]);
    }

    /// Checks what an answer of A's item, then this one, then C's says of A, B and C.
    #[track_caller]
    fn check_between(item: &str, expected: &[Said; 3]) {
        let [a, c] =
            [A, C].map(|id| format!(r#"{{"transaction_id": "{id}", "category": "Food"}}"#));
        let asked = [A, B, C].map(uuid);
        let said = read(format!("[{a}, {item},\n{c}]").as_bytes(), &asked).unwrap();
        assert_eq!(said, expected, "{item}");

        let alone = format!("[{item}]");
        let is_fit = expected[1] != Said::Nothing;
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
            check_between(&item, &[food(), Said::Nothing, food()]);
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
            format!(r#"[{{"transaction_id": "{nil}", "category": "y", "note": "?"}}]"#)
                .into_bytes();
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

    fn food() -> Said {
        Said::Answer(vec![Value::Text("Food".into())])
    }

    #[test]
    fn an_answer_may_have_several_fields_and_ids_of_other_kinds() {
        let field =
            |name: &'static str, kind| tally_domain::AnswerField { name: name.into(), kind };
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
        let said = super::read(body, &asked, &api, Type::Integer).unwrap();
        let answer = |unscaled, text: &'static str| {
            let score = Value::Decimal(Decimal { unscaled, scale: 4 });
            Said::Answer(vec![score, Value::Text(text.into())])
        };
        let (nothing, unusable) = (Said::Nothing, Said::Unusable);
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
}
