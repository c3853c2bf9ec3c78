//! What earlier passes over a log left behind.

use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{Commit, Earlier, OpenLetter, Origin, Outcome, Row, counts};

use tally_queries::earlier::{CLOSE, COUNTED, FORGET, NOTE, OPEN, TAKE_OVER};

#[derive(QueryableByName)]
struct Range {
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

/// A query about an origin and two positions.
macro_rules! about {
    ($sql:expr, $origin:expr, $first:expr, $last:expr) => {
        sql_query($sql)
            .bind::<Text, _>($origin.flow.name())
            .bind::<Text, _>($origin.stream)
            .bind::<Integer, _>($origin.partition)
            .bind::<BigInt, _>($origin.log)
            .bind::<BigInt, _>($first)
            .bind::<BigInt, _>($last)
    };
}

/// What is there of the positions from `first` to `last`.
pub(crate) fn of(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> QueryResult<Earlier> {
    #[derive(QueryableByName)]
    struct Open {
        #[diesel(sql_type = BigInt)]
        position: i64,
        #[diesel(sql_type = Bool)]
        is_uncounted: bool,
    }
    let open: Vec<Open> = about!(OPEN, origin, first, last).load(connection)?;
    let open = open
        .into_iter()
        .map(|Open { position, is_uncounted }| OpenLetter { position, is_uncounted });
    let open = open.collect();
    let mut ranges = Vec::new();
    if counts(origin.flow) {
        ranges = counted(connection, origin, first, last)?;
    }
    Ok(Earlier { counted: ranges, open })
}

fn counted(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    first: i64,
    last: i64,
) -> QueryResult<Vec<(i64, i64)>> {
    let ranges: Vec<Range> = about!(COUNTED, origin, first, last).load(connection)?;
    Ok(ranges.into_iter().map(|Range { first, last }| (first, last)).collect())
}

/// Notes that the positions from `first` to `last` are counted, in one range with those that touch them.
pub(crate) fn note_counted(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> QueryResult<()> {
    let (before, after) = (first.saturating_sub(1), last.saturating_add(1));
    let touching = counted(connection, origin, before, after)?;
    if !touching.is_empty() {
        about!(FORGET, origin, before, after).execute(connection)?;
    }
    let first = touching.iter().map(|(first, _)| *first).fold(first, i64::min);
    let last = touching.iter().map(|(_, last)| *last).fold(last, i64::max);
    about!(NOTE, origin, first, last).execute(connection).map(drop)
}

/// Closes the open dead letters of the rows that are none any more.
pub(crate) fn close(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    earlier: &Earlier,
    rows: &[Row],
    outcomes: &[Outcome],
) -> QueryResult<()> {
    for position in earlier.closed(rows, outcomes) {
        sql_query(CLOSE)
            .bind::<Text, _>(origin.flow.name())
            .bind::<Text, _>(origin.stream)
            .bind::<Integer, _>(origin.partition)
            .bind::<BigInt, _>(origin.log)
            .bind::<BigInt, _>(position)
            .execute(connection)?;
    }
    Ok(())
}

/// The dead letters of the batch take the states that somebody gave to earlier ones of the same positions.
pub(crate) fn take_over(connection: &mut SqliteConnection, commit: &Commit) -> QueryResult<()> {
    let origin = commit.origin();
    sql_query(TAKE_OVER)
        .bind::<Text, _>(origin.flow.name())
        .bind::<Text, _>(origin.stream)
        .bind::<Integer, _>(origin.partition)
        .bind::<BigInt, _>(origin.log)
        .bind::<Text, _>(commit.id.to_string())
        .execute(connection)
        .map(drop)
}
