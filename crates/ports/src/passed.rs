//! Positions without a record.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// They were skipped on purpose.
pub const GAP: &str = "gap";
/// They were compacted away.
pub const HOLE: &str = "hole";
/// The end of a transaction or a compacted record: the client cannot tell which.
pub const UNKNOWN: &str = "unknown";

/// How many positions of a range have no record, by reason. None in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed(BTreeMap<&'static str, i64>);

impl Passed {
    /// So many for one reason.
    pub fn of(why: &'static str, count: i64) -> Self {
        Self([(why, count)].into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// As the ledger has it: an object of numbers.
    pub fn to_json(&self) -> Value {
        let counts = self.0.iter().map(|(why, count)| ((*why).to_owned(), Value::from(*count)));
        Value::Object(counts.collect::<Map<_, _>>())
    }

    /// How many there are by what [`to_json`](Self::to_json) made; `None` where that did not make it.
    pub fn sum_of(json: &str) -> Option<i64> {
        let counts: BTreeMap<String, i64> = serde_json::from_str(json).ok()?;
        counts.values().try_fold(0_i64, |sum, count| sum.checked_add(*count))
    }
}
