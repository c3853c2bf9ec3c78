//! Positions without a record.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The end of a transaction.
pub const MARKER: &str = "marker";
/// Written by a transaction that was aborted.
pub const ABORTED: &str = "aborted";
/// In a batch that compaction has emptied.
pub const EMPTY: &str = "empty";
/// Compacted away.
pub const HOLE: &str = "hole";
/// Skipped on purpose, as an operator accepted it.
pub const GAP: &str = "gap";

/// How many positions of a range have no record, by reason. None in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed(BTreeMap<&'static str, i64>);

impl Passed {
    /// So many for one reason.
    pub fn of(why: &'static str, count: i64) -> Self {
        Self([(why, count)].into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// So many more for one reason.
    pub fn add(&mut self, why: &'static str, count: i64) {
        *self.0.entry(why).or_default() += count;
    }

    /// How many for one reason.
    pub fn count(&self, why: &str) -> i64 {
        self.0.get(why).copied().unwrap_or(0)
    }

    /// As the ledger has it: an object of numbers.
    pub fn to_json(&self) -> Value {
        let counts = self.0.iter().map(|(why, count)| ((*why).to_owned(), Value::from(*count)));
        Value::Object(counts.collect::<Map<_, _>>())
    }

    /// From what [`to_json`](Self::to_json) made; `None` where that did not make it.
    pub fn from_json(json: &Value) -> Option<Self> {
        let reason = |name: &str| {
            [MARKER, ABORTED, EMPTY, HOLE, GAP].into_iter().find(|known| *known == name)
        };
        let counts = json.as_object()?.iter();
        counts
            .map(|(name, count)| Some((reason(name)?, count.as_i64()?)))
            .collect::<Option<_>>()
            .map(Self)
    }

    /// How many there are by what [`to_json`](Self::to_json) made; `None` where that did not make it.
    pub fn sum_of(json: &str) -> Option<i64> {
        let counts: BTreeMap<String, i64> = serde_json::from_str(json).ok()?;
        counts.values().try_fold(0_i64, |sum, count| sum.checked_add(*count))
    }
}
