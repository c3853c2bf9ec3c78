//! What a store holds, for whoever checks it.

use std::fmt;
use std::future::Future;

use tally_domain::{Flow, Record, Table, TableKind, Type, Value};
use uuid::Uuid;

use crate::position::FILE;
use crate::{Fault, Place};

/// What a store holds, for whoever checks it. Nothing is ever written.
pub trait Audit: Send + Sync + 'static {
    /// Shows all of it to `auditor`, as it was at one moment: what others commit meanwhile is not seen, and nobody waits.
    /// Facts come in the order in which [`Fact`] lists them. Memory does not depend on how many there are.
    fn show<A: Auditor>(&self, auditor: A) -> impl Future<Output = Result<A, Fault>> + Send;

    /// The entries of a pass that begin at `first` or later, in order, at most `limit`, as they are now.
    fn entries(
        &self,
        pass: &PassName,
        first: i64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, Fault>> + Send;

    /// The positions of those of the `records` that have by now neither a row in the flow's table [by
    /// id](Tables::by_id) nor a dead letter, in order; none where the flow has no such table.
    fn missing(
        &self,
        flow: &str,
        records: &[Expected],
    ) -> impl Future<Output = Result<Vec<i64>, Fault>> + Send;
}

/// What a record that was read must have left behind.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Its position.
    pub position: i64,
    /// The id of its row, or of a newer one of the same key; `None` where it can have none.
    pub row: Option<Uuid>,
    /// The id of its first dead letter.
    pub letter: Uuid,
}

impl Expected {
    /// What `record` must have left behind, which was read at `position` by `pass`; `None` stands for one that is not valid.
    pub fn of(flow: &dyn Flow, record: Option<&Record>, pass: &PassName, position: i64) -> Self {
        let id = |record: &Record| {
            let (table, column) = keyed_by_id(flow)?;
            match record.row(table)?.get(column)? {
                Value::Uuid(id) => Some(*id),
                _ => None,
            }
        };
        Self { position, row: record.and_then(id), letter: pass.letter(position) }
    }
}

/// The flow's first table whose key is one id, and the column of that.
fn keyed_by_id(flow: &dyn Flow) -> Option<(usize, usize)> {
    flow.tables().iter().enumerate().find_map(|(index, table)| match (&table.kind, table.key()) {
        (TableKind::Keyed { .. }, &[id]) if table.columns[id].kind == Type::Uuid => {
            Some((index, id))
        }
        _ => None,
    })
}

/// A flow's tables as far as an audit looks into them.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The flow's name.
    pub flow: String,
    /// Those whose rows name in `origin` and `position` the record that wrote them.
    pub names: Vec<String>,
    /// The one where every record that was written has a row, or a newer one of the same id does, and the column of the id.
    pub by_id: Option<(String, String)>,
}

impl Tables {
    /// The tables of `flow`.
    pub fn of(flow: &dyn Flow) -> Self {
        let is_keyed = |table: &&Table| matches!(table.kind, TableKind::Keyed { .. });
        let keyed = || flow.tables().iter().filter(is_keyed);
        let by_id = keyed_by_id(flow).map(|(index, id)| {
            let table = &flow.tables()[index];
            (table.name.to_string(), table.columns[id].name.to_string())
        });
        let names = keyed().map(|table| table.name.to_string()).collect();
        Self { flow: flow.name().to_owned(), names, by_id }
    }
}

/// Whoever checks a store.
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
    /// A pass that the ledger has entries of and the positions do not know.
    Stray(PassName),
    /// A dead letter, in order of its place.
    Letter(Letter),
    /// The rows of one origin in a flow's table.
    Rows(Rows),
    /// Rows of one pass that were read where, by the ledger, nothing was.
    RowsFromNothing(RowsFromNothing),
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
    /// The id of the first dead letter of the record at `position`.
    pub fn letter(&self, position: i64) -> Uuid {
        let Self { flow, stream, partition, pass } = self.clone();
        Place { flow, stream, partition, pass, position, attempt: 1 }.id()
    }

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

/// Where a pass stands, and what the ledger says of it.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Which.
    pub name: PassName,
    /// What people call the stream: a topic, a path.
    pub label: String,
    /// The next position to read.
    pub next: i64,
    /// Whether it was marked as finished.
    pub has_ended: bool,
    /// Where `next` is in the source's own words, as JSON.
    pub cursor: Option<String>,
    /// How many entries the ledger has.
    pub batches: i64,
    /// The greatest `last` of them.
    pub last: Option<i64>,
    /// Their sums.
    pub sums: Counts,
}

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many were read.
    pub read: i64,
    /// Those whose effect the store holds.
    pub written: i64,
    /// Those of which a newer version was written.
    pub superseded: i64,
    /// Those that by the flow's rule have no effect.
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
    /// The position asked for.
    pub first: i64,
    /// The last position passed.
    pub last: i64,
    /// What became of its records.
    pub counts: Counts,
    /// Whether it says why a range without records was passed.
    pub is_gap: bool,
    /// How many positions it says have no record.
    pub passed: i64,
    /// How many dead letters of a first attempt in its range name it.
    pub dead_letters: i64,
}

/// A row of the dead letters, without its bytes.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The id that it has.
    pub id: String,
    /// Where it was read; the id that it should have follows from that.
    pub place: Place,
    /// What became of it, as text.
    pub state: String,
    /// The batch that it names.
    pub batch_id: String,
    /// That batch, where the ledger has it.
    pub batch: Option<BatchOfLetter>,
}

/// The batch that a dead letter names.
#[derive(Clone, Copy, Debug)]
pub struct BatchOfLetter {
    /// Whether it is one of the same pass.
    pub is_of_pass: bool,
    /// The position asked for.
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
    /// How many they are.
    pub count: i64,
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
    /// Which.
    pub name: PassName,
    /// Where the ledger's first entry of it begins.
    pub begins: i64,
    /// The next position to read.
    pub next: i64,
    /// How many rows its batches wrote.
    pub written: i64,
    /// How many of its dead letters were, or may have been, written after all.
    pub replayed: i64,
}

/// Rows of one pass that were read where, by the ledger, nothing was.
#[derive(Clone, Debug)]
pub struct RowsFromNothing {
    /// The table.
    pub table: String,
    /// The pass that is their origin.
    pub pass: PassName,
    /// How many they are.
    pub count: i64,
    /// The least of their positions.
    pub least: i64,
    /// The greatest of their positions.
    pub greatest: i64,
}
