//! What earlier passes over a log left in the store.

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};
use tally_ports::{
    Commit, Earlier, Origin, Outcome, Row, notes_ranges, outdates_by_key, written_keys,
};
use tally_queries::earlier::{
    COUNTED, Counted, FORGET, NOTE, OPEN, Open, TAKE_OVER, about, merged,
};

use crate::statement::{Statement, Value, execute, query_bool};

/// What the store holds for the positions from `first` to `last`.
pub(crate) fn of(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> QueryResult<Earlier> {
    let open = about(OPEN, origin).bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    let open: Vec<Open> = open.load(connection)?;
    let mut ranges = Vec::new();
    if notes_ranges(origin.flow) {
        ranges = counted(connection, origin, first, last)?;
    }
    Ok(Earlier { counted: ranges, open: open.into_iter().map(Into::into).collect() })
}

fn counted(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    first: i64,
    last: i64,
) -> QueryResult<Vec<(i64, i64)>> {
    let query = about(COUNTED, origin).bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    let ranges: Vec<Counted> = query.load(connection)?;
    Ok(ranges.into_iter().map(Into::into).collect())
}

/// Records that the positions from `first` to `last` are counted, merged with adjacent ranges.
pub(crate) fn note_counted(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> QueryResult<()> {
    let (before, after) = (first.saturating_sub(1), last.saturating_add(1));
    let touching = counted(connection, origin, before, after)?;
    if !touching.is_empty() {
        let query = about(FORGET, origin).bind::<BigInt, _>(before).bind::<BigInt, _>(after);
        query.execute(connection)?;
    }
    let (first, last) = merged((first, last), &touching);
    let query = about(NOTE, origin).bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    query.execute(connection).map(drop)
}

/// Closes the open dead letters of the positions of rows that are now written, with one of the statements for that.
pub(crate) fn close(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    earlier: &Earlier,
    rows: &[Row],
    outcomes: &[Outcome],
    statement: &str,
) -> QueryResult<()> {
    for position in earlier.closed(rows, outcomes) {
        close_at(connection, origin, position, statement)?;
    }
    Ok(())
}

/// Closes the open dead letters of a position, with one of the statements for that.
pub(crate) fn close_at(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    position: i64,
    statement: &str,
) -> QueryResult<()> {
    about(statement, origin).bind::<BigInt, _>(position).execute(connection).map(drop)
}

/// Whether other passes or streams than that of a batch have open dead letters with a key: each part looks at one end of an
/// index, however many there are.
const HAS_OPEN_KEYS: &str = "
    select exists (
        select 1 from dead_letters where flow = ? and state = 'open' and key is not null and stream < ?
    ) or exists (
        select 1 from dead_letters where flow = ? and state = 'open' and key is not null and stream > ?
    ) or exists (
        select 1 from dead_letters where flow = ? and state = 'open' and key is not null and stream = ? and pass < ?
    ) as found";

struct Outdate;

impl Statement for Outdate {
    const SQL: &'static str = "update dead_letters set state = 'outdated', outdated_by = 'key' \
        where flow = ? and key = ? and state = 'open' and stream like 'file/%' and not (stream = ? and pass >= ?)";
}

/// Closes the open dead letters of earlier passes and other files under keys that are now written.
pub(crate) fn outdate(
    connection: &mut SqliteConnection,
    commit: &Commit,
    outcomes: &[Outcome],
) -> QueryResult<()> {
    let origin = commit.origin();
    if !outdates_by_key(&origin) {
        return Ok(());
    }
    let (flow, stream) = (origin.flow.name(), origin.stream);
    let values: [Value<'_>; 7] = [
        flow.into(),
        stream.into(),
        flow.into(),
        stream.into(),
        flow.into(),
        stream.into(),
        commit.pass.into(),
    ];
    if !query_bool(connection, HAS_OPEN_KEYS, &values)? {
        return Ok(());
    }
    for key in written_keys(origin.flow, &commit.rows, Some(outcomes)) {
        let values = [flow.into(), key.into(), stream.into(), commit.pass.into()];
        execute::<Outdate>(connection, &values)?;
    }
    Ok(())
}

/// Copies the states `repaired` and `discarded` from earlier dead letters of the same positions to those of the batch.
pub(crate) fn take_over(connection: &mut SqliteConnection, commit: &Commit) -> QueryResult<()> {
    let query = about(TAKE_OVER, &commit.origin()).bind::<Text, _>(commit.id.to_string());
    query.execute(connection).map(drop)
}
