//! The relay of committed dead letters to a topic.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tally_ports::{DeadLetterRelay, Fault, PublishDeadLetters, RelayedDeadLetter};
use tally_queries::dead_letters::{BACKLOG, RelayedRow};
use tokio::time::timeout;
use uuid::Uuid;

use crate::Postgres;
use crate::connection::{Session, answer};
use crate::query::prepared;

/// How many bytes of records are handed out at once.
const BYTES: i64 = 4 * 1024 * 1024;

/// The oldest that no other session has locked; at least one, whatever its size. Sizes are computed without reading large
/// values, so only what is handed out is read. Rows that are locked and not handed out are freed with the rest.
const TAKE: &str = "
    with locked as materialized (
        select * from dead_letters
        where flow = $1 and published_at is null and state <> 'purged'
        order by failed_at, id
        limit $2
        for update skip locked
    ), counted as (
        select *, row_number() over oldest as number,
            sum(coalesce(octet_length(key), 0) + coalesce(octet_length(payload), 0) + octet_length(headers::text))
                over oldest as bytes
        from locked
        window oldest as (order by failed_at, id rows unbounded preceding)
    )
    select cast(id as text) as id, flow, stream, partition, pass, position, attempt, key, payload,
        cast(headers as text) as headers, record_timestamp, stage, code, message, failed_at
    from counted
    where bytes <= $3 or number = 1
    order by number";

const MARK: &str = "update dead_letters set published_at = clock_timestamp() where id = any($1)";

impl DeadLetterRelay for Postgres {
    /// Gives `publisher` half a lease, so that nothing waits longer for one of the rows; after a whole lease the server
    /// itself ends the transaction of a frozen process.
    async fn relay<P: PublishDeadLetters>(
        &self,
        flow: &str,
        limit: usize,
        publisher: &P,
    ) -> Result<usize, Fault> {
        let mut session = self.relay.session().await?;
        session.run("begin isolation level read committed read write").await?;
        let letters = take(&mut session, flow, limit).await?;
        if let Err(fault) = hand_out(&letters, publisher, self.lease / 2).await {
            if session.run("rollback").await.is_ok() {
                session.keep();
            }
            return Err(fault);
        }
        mark(&mut session, &letters).await?;
        session.run("commit").await?;
        session.keep();
        Ok(letters.len())
    }

    async fn backlog(&self, flow: &str) -> Result<i64, Fault> {
        let mut session = self.relay.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(BACKLOG).bind::<Text, _>(flow);
        let Backlog { number } = answer(limit, prepared(query).get_result(connection)).await?;
        session.keep();
        Ok(number)
    }
}

async fn take(
    session: &mut Session,
    flow: &str,
    limit: usize,
) -> Result<Vec<RelayedDeadLetter>, Fault> {
    let (connection, answer_limit) = session.parts();
    let query = sql_query(TAKE)
        .bind::<Text, _>(flow)
        .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(BYTES);
    let found: Vec<RelayedRow> = answer(answer_limit, prepared(query).load(connection)).await?;
    found.into_iter().map(RelayedRow::dead_letter).collect()
}

async fn hand_out<P: PublishDeadLetters>(
    letters: &[RelayedDeadLetter],
    publisher: &P,
    patience: Duration,
) -> Result<(), Fault> {
    if letters.is_empty() {
        return Ok(());
    }
    match timeout(patience, publisher.publish(letters)).await {
        Ok(result) => result,
        Err(_) => Err(Fault::outage(format!(
            "the dead-letter topic did not acknowledge them within {patience:?}"
        ))),
    }
}

async fn mark(session: &mut Session, letters: &[RelayedDeadLetter]) -> Result<(), Fault> {
    if letters.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let (connection, limit) = session.parts();
    let query = sql_query(MARK).bind::<Array<SqlUuid>, _>(ids);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Backlog {
    #[diesel(sql_type = BigInt)]
    number: i64,
}
