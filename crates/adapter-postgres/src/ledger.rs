//! The ledger entry of a batch, and the step of the position.

use diesel::sql_query;
use diesel::sql_types::{BigInt, Json, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use tally_ports::{Commit, Committed, Fault};

use crate::connection::{Session, answer};
use crate::positions::milliseconds;
use crate::query::prepared;

/// One statement: the entry is written where the position moves, and only there.
const RECORD: &str = "
    with moved as (
        update positions
        set next = $5 + 1, cursor = $6, stats = $7,
            lease_until = case when owner is not null then clock_timestamp() + $4 * interval '1 millisecond' end,
            updated_at = clock_timestamp()
        where id = $1 and epoch = $2 and next = $3 and ended_at is null
        returning flow, stream, partition, pass
    )
    insert into batches
        (id, flow, stream, partition, pass, first, last, read, written, superseded, skipped, dead_lettered, quality,
         passed, detail, started_at, committed_at, worker)
    select $8, flow, stream, partition, pass, $3, $5, $9, $10, $11, $12, $13, $14::json,
        $15, $16, clock_timestamp() - $17 * interval '1 millisecond', clock_timestamp(), $18
    from moved";

/// Moves the position to the end of the batch, renews the lease if it is held and writes the entry; `false`, and nothing, when the
/// position is not at the batch's start in our epoch. After `true` the session holds the position's lock until COMMIT.
pub(crate) async fn record(
    session: &mut Session,
    commit: &Commit,
    committed: &Committed,
    dead_lettered: usize,
    detail: Option<Value>,
) -> Result<bool, Fault> {
    let quality = serde_json::to_string(&commit.quality);
    let quality = quality.map_err(|error| {
        Fault::outage(format!("the quality report cannot be written as JSON: {error}"))
    })?;
    let (connection, limit) = session.parts();
    let query = sql_query(RECORD)
        .bind::<BigInt, _>(commit.lease.position_id)
        .bind::<BigInt, _>(commit.lease.epoch)
        .bind::<BigInt, _>(commit.first)
        .bind::<BigInt, _>(milliseconds(commit.lease.duration))
        .bind::<BigInt, _>(commit.last)
        .bind::<Json, _>(&commit.cursor)
        .bind::<Json, _>(&commit.stats)
        .bind::<SqlUuid, _>(commit.id)
        .bind::<BigInt, _>(commit.read)
        .bind::<BigInt, _>(committed.written)
        .bind::<BigInt, _>(committed.superseded)
        .bind::<BigInt, _>(committed.skipped)
        .bind::<BigInt, _>(i64::try_from(dead_lettered).unwrap_or(i64::MAX))
        .bind::<Text, _>(quality)
        .bind::<Json, _>(commit.passed.to_json())
        .bind::<Nullable<Json>, _>(detail)
        .bind::<BigInt, _>(milliseconds(commit.started.elapsed()))
        .bind::<Text, _>(&*commit.worker);
    let entries = answer(limit, prepared(query).execute(connection)).await?;
    Ok(entries == 1)
}
