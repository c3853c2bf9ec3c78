//! What a store holds, for an audit.

use std::fmt;
use std::future::Future;

pub use self::traces::{AppendedTrace, Asked, DeadLetterTrace, Keys, RowTrace, Traces};
use crate::position::FILE;
use crate::{DeadLetterIdentity, Fault};

mod traces;

/// What a store holds, for an audit. Read-only.
pub trait Audit: Send + Sync + 'static {
    /// Shows all of it to `auditor` in one snapshot: what others commit meanwhile is not seen, and nobody is blocked.
    /// Facts come in the order in which [`Fact`] lists them. Memory does not depend on how many there are.
    fn show<A: Auditor>(&self, auditor: A) -> impl Future<Output = Result<A, Fault>> + Send;

    /// The current entries of a pass that begin at `first` or later, in order, at most `limit`.
    fn entries(
        &self,
        pass: &PassName,
        first: i64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, Fault>> + Send;

    /// What the store currently holds of the records that `asked` is about; nothing where it has no tables of the flow.
    fn traces(&self, asked: Asked) -> impl Future<Output = Result<Traces, Fault>> + Send;
}

/// Checks a store, fact by fact.
pub trait Auditor: Send + 'static {
    /// Takes in one fact.
    fn see(&mut self, fact: Fact);
}

/// Something that a store holds.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A pass, all partitions of a stream and all its passes together and in order.
    Pass(Pass),
    /// An entry of the ledger, all of a pass together and in order of `first`.
    Entry(Entry),
    /// A pass with entries in the ledger but no position.
    Stray(PassName),
    /// A dead letter, in order of [`DeadLetterIdentity`].
    DeadLetter(AuditedDeadLetter),
    /// The rows of one origin in a flow's table.
    Rows(Rows),
    /// Rows of one pass at positions where, according to the ledger, nothing was read.
    RowsFromNothing(RowsFromNothing),
    /// What the records of an entry appended: of the entries that no later pass over the same log has read again.
    Appended(Appended),
    /// All rows that were appended to a flow's table from one log.
    AppendedRows(AppendedRows),
    /// The rows that one record appended to a flow's table, where they are not numbered 0, 1, 2.
    WrongNumbers(WrongNumbers),
    /// A version of a row that a view computes from a flow's history, and its table does not have.
    HistoryDiffers(HistoryDiffers),
    /// A range of positions whose records a flow has counted, and published what they publish.
    Counted(Counted),
    /// A record of a flow's outbox.
    Unpublished(Unpublished),
    /// A row of a flow's counters.
    Counter(Counter),
}

/// One reading of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassName {
    /// The flow's name.
    pub flow: String,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: String,
    /// 0 for a file.
    pub partition: i32,
    /// Which reading of the stream it is, from 1.
    pub pass: i32,
}

impl PassName {
    /// Whether it is one of a file; else it is one of a topic.
    pub fn is_of_file(&self) -> bool {
        self.stream.starts_with(FILE)
    }
}

impl fmt::Display for PassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flow, stream, partition, pass } = self;
        write!(f, "{flow} {stream} partition {partition} pass {pass}")
    }
}

/// The state of a pass, and its counts in the ledger.
#[derive(Clone, Debug)]
pub struct Pass {
    pub name: PassName,
    /// As rows name it.
    pub origin: i64,
    /// Which log of that name it is over, from 1.
    pub log: i64,
    /// The stream's label: a topic or a path.
    pub label: String,
    /// The next position to read.
    pub next: i64,
    /// Whether it was marked as finished.
    pub has_ended: bool,
    /// The source's cursor at `next`, as JSON.
    pub cursor: Option<String>,
    /// How many entries the ledger has.
    pub batches: i64,
    /// The greatest `last` of them.
    pub last: Option<i64>,
    /// Their sums.
    pub sums: Counts,
}

/// Records by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many were read.
    pub read: i64,
    /// Those whose effect the store holds.
    pub written: i64,
    /// Those of which a newer version was written.
    pub superseded: i64,
    /// Those that have no effect by the flow's rule.
    pub skipped: i64,
    /// Those that became dead letters.
    pub dead_lettered: i64,
}

impl Counts {
    /// How many of those read are accounted for.
    pub fn accounted(&self) -> i64 {
        let Self { written, superseded, skipped, dead_lettered, .. } = self;
        [superseded, skipped, dead_lettered]
            .into_iter()
            .fold(*written, |sum, n| sum.saturating_add(*n))
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.read = self.read.saturating_add(other.read);
        self.written = self.written.saturating_add(other.written);
        self.superseded = self.superseded.saturating_add(other.superseded);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.dead_lettered = self.dead_lettered.saturating_add(other.dead_lettered);
    }
}

/// A row of the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The batch's id.
    pub id: String,
    /// Which pass it is of.
    pub pass: PassName,
    /// The first position.
    pub first: i64,
    /// The last position passed.
    pub last: i64,
    /// What became of its records.
    pub counts: Counts,
    /// Whether it gives a reason for passing a range without records.
    pub is_gap: bool,
    /// How many of its positions have no record.
    pub passed: i64,
    /// How many first-attempt dead letters in its range name it.
    pub dead_letters: i64,
}

/// A row of the dead letters, without its bytes.
#[derive(Clone, Debug)]
pub struct AuditedDeadLetter {
    /// The stored id.
    pub id: String,
    /// What identifies it; its id must follow from this.
    pub identity: DeadLetterIdentity,
    /// What became of it, as text.
    pub state: String,
    /// The batch that it names.
    pub batch_id: String,
    /// That batch, where the ledger has it.
    pub batch: Option<NamedBatch>,
}

/// The batch that a dead letter names.
#[derive(Clone, Copy, Debug)]
pub struct NamedBatch {
    /// Whether it is one of the same pass.
    pub is_of_pass: bool,
    /// The first position.
    pub first: i64,
    /// The last position passed.
    pub last: i64,
}

/// The rows of one origin in a flow's table.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The table.
    pub table: String,
    /// The flow that writes it.
    pub flow: String,
    /// The origin that the rows name.
    pub origin: i64,
    pub count: i64,
    /// How many records wrote them, or an upper bound of that; a record may write several.
    pub records: i64,
    /// The least of their positions.
    pub least: i64,
    /// The greatest of their positions.
    pub greatest: i64,
    /// The pass that is their origin, where the flow has it.
    pub pass: Option<PassOfRows>,
}

/// The pass that rows come from.
#[derive(Clone, Debug)]
pub struct PassOfRows {
    pub name: PassName,
    /// Where the ledger's first entry of it begins.
    pub begins: i64,
    /// The next position to read.
    pub next: i64,
    /// How many rows its batches wrote.
    pub written: i64,
    /// How many of its dead letters were, or may have been, replayed.
    pub replayed: i64,
}

/// Rows of one pass at positions where, according to the ledger, nothing was read.
#[derive(Clone, Debug)]
pub struct RowsFromNothing {
    /// The table.
    pub table: String,
    /// The pass that is their origin.
    pub pass: PassName,
    pub count: i64,
    /// The least of their positions.
    pub least: i64,
    /// The greatest of their positions.
    pub greatest: i64,
}

/// What the records of an entry of the ledger appended.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The batch's id.
    pub id: String,
    /// Which pass it is of.
    pub pass: PassName,
    /// The first position.
    pub first: i64,
    /// The last position passed.
    pub last: i64,
    /// How many of its records were written.
    pub written: i64,
    /// How many of its dead letters were, or may have been, replayed.
    pub replayed: i64,
    /// How many of its records have rows.
    pub records: i64,
    /// Whether each record that is written has: the flow writes nothing else.
    pub is_all: bool,
}

/// All rows that were appended to a flow's table from one log.
#[derive(Clone, Debug)]
pub struct AppendedRows {
    /// The table.
    pub table: String,
    /// The flow that writes it.
    pub flow: String,
    /// The log, as the rows name it.
    pub log: String,
    pub count: i64,
    /// How many of them are at positions where, according to the ledger, nothing was read, and the least and greatest of
    /// these positions.
    pub from_nothing: Option<(i64, i64, i64)>,
}

/// The rows that one record appended to a flow's table.
#[derive(Clone, Debug)]
pub struct WrongNumbers {
    /// The table.
    pub table: String,
    /// The log, as the rows name it.
    pub log: String,
    /// The record's position.
    pub position: i64,
    pub count: i64,
    /// The greatest of their numbers.
    pub greatest: i64,
}

/// A version of a row that a view computes from a flow's history, and its table does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryDiffers {
    /// The table that holds the newest versions.
    pub table: String,
    /// The view.
    pub view: String,
    /// The log, as the rows name it.
    pub log: String,
    /// The position of the record that is the newest version by the view.
    pub position: i64,
}

/// A range of positions whose records were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The flow's name.
    pub flow: String,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: String,
    /// 0 for a file.
    pub partition: i32,
    /// Which log of that name it is, from 1.
    pub log: i64,
    /// The first position.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

/// A record of a flow's outbox: committed, and not published yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublished {
    /// The flow's name.
    pub flow: String,
    /// Its id, as [`PublicationId`](crate::publish::PublicationId) reads it.
    pub id: String,
}

/// A row of a flow's counters. Its `Debug` shows no values.
#[derive(Clone)]
pub struct Counter {
    /// The flow that counts.
    pub flow: String,
    /// The index of the table among those of the flow.
    pub table: usize,
    /// For each column of the table its value as the database writes it.
    pub values: Vec<Option<String>>,
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("table", &self.table).finish_non_exhaustive()
    }
}
