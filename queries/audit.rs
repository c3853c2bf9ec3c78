//! The queries of an audit and the rows that they find. Text and columns are the same for every store that speaks SQL,
//! so each of them takes this file as a module.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use tally_domain::{Flow, Table, TableKind};
use tally_ports::audit::{
    Appended, AppendedRows, AppendedTrace, BatchOfLetter, Counted, Counter, Counts, Entry, Letter,
    LetterTrace, Pass, PassName, PassOfRows, RowTrace, Rows, RowsFromNothing, WrongNumbers,
};
use tally_ports::{Passed, Place, State};

pub(super) const PASSES: &str = include_str!("audit/passes.sql");
pub(super) const STRAYS: &str = include_str!("audit/strays.sql");
pub(super) const LETTERS: &str = include_str!("audit/letters.sql");
pub(super) const TRACES_OF_LETTERS: &str = include_str!("audit/traces_of_letters.sql");
const ENTRIES: &str = include_str!("audit/entries.sql");
const ROWS: &str = include_str!("audit/rows.sql");
const ROWS_FROM_NOTHING: &str = include_str!("audit/rows_from_nothing.sql");
const APPENDED: &str = include_str!("audit/appended.sql");
const APPENDED_ROWS: &str = include_str!("audit/appended_rows.sql");
const WRONG_NUMBERS: &str = include_str!("audit/wrong_numbers.sql");
const COUNTED: &str = include_str!("audit/counted.sql");

/// All entries of the ledger.
pub(super) fn entries() -> String {
    ENTRIES.replace("{which}", "")
}

/// The entries of the pass `$1` to `$4` that begin at `$5` or later, at most `$6`.
pub(super) fn entries_of_pass() -> String {
    let which = "where b.flow = $1 and b.stream = $2 and b.partition = $3 and b.pass = $4 and b.first >= $5";
    ENTRIES.replace("{which}", which) + "limit $6"
}

/// The tables of a flow that are of a kind, with their indices.
pub(super) fn tables<'a>(
    flow: &'a dyn Flow,
    is_wanted: fn(&TableKind) -> bool,
) -> impl Iterator<Item = (usize, &'a Table)> {
    flow.tables().iter().enumerate().filter(move |(_, table)| is_wanted(&table.kind))
}

pub(super) const fn is_keyed(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Keyed { .. })
}

pub(super) const fn is_appended(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Appended)
}

pub(super) const fn is_counters(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Counters { .. })
}

/// The rows in a table with keys by origin.
pub(super) fn rows(table: &Table, flow: &dyn Flow) -> String {
    about(ROWS, table, flow)
}

/// The rows in a table with keys that were read where nothing was.
pub(super) fn rows_from_nothing(table: &Table, flow: &dyn Flow) -> String {
    about(ROWS_FROM_NOTHING, table, flow)
}

/// What the records of each entry appended; `None` where the flow appends nothing.
pub(super) fn appended(flow: &dyn Flow) -> Option<String> {
    let positions: Vec<String> = tables(flow, is_appended)
        .map(|(_, table)| {
            format!(
                "select distinct t.position from \"{}\" t where t.flow = b.flow and t.stream = b.stream \
                 and t.partition = b.partition and t.log = p.log and t.position between b.first and b.last",
                table.name
            )
        })
        .collect();
    let sql = APPENDED.replace("{positions}", &positions.join(" union "));
    (!positions.is_empty()).then(|| sql.replace("{flow}", flow.name()))
}

/// The rows in a table that rows are appended to, by log.
pub(super) fn appended_rows(table: &Table, flow: &dyn Flow) -> String {
    about(APPENDED_ROWS, table, flow)
}

/// The records whose rows are wrongly numbered.
pub(super) fn wrong_numbers(table: &Table, flow: &dyn Flow) -> String {
    about(WRONG_NUMBERS, table, flow)
}

/// The ranges that were counted.
pub(super) fn counted(flow: &dyn Flow) -> String {
    COUNTED.replace("{flow}", flow.name())
}

/// The rows of a table that counts, each as a list of texts that `list` makes.
pub(super) fn counters(table: &Table, list: &str) -> String {
    let texts = table.columns.iter().map(|column| format!("cast(t.\"{}\" as text)", column.name));
    let texts: Vec<String> = texts.collect();
    format!(
        "select cast({list}({}) as text) as \"values\" from \"{}\" t",
        texts.join(", "),
        table.name
    )
}

/// The rows that records of the log `$4` at the positions from `$5` to `$6` appended.
pub(super) fn traces_of_appended(table: &Table) -> String {
    format!(
        "select t.position, count(*) as number from \"{}\" t where t.flow = $1 and t.stream = $2 and t.partition = $3 \
         and t.log = $4 and t.position between $5 and $6 group by t.position",
        table.name
    )
}

/// The rows of keys that come `from` somewhere with their places as `slot`, the columns of the key being those that `of` makes.
pub(super) fn traces_of_keys(table: &Table, from: &str, of: impl Fn(usize) -> String) -> String {
    let same: Vec<String> = table
        .key()
        .iter()
        .enumerate()
        .map(|(index, &column)| format!("t.\"{}\" = {}", table.columns[column].name, of(index)))
        .collect();
    let is_deleted = if table.marks_deletes() { "t.deleted_at is not null" } else { "false" };
    format!(
        "select k.slot, t.origin, t.position, case when {is_deleted} then 1 else 0 end as is_deleted \
         from {from} cross join \"{}\" t where {}",
        table.name,
        same.join(" and ")
    )
}

fn about(sql: &str, table: &Table, flow: &dyn Flow) -> String {
    sql.replace("{table}", &format!("\"{}\"", table.name)).replace("{flow}", flow.name())
}

/// A row of [`PASSES`].
#[derive(QueryableByName)]
pub(super) struct FoundPass {
    #[diesel(embed)]
    name: FoundName,
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
    counts: FoundCounts,
}

impl FoundPass {
    pub(super) fn pass(self) -> Pass {
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
pub(super) struct FoundName {
    #[diesel(sql_type = Text)]
    flow: String,
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    pass: i32,
}

impl FoundName {
    pub(super) fn name(self) -> PassName {
        let Self { flow, stream, partition, pass } = self;
        PassName { flow, stream, partition, pass }
    }
}

#[derive(QueryableByName)]
struct FoundCounts {
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

impl FoundCounts {
    const fn counts(&self) -> Counts {
        let Self { read, written, superseded, skipped, dead_lettered } = *self;
        Counts { read, written, superseded, skipped, dead_lettered }
    }
}

/// A row of [`entries`].
#[derive(QueryableByName)]
pub(super) struct FoundEntry {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(embed)]
    pass: FoundName,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
    #[diesel(embed)]
    counts: FoundCounts,
    #[diesel(sql_type = Integer)]
    is_gap: i32,
    #[diesel(sql_type = Text)]
    passed: String,
    #[diesel(sql_type = BigInt)]
    dead_letters: i64,
}

impl FoundEntry {
    pub(super) fn entry(self) -> Entry {
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

/// A row of [`LETTERS`].
#[derive(QueryableByName)]
pub(super) struct FoundLetter {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(embed)]
    pass: FoundName,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    attempt: i32,
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

impl FoundLetter {
    pub(super) fn letter(self) -> Letter {
        let FoundName { flow, stream, partition, pass } = self.pass;
        let (position, attempt) = (self.position, self.attempt);
        let is_of_pass = self.is_of_pass != 0;
        let range = self.first.zip(self.last);
        Letter {
            id: self.id,
            place: Place { flow, stream, partition, pass, position, attempt },
            state: self.state,
            batch_id: self.batch_id,
            batch: range.map(|(first, last)| BatchOfLetter { is_of_pass, first, last }),
        }
    }
}

/// A row of [`rows`].
#[derive(QueryableByName)]
pub(super) struct FoundRows {
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
    pass: Option<FoundName>,
    #[diesel(sql_type = Nullable<BigInt>)]
    next: Option<i64>,
    #[diesel(sql_type = BigInt)]
    begins: i64,
    #[diesel(sql_type = BigInt)]
    written: i64,
    #[diesel(sql_type = BigInt)]
    replayed: i64,
}

impl FoundRows {
    pub(super) fn rows(self, table: &str, flow: &str) -> Rows {
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
pub(super) struct FoundRowsFromNothing {
    #[diesel(embed)]
    pass: FoundName,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    least: i64,
    #[diesel(sql_type = BigInt)]
    greatest: i64,
}

impl FoundRowsFromNothing {
    pub(super) fn rows(self, table: &str) -> RowsFromNothing {
        RowsFromNothing {
            table: table.to_owned(),
            pass: self.pass.name(),
            count: self.number,
            least: self.least,
            greatest: self.greatest,
        }
    }
}

/// A row of [`appended`].
#[derive(QueryableByName)]
pub(super) struct FoundAppended {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(embed)]
    pass: FoundName,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
    #[diesel(sql_type = BigInt)]
    written: i64,
    #[diesel(sql_type = BigInt)]
    replayed: i64,
    #[diesel(sql_type = BigInt)]
    records: i64,
}

impl FoundAppended {
    pub(super) fn appended(self, flow: &dyn Flow) -> Appended {
        let Self { id, pass, first, last, written, replayed, records } = self;
        let is_all = flow.tables().iter().all(|table| is_appended(&table.kind));
        Appended { id, pass: pass.name(), first, last, written, replayed, records, is_all }
    }
}

/// A log, as appended rows name it.
#[derive(QueryableByName)]
struct FoundLog {
    #[diesel(sql_type = Text)]
    flow: String,
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = BigInt)]
    log: i64,
}

impl FoundLog {
    fn name(&self) -> String {
        let Self { flow, stream, partition, log } = self;
        format!("{flow} {stream} partition {partition} log {log}")
    }
}

/// A row of [`appended_rows`].
#[derive(QueryableByName)]
pub(super) struct FoundAppendedRows {
    #[diesel(embed)]
    log: FoundLog,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    strange: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    least: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    greatest: Option<i64>,
}

impl FoundAppendedRows {
    pub(super) fn rows(self, table: &Table, flow: &dyn Flow) -> AppendedRows {
        let range = self.least.zip(self.greatest);
        AppendedRows {
            table: table.name.to_string(),
            flow: flow.name().to_owned(),
            log: self.log.name(),
            count: self.number,
            from_nothing: range.map(|(least, greatest)| (self.strange, least, greatest)),
        }
    }
}

/// A row of [`wrong_numbers`].
#[derive(QueryableByName)]
pub(super) struct FoundWrongNumbers {
    #[diesel(embed)]
    log: FoundLog,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    greatest: i64,
}

impl FoundWrongNumbers {
    pub(super) fn numbers(self, table: &Table) -> WrongNumbers {
        let Self { log, position, number, greatest } = self;
        let (table, log) = (table.name.to_string(), log.name());
        WrongNumbers { table, log, position, count: number, greatest }
    }
}

/// A row of [`counted`].
#[derive(QueryableByName)]
pub(super) struct FoundCounted {
    #[diesel(embed)]
    log: FoundLog,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

impl FoundCounted {
    pub(super) fn counted(self) -> Counted {
        let Self { log: FoundLog { flow, stream, partition, log }, first, last } = self;
        Counted { flow, stream, partition, log, first, last }
    }
}

/// A row of [`counters`].
#[derive(QueryableByName)]
pub(super) struct FoundCounter {
    #[diesel(sql_type = Text)]
    values: String,
}

impl FoundCounter {
    pub(super) fn counter(self, table: usize, flow: &dyn Flow) -> Counter {
        // A list of texts and nulls is what was asked for.
        let values = serde_json::from_str(&self.values).unwrap_or_default();
        Counter { flow: flow.name().to_owned(), table, values }
    }
}

/// A row of [`TRACES_OF_LETTERS`].
#[derive(QueryableByName)]
pub(super) struct FoundLetterTrace {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Integer)]
    is_first: i32,
}

impl FoundLetterTrace {
    pub(super) fn trace(self) -> LetterTrace {
        let Self { position, pass, state, is_first } = self;
        let state = state.parse().unwrap_or(State::Open);
        LetterTrace { position, pass, state, is_first: is_first != 0 }
    }
}

/// A row of [`traces_of_appended`].
#[derive(QueryableByName)]
pub(super) struct FoundAppendedTrace {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl FoundAppendedTrace {
    pub(super) const fn trace(&self, table: usize) -> AppendedTrace {
        AppendedTrace { table, position: self.position, count: self.number }
    }
}

/// A row of [`traces_of_keys`].
#[derive(QueryableByName)]
pub(super) struct FoundRowTrace {
    #[diesel(sql_type = BigInt)]
    slot: i64,
    #[diesel(sql_type = BigInt)]
    origin: i64,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    is_deleted: i32,
}

/// For each of `count` keys its row, of those that were `found`, the first one's slot being `from`.
pub(super) fn in_slots(
    found: Vec<FoundRowTrace>,
    count: usize,
    from: i64,
) -> Vec<Option<RowTrace>> {
    let mut rows = vec![None; count];
    for FoundRowTrace { slot, origin, position, is_deleted } in found {
        let index = usize::try_from(slot - from).ok();
        if let Some(row) = index.and_then(|index| rows.get_mut(index)) {
            *row = Some(RowTrace { origin, position, is_deleted: is_deleted != 0 });
        }
    }
    rows
}
