//! What a correction changes in a record.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;
use tally_app::plain;
use tally_domain::JsonObject;
use tally_ports::DeadLetterSummary;
use uuid::Uuid;

use crate::arguments::Output;
use crate::json;
use crate::list::place_of;

/// A field before and after, by its path; `None` where it is not there.
#[derive(Debug, PartialEq, Eq)]
struct Changed {
    path: String,
    before: Option<String>,
    after: Option<String>,
}

/// The changes, as lines of a diff or one line of JSON.
pub fn show(letter: &DeadLetterSummary, shown: &[Option<String>; 2], output: Output) -> String {
    let [before, after] = shown
        .each_ref()
        .map(|json| json.as_deref().and_then(JsonObject::parse).unwrap_or_default());
    let changes = changes(&before, &after, "");
    match output {
        Output::Json => json::line(&Line {
            id: letter.id,
            changes: changes.iter().map(ChangeJson::of).collect(),
        }),
        Output::Table => {
            let mut lines = format!("{}  {}\n", letter.id, plain(&place_of(letter)));
            for Changed { path, before, after } in &changes {
                for (sign, value) in [('-', before), ('+', after)] {
                    if let Some(value) = value {
                        let _never_fails =
                            writeln!(lines, "  {sign} {}: {}", plain(path), plain(value));
                    }
                }
            }
            lines
        }
    }
}

fn changes(before: &JsonObject<'_>, after: &JsonObject<'_>, within: &str) -> Vec<Changed> {
    let mut changes = Vec::new();
    let gone = before.members().filter(|(name, _)| after.get(name).is_none());
    for (name, old, new) in after
        .members()
        .map(|(name, new)| (name, before.get(name), Some(new)))
        .chain(gone.map(|(name, old)| (name, Some(old), None)))
    {
        let path = format!("{within}{name}");
        if old == new {
            continue;
        }
        match (old.and_then(JsonObject::parse), new.and_then(JsonObject::parse)) {
            (Some(old), Some(new)) => {
                changes.extend(self::changes(&old, &new, &format!("{path}.")));
            }
            _ => changes.push(Changed {
                path,
                before: old.map(str::to_owned),
                after: new.map(str::to_owned),
            }),
        }
    }
    changes
}

/// What a correction changes, for scripts.
#[derive(Serialize)]
struct Line<'a> {
    id: Uuid,
    changes: Vec<ChangeJson<'a>>,
}

/// Values that are not there are left out.
#[derive(Serialize)]
struct ChangeJson<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a RawValue>,
}

impl<'a> ChangeJson<'a> {
    fn of(Changed { path, before, after }: &'a Changed) -> Self {
        let raw = |text: &'a Option<String>| serde_json::from_str(text.as_deref()?).ok();
        Self { path, before: raw(before), after: raw(after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_differs_is_named_by_its_path() {
        let before = JsonObject::parse(r#"{"a":1,"b":{"c":[2],"d":3},"e":4}"#).unwrap();
        let after = JsonObject::parse(r#"{"a":1,"b":{"c":[5],"d":3},"f":"x"}"#).unwrap();
        let changed = |path: &str, before: Option<&str>, after: Option<&str>| Changed {
            path: path.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let expected = [
            changed("b.c", Some("[2]"), Some("[5]")),
            changed("f", None, Some("\"x\"")),
            changed("e", Some("4"), None),
        ];
        assert_eq!(changes(&before, &after, ""), expected);
    }
}
