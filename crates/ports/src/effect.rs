//! What a batch's rows did to a flow's tables.

mod counters;
mod earlier;
mod writes;

use tally_domain::{Flow, Reason};

use crate::Stream;

pub use self::counters::check_counters;
pub use self::earlier::{
    Earlier, OpenDeadLetter, counts, notes_ranges, outdates_by_key, written_keys,
};
pub use self::writes::{Together, TogetherRow, Verdict, Writes};

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store holds its effect.
    Written,
    /// A newer version of its key was written, in this batch or before it.
    Superseded,
    /// It has no effect by the flow's rule.
    Skipped,
    /// The database refused it.
    Refused(Refusal),
}

/// Why the database refused a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The SQLSTATE or `SQLite`'s constraint kind.
    pub code: String,
    /// The name of the constraint, where the database names one. Never a value of the row.
    pub constraint: Option<String>,
}

impl Refusal {
    /// One of which only the code is known.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), constraint: None }
    }
}

impl From<&Refusal> for Reason {
    fn from(Refusal { code, constraint }: &Refusal) -> Self {
        Self::refused_by_database(code, constraint.as_deref())
    }
}

/// Where rows come from, as their tables name it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What the rows are.
    pub flow: &'a dyn Flow,
    /// The position's row.
    pub id: i64,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: &'a str,
    /// 0 for a file.
    pub partition: i32,
    /// Which log of that name it is, from 1.
    pub log: i64,
}

impl Origin<'_> {
    /// The partition, under its name.
    pub fn to_stream(&self) -> Stream {
        let (flow, name) = (self.flow.name().to_owned(), self.stream.to_owned());
        Stream { flow, label: name.clone(), name, partition: self.partition }
    }
}
