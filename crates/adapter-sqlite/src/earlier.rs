//! What earlier passes over a log left in the store.

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};
use tally_ports::{Commit, Earlier, Origin, Outcome, Row, counts};
use tally_queries::earlier::{
    CLOSE, COUNTED, Counted, FORGET, NOTE, OPEN, Open, TAKE_OVER, about, merged,
};

/// What the store holds for the positions from `first` to `last`.
pub(crate) fn of(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> QueryResult<Earlier> {
    let open = about(OPEN, origin).bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    let open: Vec<Open> = open.load(connection)?;
    let mut ranges = Vec::new();
    if counts(origin.flow) {
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

/// Closes the open dead letters of rows that are now written.
pub(crate) fn close(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    earlier: &Earlier,
    rows: &[Row],
    outcomes: &[Outcome],
) -> QueryResult<()> {
    for position in earlier.closed(rows, outcomes) {
        about(CLOSE, origin).bind::<BigInt, _>(position).execute(connection)?;
    }
    Ok(())
}

/// Copies the states `repaired` and `discarded` from earlier dead letters of the same positions to those of the batch.
pub(crate) fn take_over(connection: &mut SqliteConnection, commit: &Commit) -> QueryResult<()> {
    let query = about(TAKE_OVER, &commit.origin()).bind::<Text, _>(commit.id.to_string());
    query.execute(connection).map(drop)
}
