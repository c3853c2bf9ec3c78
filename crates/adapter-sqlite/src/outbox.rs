//! Records to publish.

use std::time::Duration;

use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{OptionalExtension, QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::dead_letter::headers_to_json;
use tally_ports::{Fault, Lease, Origin, Outbox, OutboxRecord, OutgoingRecord, Stream, Way};
use tally_queries::outbox::{
    BYTES, DELETE, FIRST, HOLDS_ANY, HoldsAny, OWN, OutboxRow, Own, PARTITIONS, PartitionRow,
    RESERVE, Reserved, UNPUBLISHED, Unpublished,
};

use crate::atomic::transaction;
use crate::positions::{LastPassRow, last_pass, milliseconds};
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite};

impl Outbox for Sqlite {
    async fn outbox(&self, lease: &Lease, limit: usize) -> Result<Vec<OutboxRecord>, Fault> {
        let lease = *lease;
        self.run(move |connection| {
            let Own { flow, stream, partition } = own(connection, &lease)?;
            let found: Vec<OutboxRow> = sql_query(FIRST)
                .bind::<Text, _>(flow)
                .bind::<Text, _>(stream)
                .bind::<Integer, _>(partition)
                .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
                .bind::<BigInt, _>(BYTES)
                .load(connection)?;
            Ok(found.into_iter().map(OutboxRow::record).collect::<Result<_, Fault>>()?)
        })
        .await
    }

    async fn published(&self, lease: &Lease, last: i64) -> Result<(), Fault> {
        let lease = *lease;
        self.run(move |connection| {
            transaction(connection, |connection| {
                let Own { flow, stream, partition } = own(connection, &lease)?;
                let deleting = sql_query(DELETE)
                    .bind::<Text, _>(flow)
                    .bind::<Text, _>(stream)
                    .bind::<Integer, _>(partition)
                    .bind::<BigInt, _>(last);
                Ok::<_, Failure>(deleting.execute(connection).map(drop)?)
            })
        })
        .await
    }

    async fn unpublished(&self, flow: &str) -> Result<i64, Fault> {
        let flow = flow.to_owned();
        self.run(move |connection| {
            let query = sql_query(UNPUBLISHED).bind::<Text, _>(flow);
            let Unpublished { number } = query.get_result(connection)?;
            Ok(number)
        })
        .await
    }

    async fn claim_outbox(
        &self,
        flow: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<(Stream, Lease)>, Fault> {
        let (flow, owner) = (flow.to_owned(), owner.to_owned());
        self.run(move |connection| {
            transaction(connection, |connection| Ok(claim(connection, &flow, &owner, lease)?))
        })
        .await
    }
}

fn claim(
    connection: &mut SqliteConnection,
    flow: &str,
    owner: &str,
    lease: Duration,
) -> QueryResult<Option<(Stream, Lease)>> {
    let partitions: Vec<PartitionRow> =
        sql_query(PARTITIONS).bind::<Text, _>(flow).load(connection)?;
    for PartitionRow { stream, partition } in partitions {
        let (flow, label) = (flow.to_owned(), stream.clone());
        let mut stream = Stream { flow, name: stream, partition, label };
        let last = last_pass(connection, &stream)?;
        let last = last.as_ref().map(|row| (row, row.last()));
        let Some((row, last)) = last.filter(|(_, last)| last.holder.is_none()) else { continue };
        let values = [owner.into(), milliseconds(lease).into(), last.position.into()];
        execute::<Take>(connection, &values)?;
        row.label.clone_into(&mut stream.label);
        let epoch = last.epoch + 1;
        return Ok(Some((stream, Lease { position_id: last.position, epoch, duration: lease })));
    }
    Ok(None)
}

/// The pass that has ended stays so, and its label, too.
struct Take;

impl Statement for Take {
    const SQL: &'static str = "update positions set epoch = epoch + 1, owner = ?, \
        lease_until = strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds'), \
        updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') \
        where id = ?";
}

/// The partition of the lease; [`StopKind::Taken`](tally_ports::StopKind::Taken) where it is no longer good.
fn own(connection: &mut SqliteConnection, lease: &Lease) -> Result<Own, Failure> {
    let found = sql_query(OWN)
        .bind::<BigInt, _>(lease.position_id)
        .bind::<BigInt, _>(lease.epoch)
        .get_result(connection)
        .optional()?;
    Ok(found.ok_or_else(|| lease.taken())?)
}

struct Insert;

impl Statement for Insert {
    const SQL: &'static str = "insert into outbox \
        (flow, stream, partition, number, topic, key, value, headers, created_at) \
        values (?, ?, ?, ?, ?, ?, ?, ?, strftime('%Y-%m-%d %H:%M:%f', 'now'))";
}

/// Adds the records, numbered from the position's counter; `false`, and nothing, where the position is not in this epoch.
pub(crate) fn insert(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    (position, epoch): (i64, i64),
    records: &[OutgoingRecord],
) -> QueryResult<bool> {
    if records.is_empty() {
        return Ok(true);
    }
    let reserved: Option<Reserved> = sql_query(RESERVE)
        .bind::<BigInt, _>(i64::try_from(records.len()).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(position)
        .bind::<BigInt, _>(epoch)
        .get_result(connection)
        .optional()?;
    let Some(Reserved { first }) = reserved else { return Ok(false) };
    for (number, record) in (first..).zip(records) {
        let values = [
            origin.flow.name().into(),
            origin.stream.into(),
            origin.partition.into(),
            number.into(),
            (&*record.topic).into(),
            record.key.as_deref().into(),
            record.value.as_deref().into(),
            headers_to_json(&record.headers).to_string().into(),
        ];
        execute::<Insert>(connection, &values)?;
    }
    Ok(true)
}

/// Adds the records of a replay, whichever pass has read its record; the last one counts. Whether there is one.
pub(crate) fn insert_replayed(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    records: &[OutgoingRecord],
) -> QueryResult<bool> {
    let last = last_pass(connection, &origin.to_stream())?;
    let last = last.as_ref().map(LastPassRow::last);
    let last = last.map_or((origin.id, 0), |last| (last.position, last.epoch));
    insert(connection, origin, last, records)
}

/// Whether the last pass may have published the record at `position` without a commit.
pub(crate) fn may_have_published(
    connection: &mut SqliteConnection,
    origin: &Origin<'_>,
    position: i64,
) -> QueryResult<bool> {
    if Way::of(origin.flow) != Some(Way::Direct) {
        return Ok(false);
    }
    let last = last_pass(connection, &origin.to_stream())?;
    Ok(last.is_some_and(|row| row.last().may_have_published(origin, position)))
}

/// Whether the partition of the lease has records and its pass has not ended.
pub(crate) fn holds_any(connection: &mut SqliteConnection, lease: Lease) -> QueryResult<bool> {
    let query = sql_query(HOLDS_ANY).bind::<BigInt, _>(lease.position_id);
    let HoldsAny { found } = query.get_result(connection)?;
    Ok(found)
}
