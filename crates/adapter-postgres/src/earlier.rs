//! What earlier passes over a log left in the store.

use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tally_ports::{Commit, Earlier, Fault, Origin, Outcome, Row, counts};
use tally_queries::earlier::{
    CLOSE, COUNTED, Counted, FORGET, NOTE, OPEN, Open, TAKE_OVER, about, merged,
};

use crate::connection::{Session, answer};
use crate::query::prepared;

/// What the store holds for the positions from `first` to `last`; a concurrent replay of one of the open dead letters
/// waits.
pub(crate) async fn of(
    session: &mut Session,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> Result<Earlier, Fault> {
    let (connection, limit) = session.parts();
    let open = about(&format!("{OPEN} for update of d"), origin);
    let query = open.bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    let open: Vec<Open> = answer(limit, prepared(query).load(connection)).await?;
    let mut ranges = Vec::new();
    if counts(origin.flow) {
        ranges = counted(session, origin, first, last).await?;
    }
    Ok(Earlier { counted: ranges, open: open.into_iter().map(Into::into).collect() })
}

async fn counted(
    session: &mut Session,
    origin: &Origin<'_>,
    first: i64,
    last: i64,
) -> Result<Vec<(i64, i64)>, Fault> {
    let (connection, limit) = session.parts();
    let query = about(COUNTED, origin).bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    let ranges: Vec<Counted> = answer(limit, prepared(query).load(connection)).await?;
    Ok(ranges.into_iter().map(Into::into).collect())
}

/// Records that the positions from `first` to `last` are counted, merged with adjacent ranges.
pub(crate) async fn note_counted(
    session: &mut Session,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
) -> Result<(), Fault> {
    let (before, after) = (first.saturating_sub(1), last.saturating_add(1));
    let touching = counted(session, origin, before, after).await?;
    let (connection, limit) = session.parts();
    if !touching.is_empty() {
        let query = about(FORGET, origin).bind::<BigInt, _>(before).bind::<BigInt, _>(after);
        answer(limit, prepared(query).execute(connection)).await?;
    }
    let (first, last) = merged((first, last), &touching);
    let query = about(NOTE, origin).bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}

/// Closes the open dead letters of rows that are now written.
pub(crate) async fn close(
    session: &mut Session,
    origin: &Origin<'_>,
    earlier: &Earlier,
    rows: &[Row],
    outcomes: &[Outcome],
) -> Result<(), Fault> {
    for position in earlier.closed(rows, outcomes) {
        let (connection, limit) = session.parts();
        let query = about(CLOSE, origin).bind::<BigInt, _>(position);
        answer(limit, prepared(query).execute(connection)).await?;
    }
    Ok(())
}

/// Copies the states `repaired` and `discarded` from earlier dead letters of the same positions to those of the batch.
pub(crate) async fn take_over(session: &mut Session, commit: &Commit) -> Result<(), Fault> {
    let (connection, limit) = session.parts();
    let query = about(TAKE_OVER, &commit.origin()).bind::<SqlUuid, _>(commit.id);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}
