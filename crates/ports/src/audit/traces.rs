//! What records left in the store.

use tally_domain::Value;

use super::PassName;
use crate::State;

/// The records of a log, in a range of positions, whose traces are wanted.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The pass that read them.
    pub pass: PassName,
    /// Which log of that name it is over, from 1.
    pub log: i64,
    /// The first position.
    pub first: i64,
    /// The last one.
    pub last: i64,
    /// What to look for in tables with keys.
    pub keys: Vec<Keys>,
}

/// Keys to look for in a table.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The index of the table among those of the flow.
    pub table: usize,
    /// Each the values of the key's columns, in their order.
    pub keys: Vec<Vec<Value>>,
}

/// What records left in the store.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// The newest attempt of each dead letter of these positions, of all passes over the log, in order of position and pass.
    pub dead_letters: Vec<DeadLetterTrace>,
    /// The rows that they appended.
    pub appended: Vec<AppendedTrace>,
    /// The tables, by index, whose old rows were deleted, and the last position of the log that such rows may be of.
    pub deleted_to: Vec<(usize, i64)>,
    /// For each requested key, in the same order, its row.
    pub keyed: Vec<Vec<Option<RowTrace>>>,
}

/// A dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterTrace {
    /// Where it was read.
    pub position: i64,
    /// By which pass.
    pub pass: i32,
    /// What became of it.
    pub state: State,
    /// Whether it is outdated as another record has written its key: this one was not taken.
    pub is_outdated_by_key: bool,
    /// Whether the pass is the first that read this position of the log: a record that it refused was not counted.
    pub is_first: bool,
}

/// The rows that one record appended to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedTrace {
    /// The index of the table among those of the flow.
    pub table: usize,
    /// The record's position.
    pub position: i64,
    pub count: i64,
}

/// The row of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowTrace {
    /// The pass of the record that wrote it.
    pub origin: i64,
    /// The position of the record that wrote it.
    pub position: i64,
    /// Whether it is marked as deleted.
    pub is_deleted: bool,
}
