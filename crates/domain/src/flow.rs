//! What the engine has to know about one kind of record.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde_json::Value as Json;

use crate::publish::Output;
use crate::quality::Judged;
use crate::record::{Record, Type};
use crate::table::{History, Table};
use crate::top::Top;
use crate::{Incoming, Raw, Reason};

/// A name that is known at compile time or only at run time.
pub type Name = Cow<'static, str>;

/// One kind of record, end to end: its columns, validation, quality rules and writes.
///
/// A flow is a value. The engine, the sources and the stores hold one as `dyn Flow` and know none by name. They call it
/// once per batch: the methods that take one record are called by the provided ones that take many.
pub trait Flow: fmt::Debug + Send + Sync + 'static {
    /// The name in the ledger, the metrics and the settings.
    fn name(&self) -> &str;

    /// The topic that its records come from where no setting names one.
    fn topic(&self) -> &str {
        self.name()
    }

    /// The topic that its dead letters are published to where no setting names one; none are by default.
    fn dead_letter_topic(&self) -> Option<&str> {
        None
    }

    /// The columns that an input must have, in the order in which reports list them.
    fn columns(&self) -> &[Column];

    /// The envelope of its records on a topic.
    fn envelope(&self) -> Envelope {
        Envelope::Plain
    }

    /// The tables that it, and no other flow, writes.
    fn tables(&self) -> &[Table];

    /// Which of its tables keep the history of others.
    fn histories(&self) -> &[History] {
        &[]
    }

    /// The topics that it publishes to.
    fn outputs(&self) -> &[Output] {
        &[]
    }

    /// What is shown of its counters: at the end of a run, on request, and on `/metrics`, where keys are then readable.
    fn tops(&self) -> &[Top] {
        &[]
    }

    /// What a model is asked about its records, if one is.
    fn model(&self) -> Option<&ModelApi> {
        None
    }

    /// The quality rules, by name; [`Flow::judge`] answers in this order.
    fn rules(&self) -> &[Name] {
        &[]
    }

    /// The valid record with what it writes, or one reason that names the first fault by code and all of them in its
    /// message. The result depends on nothing else.
    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason>;

    /// [`Flow::read`] for each record of a batch that could be decoded, in the same order.
    fn read_all(&self, batch: Vec<Result<Incoming<'_>, Reason>>) -> Vec<Result<Record, Reason>> {
        batch.into_iter().map(|incoming| self.read(incoming?)).collect()
    }

    /// The corrected payload of a record of a topic that [`Flow::read`] refuses; `None` if the flow's rule has nothing to correct.
    /// The result depends on nothing else; whether it is valid is checked afterwards.
    fn repair(&self, raw: &Raw) -> Option<Bytes> {
        let _ = raw;
        None
    }

    /// For each of [`Flow::rules`] the indices of the records that break it, judged against `stats`, which then learns
    /// from all of them; null at the start of a partition. The result depends on nothing else, and what it says of a record
    /// not on how records came in batches. By default what the records [break](Record::breaks) by themselves.
    ///
    /// # Errors
    /// When `stats` is not what this flow remembers.
    fn judge(&self, stats: &mut Json, judged: Judged<'_>) -> Result<Vec<Vec<usize>>, UnknownStats> {
        let _ = stats;
        let breaking = |rule| {
            let records = judged.records.iter().enumerate();
            let breaking = records.filter(|(_, record)| record.breaks.contains(&rule));
            breaking.map(|(index, _)| index).collect()
        };
        Ok((0..self.rules().len()).map(breaking).collect())
    }
}

/// The stored statistics are not the flow's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStats(pub String);

/// The envelope of a record on a topic; it is unwrapped before the columns are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing: the value is the record.
    #[default]
    Plain,
    /// Debezium's change event (`op`, `before`, `after`, `source`), in which columns are named by paths (`after.amount`). JSON
    /// with schemas, `{"schema": .., "payload": ..}`, is read as its payload; a payload of null is a tombstone.
    Debezium,
}

/// A column of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the header, or of the field; in JSON and Avro points lead into inner records (`after.amount`).
    pub name: Name,
    /// The kind of its values.
    pub kind: Kind,
}

impl Column {
    /// A column of this name.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name: Cow::Borrowed(name), kind }
    }
}

/// The kind of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The record's id: a dead letter's key.
    Id,
    /// An amount: what [`Notation`](crate::amount::Notation) is about.
    Decimal,
    /// A date with a time.
    Timestamp,
    /// Any other text.
    Text,
    /// True or false.
    Boolean,
    /// Any JSON value.
    Json,
}

/// What a model is asked and what it answers: `POST` of a list of objects, answered by a list of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelApi {
    /// Behind the model's URL, without a slash at its start: `predict`.
    pub path: Name,
    /// Which of the flow's tables the request shows.
    pub table: usize,
    /// The fields of an object of the request: columns of the table, by index, under their names.
    pub request: Vec<usize>,
    /// The column of the table that identifies a record.
    pub id: usize,
    /// The field of the answer that holds it.
    pub answer_id: Name,
    /// The other fields of the answer, one value each.
    pub answers: Vec<AnswerField>,
}

/// A field of a model's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerField {
    pub name: Name,
    /// What it holds.
    pub kind: Type,
}
