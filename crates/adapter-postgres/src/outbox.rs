//! Records to publish.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text};
use diesel::{OptionalExtension, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tally_ports::dead_letter::headers_to_json;
use tally_ports::publish::no_position;
use tally_ports::{Fault, Lease, Origin, Outbox, OutboxRecord, OutgoingRecord, Stream, Way};
use tally_queries::outbox::{
    BYTES, DELETE, FIRST, HOLDS_ANY, HoldsAny, OWN, OutboxRow, Own, PARTITIONS, PartitionRow,
    RESERVE, Reserved, UNPUBLISHED, Unpublished,
};

use crate::Postgres;
use crate::connection::{Session, answer};
use crate::positions::{LastPassRow, lock_last_pass, milliseconds};
use crate::query::prepared;

const INSERT: &str = "
    insert into outbox (flow, stream, partition, number, topic, key, value, headers, created_at)
    select $1, $2, $3, $4 + added.n - 1, added.topic, added.key, added.value, added.headers::json, clock_timestamp()
    from unnest($5, $6, $7, $8) with ordinality as added (topic, key, value, headers, n)";

/// The pass that has ended stays so, and its label, too.
const TAKE: &str = "
    update positions
    set epoch = epoch + 1, owner = $2, lease_until = clock_timestamp() + $3 * interval '1 millisecond',
        updated_at = clock_timestamp()
    where id = $1
    returning epoch, label";

impl Outbox for Postgres {
    async fn outbox(&self, lease: &Lease, limit: usize) -> Result<Vec<OutboxRecord>, Fault> {
        let mut session = self.commits.session().await?;
        let Some(Own { flow, stream, partition }) = own(&mut session, lease, "").await? else {
            session.keep();
            return Err(lease.taken());
        };
        let (connection, answer_limit) = session.parts();
        let query = sql_query(FIRST)
            .bind::<Text, _>(flow)
            .bind::<Text, _>(stream)
            .bind::<Integer, _>(partition)
            .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind::<BigInt, _>(BYTES);
        let found: Vec<OutboxRow> = answer(answer_limit, prepared(query).load(connection)).await?;
        session.keep();
        found.into_iter().map(OutboxRow::record).collect()
    }

    async fn published(&self, lease: &Lease, last: i64) -> Result<(), Fault> {
        let mut session = self.commits.session().await?;
        session.run("begin isolation level read committed read write").await?;
        let Some(Own { flow, stream, partition }) =
            own(&mut session, lease, " for update of p").await?
        else {
            session.run("rollback").await?;
            session.keep();
            return Err(lease.taken());
        };
        let (connection, limit) = session.parts();
        let query = sql_query(DELETE)
            .bind::<Text, _>(flow)
            .bind::<Text, _>(stream)
            .bind::<Integer, _>(partition)
            .bind::<BigInt, _>(last);
        answer(limit, prepared(query).execute(connection)).await?;
        session.run("commit").await?;
        session.keep();
        Ok(())
    }

    async fn unpublished(&self, flow: &str) -> Result<i64, Fault> {
        let mut session = self.relay.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(UNPUBLISHED).bind::<Text, _>(flow);
        let Unpublished { number } = answer(limit, prepared(query).get_result(connection)).await?;
        session.keep();
        Ok(number)
    }

    async fn claim_outbox(
        &self,
        flow: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<(Stream, Lease)>, Fault> {
        let mut session = self.claims.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(PARTITIONS).bind::<Text, _>(flow);
        let partitions: Vec<PartitionRow> = answer(limit, query.load(connection)).await?;
        let mut claimed = None;
        for PartitionRow { stream, partition } in partitions {
            let (flow, label) = (flow.to_owned(), stream.clone());
            let stream = Stream { flow, name: stream, partition, label };
            claimed = claim(&mut session, stream, owner, lease).await?;
            if claimed.is_some() {
                break;
            }
        }
        session.keep();
        Ok(claimed)
    }
}

async fn claim(
    session: &mut Session,
    stream: Stream,
    owner: &str,
    lease: Duration,
) -> Result<Option<(Stream, Lease)>, Fault> {
    session.run("begin isolation level read committed read write").await?;
    let last = lock_last_pass(session, &stream).await?;
    let Some(last) = last.as_ref().map(LastPassRow::last).filter(|last| last.holder.is_none())
    else {
        session.run("rollback").await?;
        return Ok(None);
    };
    let (connection, limit) = session.parts();
    let query = sql_query(TAKE)
        .bind::<BigInt, _>(last.position)
        .bind::<Text, _>(owner)
        .bind::<BigInt, _>(milliseconds(lease));
    let Taken { epoch, label } = answer(limit, query.get_result(connection)).await?;
    session.run("commit").await?;
    let lease = Lease { position_id: last.position, epoch, duration: lease };
    Ok(Some((Stream { label, ..stream }, lease)))
}

/// The partition of the lease, if it is good; `lock` may lock its position.
async fn own(session: &mut Session, lease: &Lease, lock: &str) -> Result<Option<Own>, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(format!("{OWN}{lock}"))
        .bind::<BigInt, _>(lease.position_id)
        .bind::<BigInt, _>(lease.epoch);
    answer(limit, async { prepared(query).get_result(connection).await.optional() }).await
}

/// Adds the records, numbered from the position's counter, which stays locked; `false`, and nothing, where the position is
/// not in this epoch.
pub(crate) async fn insert(
    session: &mut Session,
    origin: &Origin<'_>,
    (position, epoch): (i64, i64),
    records: &[OutgoingRecord],
) -> Result<bool, Fault> {
    if records.is_empty() {
        return Ok(true);
    }
    let (connection, limit) = session.parts();
    let query = sql_query(RESERVE)
        .bind::<BigInt, _>(i64::try_from(records.len()).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(position)
        .bind::<BigInt, _>(epoch);
    let reserving = async { prepared(query).get_result(connection).await.optional() };
    let Some(Reserved { first }) = answer(limit, reserving).await? else { return Ok(false) };
    let topics: Vec<&str> = records.iter().map(|record| &*record.topic).collect();
    let keys: Vec<Option<&[u8]>> = records.iter().map(|record| record.key.as_deref()).collect();
    let values: Vec<Option<&[u8]>> = records.iter().map(|record| record.value.as_deref()).collect();
    let headers = records.iter().map(|record| headers_to_json(&record.headers).to_string());
    let headers: Vec<String> = headers.collect();
    let (connection, limit) = session.parts();
    let query = sql_query(INSERT)
        .bind::<Text, _>(origin.flow.name())
        .bind::<Text, _>(origin.stream)
        .bind::<Integer, _>(origin.partition)
        .bind::<BigInt, _>(first)
        .bind::<Array<Text>, _>(topics)
        .bind::<Array<Nullable<Binary>>, _>(keys)
        .bind::<Array<Nullable<Binary>>, _>(values)
        .bind::<Array<Text>, _>(headers);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(true)
}

/// Adds the records of a replay, whichever pass has read its record; the last one counts.
pub(crate) async fn insert_replayed(
    session: &mut Session,
    origin: &Origin<'_>,
    records: &[OutgoingRecord],
) -> Result<(), Fault> {
    if records.is_empty() {
        return Ok(());
    }
    let last = lock_last_pass(session, &origin.to_stream()).await?;
    let last = last.as_ref().map_or((origin.id, 0), |row| (row.last().position, row.last().epoch));
    if insert(session, origin, last, records).await? { Ok(()) } else { Err(no_position(origin)) }
}

/// Whether the last pass, which is then locked, may have published the record at `position` without a commit.
pub(crate) async fn may_have_published(
    session: &mut Session,
    origin: &Origin<'_>,
    position: i64,
) -> Result<bool, Fault> {
    if Way::of(origin.flow) != Some(Way::Direct) {
        return Ok(false);
    }
    let last = lock_last_pass(session, &origin.to_stream()).await?;
    Ok(last.is_some_and(|row| row.last().may_have_published(origin, position)))
}

/// Whether the partition of the position, which this transaction has locked, has records and its pass has not ended.
pub(crate) async fn holds_any(session: &mut Session, position: i64) -> Result<bool, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(HOLDS_ANY).bind::<BigInt, _>(position);
    let HoldsAny { found } = answer(limit, query.get_result(connection)).await?;
    Ok(found)
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = Text)]
    label: String,
}
