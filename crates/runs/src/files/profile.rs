//! Profiles of the files' columns.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::NaiveDateTime;
use serde::Serialize;
use tally_domain::amount::{Amount, Notation};
use tally_domain::{Column, Flow, Kind, id, timestamp};
use tally_ports::{Batch, Fault, Source};

/// A column with more different values than this is not listed value by value.
const FEW: usize = 12;
/// Values with more characters than this are not listed.
const SHORT: usize = 64;

/// The profile of each column, by name.
pub type Profiles = Arc<Mutex<BTreeMap<String, ColumnProfile>>>;

/// The profile of one column.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ColumnProfile {
    /// How many records have no value or a blank one.
    pub missing: u64,
    /// The least value that could be read.
    pub least: Option<Extreme>,
    /// The greatest value that could be read.
    pub greatest: Option<Extreme>,
    /// The different values and how often each occurs; null when there are too many.
    pub distinct: Option<BTreeMap<String, u64>>,
    #[serde(skip)]
    has_many: bool,
}

/// A value that could be read, and its text.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Extreme {
    /// Its text in the file.
    pub text: String,
    #[serde(skip)]
    value: Value,
}

/// The value for comparisons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Id(u128),
    Decimal(Amount),
    Timestamp(NaiveDateTime),
    Text(String),
}

/// A source that profiles the columns of its records.
pub struct Profiled<S> {
    source: S,
    flow: Arc<dyn Flow>,
    /// The profiles, if wanted.
    columns: Option<Profiles>,
}

impl<S> Profiled<S> {
    /// Profiles what `source` reads for `flow` in `columns`, if given.
    pub fn new(source: S, flow: &Arc<dyn Flow>, columns: Option<Profiles>) -> Self {
        Self { source, flow: Arc::clone(flow), columns }
    }
}

impl<S: Source> Source for Profiled<S> {
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch>, Fault> {
        let batch = self.source.next_batch(limit).await?;
        if let (Some(columns), Some(batch)) = (&self.columns, &batch)
            && let Ok(mut columns) = columns.lock()
        {
            for fields in batch.items.iter().filter_map(|item| item.content.as_ref().ok()) {
                for (column, field) in self.flow.columns().iter().zip(fields) {
                    let facts = columns.entry(column.name.to_string()).or_default();
                    facts.note(column, field.text().as_deref(), batch.notation);
                }
            }
        }
        Ok(batch)
    }
}

impl ColumnProfile {
    fn note(&mut self, column: &Column, text: Option<&str>, notation: Notation) {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            self.missing += 1;
            return;
        };
        if let Some(value) = Value::read(column.kind, text, notation) {
            keep(&mut self.least, text, &value, Ordering::Less);
            keep(&mut self.greatest, text, &value, Ordering::Greater);
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

fn keep(extreme: &mut Option<Extreme>, text: &str, value: &Value, side: Ordering) {
    if extreme.as_ref().is_none_or(|extreme| value.cmp(&extreme.value) == side) {
        let text = text.chars().take(SHORT).collect();
        *extreme = Some(Extreme { text, value: value.clone() });
    }
}

impl Value {
    fn read(kind: Kind, text: &str, notation: Notation) -> Option<Self> {
        match kind {
            Kind::Id => id::parse(text).map(|id| Self::Id(id.as_u128())),
            Kind::Decimal => Amount::parse(text, notation).ok()?.amount.map(Self::Decimal),
            Kind::Timestamp => timestamp::parse(text).map(Self::Timestamp),
            Kind::Text | Kind::Boolean | Kind::Json => {
                Some(Self::Text(text.chars().take(SHORT).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tally_domain::amount::DecimalSign;

    use super::*;

    fn facts(kind: Kind, texts: &[&str]) -> ColumnProfile {
        let mut facts = ColumnProfile::default();
        for text in texts {
            facts.note(&Column::new("x", kind), Some(text), Notation::Shown(DecimalSign::Comma));
        }
        facts
    }

    #[track_caller]
    fn check(kind: Kind, texts: &[&str], least: &str, greatest: &str) {
        let facts = facts(kind, texts);
        assert_eq!(
            (text(facts.least.as_ref()), text(facts.greatest.as_ref())),
            (Some(least), Some(greatest))
        );
    }

    fn text(extreme: Option<&Extreme>) -> Option<&str> {
        extreme.map(|extreme| &*extreme.text)
    }

    /// Values are compared as read in their own file, whatever the next file's decimal sign.
    #[test]
    fn files_may_have_different_decimal_signs() {
        let mut facts = ColumnProfile::default();
        let column = Column::new("amount", Kind::Decimal);
        let comma = Notation::Shown(DecimalSign::Comma);
        for text in ["900,00", "-700,00"] {
            facts.note(&column, Some(text), comma);
        }
        for text in ["5.00", "-1.00"] {
            facts.note(&column, Some(text), Notation::Shown(DecimalSign::Point));
        }
        assert_eq!(
            (text(facts.least.as_ref()), text(facts.greatest.as_ref())),
            (Some("-700,00"), Some("900,00"))
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
