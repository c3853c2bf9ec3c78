//! What earlier passes over a log left in the store.

use std::collections::HashSet;

use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Text, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tally_ports::{
    Commit, Earlier, Fault, Origin, Outcome, Row, notes_ranges, outdates_by_key, written_keys,
};
use tally_queries::earlier::{
    COUNTED, Counted, FORGET, NOTE, OPEN, Open, TAKE_OVER, about, merged,
};
use uuid::Uuid;

use crate::connection::{Session, answer};
use crate::query::prepared;

/// What the store holds for the positions from `first` to `last`; a concurrent replay of one of the open dead letters
/// waits.
pub(crate) async fn of(
    session: &mut Session,
    origin: &Origin<'_>,
    range: (i64, i64),
) -> Result<Earlier, Fault> {
    find(session, origin, range, &format!("{OPEN} for update of d")).await
}

/// The same, and nobody waits.
pub(crate) async fn seen(
    session: &mut Session,
    origin: &Origin<'_>,
    range: (i64, i64),
) -> Result<Earlier, Fault> {
    find(session, origin, range, OPEN).await
}

async fn find(
    session: &mut Session,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
    open: &str,
) -> Result<Earlier, Fault> {
    let (connection, limit) = session.parts();
    let open = about(open, origin);
    let query = open.bind::<BigInt, _>(first).bind::<BigInt, _>(last);
    let open: Vec<Open> = answer(limit, prepared(query).load(connection)).await?;
    let mut ranges = Vec::new();
    if notes_ranges(origin.flow) {
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

/// Closes the open dead letters of the positions of rows that are now written, with one of the statements for that.
pub(crate) async fn close(
    session: &mut Session,
    origin: &Origin<'_>,
    earlier: &Earlier,
    rows: &[Row],
    outcomes: &[Outcome],
    statement: &str,
) -> Result<(), Fault> {
    for position in earlier.closed(rows, outcomes) {
        close_at(session, origin, position, statement).await?;
    }
    Ok(())
}

/// Closes the open dead letters of a position, with one of the statements for that.
pub(crate) async fn close_at(
    session: &mut Session,
    origin: &Origin<'_>,
    position: i64,
    statement: &str,
) -> Result<(), Fault> {
    let (connection, limit) = session.parts();
    let query = about(statement, origin).bind::<BigInt, _>(position);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}

/// Whether other passes or streams than the pass `$3` of the stream `$2` have open dead letters with a key: each part looks
/// at one end of an index, however many there are.
const HAS_OPEN_KEYS: &str = "
    select exists (
        select 1 from dead_letters where flow = $1 and state = 'open' and key is not null and stream < $2
    ) or exists (
        select 1 from dead_letters where flow = $1 and state = 'open' and key is not null and stream > $2
    ) or exists (
        select 1 from dead_letters where flow = $1 and state = 'open' and key is not null and stream = $2 and pass < $3
    ) as found";

/// A row of [`HAS_OPEN_KEYS`].
#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// An open dead letter under a key that a batch writes.
#[derive(QueryableByName)]
pub(crate) struct UnderKey {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
}

/// In one order, so that concurrent calls do not deadlock.
const UNDER_KEYS: &str = "
    select id, key from dead_letters
    where flow = $1 and state = 'open' and key = any($4) and stream like 'file/%' and (stream <> $2 or pass < $3)
    order by id for update";

/// The open dead letters of earlier passes and other files under the keys of a batch; a concurrent replay of one of them
/// waits.
pub(crate) async fn under_keys(
    session: &mut Session,
    commit: &Commit,
) -> Result<Vec<UnderKey>, Fault> {
    let origin = commit.origin();
    let keys = if outdates_by_key(&origin) {
        written_keys(origin.flow, &commit.rows, None)
    } else {
        Vec::new()
    };
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (connection, limit) = session.parts();
    let query = sql_query(HAS_OPEN_KEYS)
        .bind::<Text, _>(origin.flow.name())
        .bind::<Text, _>(origin.stream)
        .bind::<Integer, _>(commit.pass);
    let found: Found = answer(limit, prepared(query).get_result(connection)).await?;
    if !found.found {
        return Ok(Vec::new());
    }
    let (connection, limit) = session.parts();
    let query = sql_query(UNDER_KEYS)
        .bind::<Text, _>(origin.flow.name())
        .bind::<Text, _>(origin.stream)
        .bind::<Integer, _>(commit.pass)
        .bind::<Array<Binary>, _>(keys);
    answer(limit, prepared(query).load(connection)).await
}

/// Closes those of them whose key is now written.
pub(crate) async fn outdate(
    session: &mut Session,
    commit: &Commit,
    under_keys: Vec<UnderKey>,
    outcomes: &[Outcome],
) -> Result<(), Fault> {
    if under_keys.is_empty() {
        return Ok(());
    }
    let keys = written_keys(&*commit.flow, &commit.rows, Some(outcomes));
    let keys: HashSet<&[u8]> = keys.into_iter().collect();
    let written = under_keys.into_iter().filter(|letter| keys.contains(&letter.key[..]));
    let ids: Vec<Uuid> = written.map(|letter| letter.id).collect();
    let (connection, limit) = session.parts();
    let query = sql_query(
        "update dead_letters set state = 'outdated', outdated_by = 'key' where id = any($1) and state = 'open'",
    );
    let query = query.bind::<Array<SqlUuid>, _>(ids);
    answer(limit, prepared(query).execute(connection)).await.map(drop)
}

/// Copies the states `repaired` and `discarded` from earlier dead letters of the same positions to those of the batch.
pub(crate) async fn take_over(session: &mut Session, commit: &Commit) -> Result<(), Fault> {
    let (connection, limit) = session.parts();
    let query = about(TAKE_OVER, &commit.origin()).bind::<SqlUuid, _>(commit.id);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}
