//! The queries of an audit and their rows.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use tally_domain::{Flow, Table, TableKind};
use tally_ports::Passed;
use tally_ports::audit::{
    AuditedDeadLetter, Counts, Entry, NamedBatch, Pass, PassName, PassOfRows, Rows, RowsFromNothing,
};

use crate::dead_letters::IdentityRow;

mod traces;

pub use self::traces::*;

pub const PASSES: &str = include_str!("audit/passes.sql");
pub const STRAYS: &str = include_str!("audit/strays.sql");
pub const DEAD_LETTERS: &str = include_str!("audit/dead_letters.sql");
const ENTRIES: &str = include_str!("audit/entries.sql");
const ROWS: &str = include_str!("audit/rows.sql");
const ROWS_FROM_NOTHING: &str = include_str!("audit/rows_from_nothing.sql");

/// All entries of the ledger.
pub fn entries() -> String {
    ENTRIES.replace("{which}", "")
}

/// The entries of the pass `$1` to `$4` that begin at `$5` or later, at most `$6`.
pub fn entries_of_pass() -> String {
    let which = "where b.flow = $1 and b.stream = $2 and b.partition = $3 and b.pass = $4 and b.first >= $5";
    ENTRIES.replace("{which}", which) + "limit $6"
}

/// The tables of a flow that are of a kind, with their indices.
pub fn tables(
    flow: &dyn Flow,
    is_wanted: fn(&TableKind) -> bool,
) -> impl Iterator<Item = (usize, &Table)> {
    flow.tables().iter().enumerate().filter(move |(_, table)| is_wanted(&table.kind))
}

pub const fn is_keyed(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Keyed { .. })
}

pub const fn is_appended(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Appended)
}

pub const fn is_counters(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Counters { .. })
}

/// The rows in a table with keys by origin.
pub fn rows(table: &Table, flow: &dyn Flow) -> String {
    about(ROWS, table, flow)
}

/// The rows in a table with keys at positions where nothing was read.
pub fn rows_from_nothing(table: &Table, flow: &dyn Flow) -> String {
    about(ROWS_FROM_NOTHING, table, flow)
}

fn about(sql: &str, table: &Table, flow: &dyn Flow) -> String {
    sql.replace("{table}", &format!("\"{}\"", table.name)).replace("{flow}", flow.name())
}

/// A row of [`PASSES`].
#[derive(QueryableByName)]
pub struct PassRow {
    #[diesel(embed)]
    name: PassNameRow,
    #[diesel(sql_type = BigInt)]
    origin: i64,
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = Text)]
    label: String,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Nullable<Text>)]
    cursor: Option<String>,
    #[diesel(sql_type = Integer)]
    has_ended: i32,
    #[diesel(sql_type = BigInt)]
    batches: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    last: Option<i64>,
    #[diesel(embed)]
    counts: CountsRow,
}

impl PassRow {
    pub fn pass(self) -> Pass {
        Pass {
            name: self.name.name(),
            origin: self.origin,
            log: self.log,
            label: self.label,
            next: self.next,
            has_ended: self.has_ended != 0,
            cursor: self.cursor,
            batches: self.batches,
            last: self.last,
            sums: self.counts.counts(),
        }
    }
}

/// A row of [`STRAYS`], and a part of others.
#[derive(QueryableByName)]
pub struct PassNameRow {
    #[diesel(sql_type = Text)]
    flow: String,
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    pass: i32,
}

impl PassNameRow {
    pub fn name(self) -> PassName {
        let Self { flow, stream, partition, pass } = self;
        PassName { flow, stream, partition, pass }
    }
}

#[derive(QueryableByName)]
struct CountsRow {
    #[diesel(sql_type = BigInt)]
    read: i64,
    #[diesel(sql_type = BigInt)]
    written: i64,
    #[diesel(sql_type = BigInt)]
    superseded: i64,
    #[diesel(sql_type = BigInt)]
    skipped: i64,
    #[diesel(sql_type = BigInt)]
    dead_lettered: i64,
}

impl CountsRow {
    const fn counts(&self) -> Counts {
        let Self { read, written, superseded, skipped, dead_lettered } = *self;
        Counts { read, written, superseded, skipped, dead_lettered }
    }
}

/// A row of [`entries`].
#[derive(QueryableByName)]
pub struct EntryRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(embed)]
    pass: PassNameRow,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
    #[diesel(embed)]
    counts: CountsRow,
    #[diesel(sql_type = Integer)]
    is_gap: i32,
    #[diesel(sql_type = Text)]
    passed: String,
    #[diesel(sql_type = BigInt)]
    dead_letters: i64,
}

impl EntryRow {
    pub fn entry(self) -> Entry {
        Entry {
            id: self.id,
            pass: self.pass.name(),
            first: self.first,
            last: self.last,
            counts: self.counts.counts(),
            is_gap: self.is_gap != 0,
            passed: Passed::sum_of(&self.passed).unwrap_or(i64::MIN),
            dead_letters: self.dead_letters,
        }
    }
}

/// A row of [`DEAD_LETTERS`].
#[derive(QueryableByName)]
pub struct DeadLetterRow {
    #[diesel(embed)]
    name: IdentityRow,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    batch_id: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    first: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last: Option<i64>,
    #[diesel(sql_type = Integer)]
    is_of_pass: i32,
}

impl DeadLetterRow {
    pub fn dead_letter(self) -> AuditedDeadLetter {
        let is_of_pass = self.is_of_pass != 0;
        let range = self.first.zip(self.last);
        AuditedDeadLetter {
            id: self.name.id.clone(),
            identity: self.name.identity(),
            state: self.state,
            batch_id: self.batch_id,
            batch: range.map(|(first, last)| NamedBatch { is_of_pass, first, last }),
        }
    }
}

/// A row of [`rows`].
#[derive(QueryableByName)]
pub struct OriginRow {
    #[diesel(sql_type = BigInt)]
    origin: i64,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    records: i64,
    #[diesel(sql_type = BigInt)]
    least: i64,
    #[diesel(sql_type = BigInt)]
    greatest: i64,
    #[diesel(embed)]
    pass: Option<PassNameRow>,
    #[diesel(sql_type = Nullable<BigInt>)]
    next: Option<i64>,
    #[diesel(sql_type = BigInt)]
    begins: i64,
    #[diesel(sql_type = BigInt)]
    written: i64,
    #[diesel(sql_type = BigInt)]
    replayed: i64,
}

impl OriginRow {
    pub fn rows(self, table: &str, flow: &str) -> Rows {
        let Self { begins, written, replayed, .. } = self;
        let pass = self.pass.zip(self.next).map(|(name, next)| PassOfRows {
            name: name.name(),
            begins,
            next,
            written,
            replayed,
        });
        Rows {
            table: table.to_owned(),
            flow: flow.to_owned(),
            origin: self.origin,
            count: self.number,
            records: self.records,
            least: self.least,
            greatest: self.greatest,
            pass,
        }
    }
}

/// A row of [`rows_from_nothing`].
#[derive(QueryableByName)]
pub struct RowsFromNothingRow {
    #[diesel(embed)]
    pass: PassNameRow,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    least: i64,
    #[diesel(sql_type = BigInt)]
    greatest: i64,
}

impl RowsFromNothingRow {
    pub fn rows(self, table: &str) -> RowsFromNothing {
        RowsFromNothing {
            table: table.to_owned(),
            pass: self.pass.name(),
            count: self.number,
            least: self.least,
            greatest: self.greatest,
        }
    }
}
