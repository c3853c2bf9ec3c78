//! What the engine has to know of one kind of record.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::Reason;
use crate::amount::Notation;

/// One kind of record, end to end: how it is read, when it is valid, what is unusual about it.
///
/// The engine, the sources and the stores are generic over it and know no flow by name.
pub trait Flow: Send + Sync + Sized + 'static {
    /// The name in the ledger, the metrics and the settings.
    const NAME: &'static str;
    /// The columns that an input table must have, in the order in which reports list them.
    const COLUMNS: &'static [Column];
    /// The quality rules, by name; [`Flow::judge`] answers in this order.
    const RULES: &'static [&'static str];

    /// A record as it was read: every column as text or absent. Sources deserialize into it.
    type Wire: Serialize + DeserializeOwned + Send + 'static;
    /// A validated record; it cannot be built otherwise.
    type Record: Send + Sync + 'static;
    /// What the model says of a record; `()` for a flow that asks none.
    type Answer: Send + Sync + 'static;
    /// What is remembered of earlier batches of a partition in order to judge the next one.
    type Stats: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The record, or one reason that names the first fault by code and all of them in its message. `notation` is how
    /// the source writes amounts.
    fn validate(wire: Self::Wire, notation: Notation) -> Result<Self::Record, Reason>;

    /// For each of [`Flow::RULES`] the indices of the records that break it, judged against `stats`, which then
    /// learns from all of `records`. The result depends on nothing else.
    fn judge(stats: &mut Self::Stats, records: &[Self::Record]) -> Vec<Vec<usize>>;

    /// The name under which a summary counts this answer.
    fn tally_name(answer: &Self::Answer) -> Option<&str>;
}

/// A flow whose records a model puts into one category each.
pub trait Classified: Flow<Answer = String> {
    /// What the model is shown of a record.
    type Question<'a>: Serialize;

    /// The id by which an answer is matched to its record.
    fn id(record: &Self::Record) -> Uuid;

    /// The record with the table's column names.
    fn question(record: &Self::Record) -> Self::Question<'_>;
}

/// A column of an input table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the header.
    pub name: &'static str,
    /// What its text stands for.
    pub kind: Kind,
}

/// What the text of a column stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The record's id: a dead letter's key.
    Id,
    /// An amount: what [`Notation`] is about.
    Decimal,
    /// A date with a time.
    Timestamp,
    /// Anything else.
    Text,
}
