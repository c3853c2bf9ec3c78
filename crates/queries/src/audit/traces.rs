//! What records left in the tables that a flow appends to or counts in, and the traces of each record.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use tally_domain::{Flow, History, Table, TableColumn};
use tally_ports::audit::{
    Appended, AppendedRows, AppendedTrace, Counted, Counter, DeadLetterTrace, HistoryDiffers,
    RowTrace, Unpublished, WrongNumbers,
};
use tally_ports::dead_letter::headers_from_json;
use tally_ports::{State, publish};

use super::{PassNameRow, about, is_appended, tables};

pub const TRACES_OF_DEAD_LETTERS: &str = include_str!("traces_of_dead_letters.sql");
const APPENDED: &str = include_str!("appended.sql");
const APPENDED_ROWS: &str = include_str!("appended_rows.sql");
const WRONG_NUMBERS: &str = include_str!("wrong_numbers.sql");
const HISTORY: &str = include_str!("history.sql");
const DELETED_TO: &str = include_str!("deleted_to.sql");
const COUNTED: &str = include_str!("counted.sql");
const UNPUBLISHED: &str = include_str!("unpublished.sql");

/// What the records of each entry appended; `None` where the flow appends nothing.
pub fn appended(flow: &dyn Flow) -> Option<String> {
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

/// The rows of an append-only table, by log.
pub fn appended_rows(table: &Table, flow: &dyn Flow) -> String {
    about(APPENDED_ROWS, table, flow)
}

/// The records whose rows are wrongly numbered.
pub fn wrong_numbers(table: &Table, flow: &dyn Flow) -> String {
    about(WRONG_NUMBERS, table, flow)
}

/// The newest versions of a history that its table does not have.
pub fn history(flow: &dyn Flow, history: &History) -> String {
    let latest = &flow.tables()[history.latest];
    let name = |&column: &usize| format!("\"{}\"", latest.columns[column].name);
    let joined = |one: &str, other: &str| {
        let equal = |column| format!("{one}.{0} = {other}.{0}", name(column));
        latest.key().iter().map(equal).collect::<Vec<_>>().join(" and ")
    };
    let keys: Vec<String> = latest.key().iter().map(|key| format!("r.{}", name(key))).collect();
    // Texts of JSON, which Postgres does not compare.
    let differs = latest.columns.iter().map(|TableColumn { name, .. }| {
        format!("cast(t.\"{name}\" as text) is distinct from cast(v.\"{name}\" as text)")
    });
    let differs: Vec<String> = differs.collect();
    HISTORY
        .replace("{view}", &format!("\"{}\"", history.view))
        .replace("{latest}", &format!("\"{}\"", latest.name))
        .replace("{versions}", &format!("\"{}\"", flow.tables()[history.versions].name))
        .replace("{keys}", &keys.join(", "))
        .replace("{of_view}", &joined("o", "v"))
        .replace("{of_row}", &joined("t", "v"))
        .replace("{differs}", &differs.join(" or "))
}

/// A row of [`history`].
#[derive(QueryableByName)]
pub struct HistoryRow {
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = BigInt)]
    position: i64,
}

impl HistoryRow {
    pub fn differs(self, flow: &dyn Flow, history: &History) -> HistoryDiffers {
        let Self { stream, partition, log, position } = self;
        HistoryDiffers {
            table: flow.tables()[history.latest].name.to_string(),
            view: history.view.to_string(),
            log: format!("{} {stream} partition {partition} log {log}", flow.name()),
            position,
        }
    }
}

/// The last position of the log `$1` to `$4` that a deleted row of the table may be of; `before` is the time in an act's result.
pub fn deleted_to(table: &Table, before: &str) -> String {
    DELETED_TO.replace("{table}", &table.name).replace("{before}", before)
}

/// A row of [`deleted_to`].
#[derive(QueryableByName)]
pub struct LastRow {
    #[diesel(sql_type = BigInt)]
    pub last: i64,
}

/// The counted ranges.
pub fn counted(flow: &dyn Flow) -> String {
    COUNTED.replace("{flow}", flow.name())
}

/// The rows of a table of counters, each as a JSON list that `list` makes of expressions for texts.
pub fn counters(table: &Table, list: impl Fn(&str) -> String) -> String {
    let texts = table.columns.iter().map(|column| format!("cast(t.\"{}\" as text)", column.name));
    let texts: Vec<String> = texts.collect();
    let list = list(&texts.join(", "));
    format!("select cast({list} as text) as \"values\" from \"{}\" t", table.name)
}

/// The rows that records of the log `$4` at the positions from `$5` to `$6` appended.
pub fn traces_of_appended(table: &Table) -> String {
    format!(
        "select t.position, count(*) as number from \"{}\" t where t.flow = $1 and t.stream = $2 and t.partition = $3 \
         and t.log = $4 and t.position between $5 and $6 group by t.position",
        table.name
    )
}

/// The rows of the keys in `from`, which numbers them as `slot`; `of` is the expression for a column of the key.
pub fn traces_of_keys(table: &Table, from: &str, of: impl Fn(usize) -> String) -> String {
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

/// A row of [`appended`].
#[derive(QueryableByName)]
pub struct AppendedRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(embed)]
    pass: PassNameRow,
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

impl AppendedRow {
    pub fn appended(self, flow: &dyn Flow) -> Appended {
        let Self { id, pass, first, last, written, replayed, records } = self;
        let is_all = flow.tables().iter().all(|table| is_appended(&table.kind));
        Appended { id, pass: pass.name(), first, last, written, replayed, records, is_all }
    }
}

/// A log, as appended rows name it.
#[derive(QueryableByName)]
struct LogRow {
    #[diesel(sql_type = Text)]
    flow: String,
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = BigInt)]
    log: i64,
}

impl LogRow {
    fn name(&self) -> String {
        let Self { flow, stream, partition, log } = self;
        format!("{flow} {stream} partition {partition} log {log}")
    }
}

/// A row of [`appended_rows`].
#[derive(QueryableByName)]
pub struct AppendedRowsRow {
    #[diesel(embed)]
    log: LogRow,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    strange: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    least: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    greatest: Option<i64>,
}

impl AppendedRowsRow {
    pub fn rows(self, table: &Table, flow: &dyn Flow) -> AppendedRows {
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
pub struct WrongNumbersRow {
    #[diesel(embed)]
    log: LogRow,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    greatest: i64,
}

impl WrongNumbersRow {
    pub fn numbers(self, table: &Table) -> WrongNumbers {
        let Self { log, position, number, greatest } = self;
        let (table, log) = (table.name.to_string(), log.name());
        WrongNumbers { table, log, position, count: number, greatest }
    }
}

/// A row of [`counted`].
#[derive(QueryableByName)]
pub struct CountedRow {
    #[diesel(embed)]
    log: LogRow,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

impl CountedRow {
    pub fn counted(self) -> Counted {
        let Self { log: LogRow { flow, stream, partition, log }, first, last } = self;
        Counted { flow, stream, partition, log, first, last }
    }
}

/// The ids of what stands in the outbox of a flow.
pub fn unpublished(flow: &dyn Flow) -> String {
    UNPUBLISHED.replace("{flow}", flow.name())
}

/// A row of [`unpublished`].
#[derive(QueryableByName)]
pub struct UnpublishedRow {
    #[diesel(sql_type = Text)]
    headers: String,
}

impl UnpublishedRow {
    /// The id; `None` where the record has none.
    pub fn unpublished(&self, flow: &dyn Flow) -> Option<Unpublished> {
        let headers =
            serde_json::from_str(&self.headers).ok().as_ref().and_then(headers_from_json)?;
        let (_, id) = headers.iter().find(|(name, _)| name == publish::ID)?;
        let id = String::from_utf8(id.as_ref()?.to_vec()).ok()?;
        Some(Unpublished { flow: flow.name().to_owned(), id })
    }
}

/// A row of [`counters`].
#[derive(QueryableByName)]
pub struct CounterRow {
    #[diesel(sql_type = Text)]
    values: String,
}

impl CounterRow {
    pub fn counter(self, table: usize, flow: &dyn Flow) -> Counter {
        // The query returns a list of texts and nulls.
        let values = serde_json::from_str(&self.values).unwrap_or_default();
        Counter { flow: flow.name().to_owned(), table, values }
    }
}

/// A row of [`TRACES_OF_DEAD_LETTERS`].
#[derive(QueryableByName)]
pub struct DeadLetterTraceRow {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Integer)]
    is_outdated_by_key: i32,
    #[diesel(sql_type = Integer)]
    is_first: i32,
}

impl DeadLetterTraceRow {
    pub fn trace(self) -> DeadLetterTrace {
        let Self { position, pass, state, is_outdated_by_key, is_first } = self;
        let state = state.parse().unwrap_or(State::Open);
        let is_outdated_by_key = is_outdated_by_key != 0;
        DeadLetterTrace { position, pass, state, is_outdated_by_key, is_first: is_first != 0 }
    }
}

/// A row of [`traces_of_appended`].
#[derive(QueryableByName)]
pub struct AppendedTraceRow {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl AppendedTraceRow {
    pub const fn trace(&self, table: usize) -> AppendedTrace {
        AppendedTrace { table, position: self.position, count: self.number }
    }
}

/// A row of [`traces_of_keys`].
#[derive(QueryableByName)]
pub struct KeyTraceRow {
    #[diesel(sql_type = BigInt)]
    slot: i64,
    #[diesel(sql_type = BigInt)]
    origin: i64,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    is_deleted: i32,
}

/// For each of `count` keys its row among those `found`; slots count from `from`.
pub fn in_slots(found: Vec<KeyTraceRow>, count: usize, from: i64) -> Vec<Option<RowTrace>> {
    let mut rows = vec![None; count];
    for KeyTraceRow { slot, origin, position, is_deleted } in found {
        let index = usize::try_from(slot - from).ok();
        if let Some(row) = index.and_then(|index| rows.get_mut(index)) {
            *row = Some(RowTrace { origin, position, is_deleted: is_deleted != 0 });
        }
    }
    rows
}
