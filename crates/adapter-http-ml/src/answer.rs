//! What an answer of the model says of each record.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// Characters of a category, at most.
const CATEGORY_CHARACTERS: usize = 64;

/// What the model says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// No fit item names the record.
    Nothing,
    /// It names the record, but with no category, an unusable one, or two different ones.
    NoCategory,
    /// One category, as the model wrote it.
    Category(String),
}

/// What `body` says of each of the records `asked` for, in their order; it names at least one of them. Items that are
/// not fit are ignored, and so are ids that were not asked for.
///
/// `asked` holds no id twice.
pub(crate) fn read(body: &[u8], asked: &[Uuid]) -> Result<Vec<Said>, Unfit> {
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
        let Some(item) = Item::fit(item) else { continue };
        otherwise = Unfit::NamesNone;
        let Some(place) = Uuid::try_parse(&item.transaction_id).ok().and_then(|id| places.find(id))
        else {
            continue;
        };
        let category = item.category.map(|Text(text)| text);
        match &heard[place] {
            Heard::Nothing => heard[place] = Heard::Once(category),
            Heard::Once(earlier) if *earlier != category => heard[place] = Heard::Contradiction,
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

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "the answer is not JSON",
            Self::NoList | Self::NoFitItem => {
                "the answer is not a list of objects with the texts transaction_id and category"
            }
            Self::NamesNone => "the answer covers none of the records asked for",
        })
    }
}

/// A fit element of the list.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    transaction_id: Cow<'a, str>,
    /// `null` says that the model knows none. An item without the field is not fit: serde takes that as an error where
    /// `deserialize_with` is given.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    category: Option<Text<'a>>,
}

impl<'a> Item<'a> {
    /// What is not fit costs no neighbour: an element that is no object, whose two fields are not there once each, or
    /// whose texts are not Unicode (half of a surrogate pair). Its other fields are only passed over.
    fn fit(element: &'a RawValue) -> Option<Self> {
        // Serde would take a list of two texts as well.
        let object = element.get().starts_with('{').then(|| element.get())?;
        serde_json::from_str(object).ok()
    }
}

/// A text that borrows where it can, which a `Cow` inside an `Option` does not.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What was said of one record so far.
#[derive(Clone)]
enum Heard<'a> {
    Nothing,
    Once(Option<Cow<'a, str>>),
    Contradiction,
}

impl Heard<'_> {
    fn conclude(self) -> Said {
        match self {
            Self::Nothing => Said::Nothing,
            Self::Once(Some(text)) if is_category(&text) => Said::Category(text.into_owned()),
            Self::Once(_) | Self::Contradiction => Said::NoCategory,
        }
    }
}

/// Blanks around a category belong to it, but blanks alone are none, as in the columns of a record. U+0000 cannot be
/// stored.
fn is_category(text: &str) -> bool {
    let is_short = text.len() <= CATEGORY_CHARACTERS || text.chars().count() <= CATEGORY_CHARACTERS;
    is_short && !text.trim().is_empty() && !text.contains('\0')
}

/// Finds the places of ids; at once as long as they come in the order in which they were asked for.
struct Places<'a> {
    asked: &'a [Uuid],
    next: usize,
    /// Made when an id first comes out of order.
    by_id: Option<HashMap<Uuid, usize>>,
}

impl<'a> Places<'a> {
    fn new(asked: &'a [Uuid]) -> Self {
        Self { asked, next: 0, by_id: None }
    }

    fn find(&mut self, id: Uuid) -> Option<usize> {
        let place = if self.asked.get(self.next) == Some(&id) {
            self.next
        } else {
            let numbered =
                || self.asked.iter().enumerate().map(|(place, &id)| (id, place)).collect();
            *self.by_id.get_or_insert_with(numbered).get(&id)?
        };
        self.next = place + 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let asked = [A, B, C].map(|id| Uuid::try_parse(id).unwrap());
        let said = read(format!("[{}]", items.join(", ")).as_bytes(), &asked).unwrap();
        let shown: Vec<&str> = said
            .iter()
            .map(|said| match said {
                Said::Nothing => "",
                Said::NoCategory => "-",
                Said::Category(category) => category,
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
        let asked = [A, B, C].map(|id| Uuid::try_parse(id).unwrap());
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
        let unfit = |body: &[u8]| read(body, &[Uuid::nil()]).unwrap_err();
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
        read(&no_text, &[nil]).unwrap();
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
        Said::Category("Food".to_owned())
    }
}
