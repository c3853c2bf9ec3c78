//! What earlier passes over a log left behind.

use diesel::sql_types::{BigInt, Bool, Integer, Text, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tally_ports::{Commit, Earlier, Fault, OpenLetter, Origin, Outcome, Row, counts};

use crate::connection::{Session, answer};
use crate::query::prepared;
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
        prepared(
            sql_query($sql)
                .bind::<Text, _>($origin.flow.name())
                .bind::<Text, _>($origin.stream)
                .bind::<Integer, _>($origin.partition)
                .bind::<BigInt, _>($origin.log)
                .bind::<BigInt, _>($first)
                .bind::<BigInt, _>($last),
        )
    };
}

/// What is there of the positions from `first` to `last`; whoever replays one of the open dead letters waits.
pub(crate) async fn of(
    session: &mut Session,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> Result<Earlier, Fault> {
    #[derive(QueryableByName)]
    struct Open {
        #[diesel(sql_type = BigInt)]
        position: i64,
        #[diesel(sql_type = Bool)]
        is_uncounted: bool,
    }
    let (connection, limit) = session.parts();
    let open = format!("{OPEN} for update of d");
    let query = about!(open, origin, first, last);
    let open: Vec<Open> = answer(limit, query.load(connection)).await?;
    let open = open
        .into_iter()
        .map(|Open { position, is_uncounted }| OpenLetter { position, is_uncounted });
    let mut ranges = Vec::new();
    if counts(origin.flow) {
        ranges = counted(session, origin, first, last).await?;
    }
    Ok(Earlier { counted: ranges, open: open.collect() })
}

async fn counted(
    session: &mut Session,
    origin: &Origin<'_>,
    first: i64,
    last: i64,
) -> Result<Vec<(i64, i64)>, Fault> {
    let (connection, limit) = session.parts();
    let query = about!(COUNTED, origin, first, last);
    let ranges: Vec<Range> = answer(limit, query.load(connection)).await?;
    Ok(ranges.into_iter().map(|Range { first, last }| (first, last)).collect())
}

/// Notes that the positions from `first` to `last` are counted, in one range with those that touch them.
pub(crate) async fn note_counted(
    session: &mut Session,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> Result<(), Fault> {
    let (before, after) = (first.saturating_sub(1), last.saturating_add(1));
    let touching = counted(session, origin, before, after).await?;
    let (connection, limit) = session.parts();
    if !touching.is_empty() {
        let query = about!(FORGET, origin, before, after);
        answer(limit, query.execute(connection)).await?;
    }
    let first = touching.iter().map(|(first, _)| *first).fold(first, i64::min);
    let last = touching.iter().map(|(_, last)| *last).fold(last, i64::max);
    let query = about!(NOTE, origin, first, last);
    answer(limit, query.execute(connection)).await?;
    Ok(())
}

/// Closes the open dead letters of the rows that are none any more.
pub(crate) async fn close(
    session: &mut Session,
    origin: &Origin<'_>,
    earlier: &Earlier,
    rows: &[Row],
    outcomes: &[Outcome],
) -> Result<(), Fault> {
    for position in earlier.closed(rows, outcomes) {
        let (connection, limit) = session.parts();
        let query = sql_query(CLOSE)
            .bind::<Text, _>(origin.flow.name())
            .bind::<Text, _>(origin.stream)
            .bind::<Integer, _>(origin.partition)
            .bind::<BigInt, _>(origin.log)
            .bind::<BigInt, _>(position);
        answer(limit, prepared(query).execute(connection)).await?;
    }
    Ok(())
}

/// The dead letters of the batch take the states that somebody gave to earlier ones of the same positions.
pub(crate) async fn take_over(session: &mut Session, commit: &Commit) -> Result<(), Fault> {
    let origin = commit.origin();
    let (connection, limit) = session.parts();
    let query = sql_query(TAKE_OVER)
        .bind::<Text, _>(origin.flow.name())
        .bind::<Text, _>(origin.stream)
        .bind::<Integer, _>(origin.partition)
        .bind::<BigInt, _>(origin.log)
        .bind::<SqlUuid, _>(commit.id);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}
