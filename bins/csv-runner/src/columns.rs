//! What each column holds, for `--dry-run`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::Value;
use tally_domain::amount::{Amount, Notation};
use tally_domain::{Column, Flow, Kind, id, timestamp};
use tally_ports::{Batch, Fault, Source};

/// A column with more different values than this is not listed value by value.
const FEW: usize = 12;
/// Values with more characters than this are not listed.
const SHORT: usize = 64;

/// What each column holds, by name.
pub type Columns = Arc<Mutex<BTreeMap<&'static str, Facts>>>;

/// What one column holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// How many records have no value or a blank one.
    pub missing: u64,
    /// The least value that could be read.
    pub least: Option<String>,
    /// The greatest value that could be read.
    pub greatest: Option<String>,
    /// The different values and how often each occurs; null when there are too many.
    pub distinct: Option<BTreeMap<String, u64>>,
    #[serde(skip)]
    has_many: bool,
}

/// A source whose records' columns are noted as they pass.
pub struct Noting<S> {
    /// The source.
    pub source: S,
    /// Where to note them, if anywhere.
    pub columns: Option<Columns>,
}

impl<F: Flow, S: Source<F>> Source<F> for Noting<S> {
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch<F::Wire>>, Fault> {
        let batch = self.source.next_batch(limit).await?;
        if let (Some(columns), Some(batch)) = (&self.columns, &batch)
            && let Ok(mut columns) = columns.lock()
        {
            for wire in batch.items.iter().filter_map(|item| item.content.as_ref().ok()) {
                let Ok(Value::Object(values)) = serde_json::to_value(wire) else { continue };
                for column in F::COLUMNS {
                    let text = values.get(column.name).and_then(Value::as_str);
                    columns.entry(column.name).or_default().note(column, text, batch.notation);
                }
            }
        }
        Ok(batch)
    }
}

impl Facts {
    fn note(&mut self, column: &Column, text: Option<&str>, notation: Notation) {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            self.missing += 1;
            return;
        };
        if is_readable(column.kind, text, notation) {
            let compare = |a: &str, b: &str| compare(column.kind, a, b, notation);
            keep(&mut self.least, text, compare, Ordering::Less);
            keep(&mut self.greatest, text, compare, Ordering::Greater);
        }
        self.count(text);
    }

    fn count(&mut self, text: &str) {
        if self.has_many {
            return;
        }
        let distinct = self.distinct.get_or_insert_default();
        if text.chars().count() <= SHORT && (distinct.len() < FEW || distinct.contains_key(text)) {
            *distinct.entry(text.to_owned()).or_default() += 1;
        } else {
            self.has_many = true;
            self.distinct = None;
        }
    }
}

fn keep(
    extreme: &mut Option<String>,
    text: &str,
    compare: impl Fn(&str, &str) -> Ordering,
    side: Ordering,
) {
    if extreme.as_deref().is_none_or(|extreme| compare(text, extreme) == side) {
        *extreme = Some(text.chars().take(SHORT).collect());
    }
}

fn is_readable(kind: Kind, text: &str, notation: Notation) -> bool {
    match kind {
        Kind::Id => id::parse(text).is_some(),
        Kind::Decimal => amount(text, notation).is_some(),
        Kind::Timestamp => timestamp::parse(text).is_some(),
        Kind::Text => true,
    }
}

fn compare(kind: Kind, a: &str, b: &str, notation: Notation) -> Ordering {
    match kind {
        Kind::Id => id::parse(a).cmp(&id::parse(b)),
        Kind::Decimal => amount(a, notation).cmp(&amount(b, notation)),
        Kind::Timestamp => timestamp::parse(a).cmp(&timestamp::parse(b)),
        Kind::Text => a.cmp(b),
    }
}

fn amount(text: &str, notation: Notation) -> Option<Amount> {
    Amount::parse(text, notation).ok()?.amount
}

#[cfg(test)]
mod tests {
    use tally_domain::amount::DecimalSign;

    use super::*;

    fn facts(kind: Kind, texts: &[&str]) -> Facts {
        let mut facts = Facts::default();
        for text in texts {
            facts.note(
                &Column { name: "x", kind },
                Some(text),
                Notation::Shown(DecimalSign::Comma),
            );
        }
        facts
    }

    #[track_caller]
    fn check(kind: Kind, texts: &[&str], least: &str, greatest: &str) {
        let facts = facts(kind, texts);
        assert_eq!(
            (facts.least.as_deref(), facts.greatest.as_deref()),
            (Some(least), Some(greatest))
        );
    }

    #[test]
    fn extremes_follow_the_kind() {
        check(Kind::Decimal, &["999", "-10,5", "1.000", "1,000", "x"], "-10,5", "1.000");
        check(Kind::Id, &["9", "10", "?"], "9", "10");
        check(
            Kind::Timestamp,
            &["2024-01-02 00:00:00", "2024-01-02T01:00:00+02:00", "soon"],
            "2024-01-02T01:00:00+02:00",
            "2024-01-02 00:00:00",
        );
        check(Kind::Text, &["b", "a", "C"], "C", "b");
    }

    #[test]
    fn blanks_are_missing() {
        assert_eq!(facts(Kind::Text, &["", "  ", "a"]).missing, 2);
    }

    #[test]
    fn few_values_are_listed_and_many_are_not() {
        let few = facts(Kind::Text, &["debit", "credit", "debit"]);
        assert_eq!(few.distinct.unwrap()["debit"], 2);
        let many: Vec<String> = (0..=FEW).map(|value| value.to_string()).collect();
        assert!(
            facts(Kind::Text, &many.iter().map(String::as_str).collect::<Vec<_>>())
                .distinct
                .is_none()
        );
        assert!(facts(Kind::Text, &[&"x".repeat(SHORT + 1)]).distinct.is_none());
    }
}
