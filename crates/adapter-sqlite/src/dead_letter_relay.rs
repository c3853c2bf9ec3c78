//! The relay of committed dead letters to a topic.

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{DeadLetterRelay, Fault, PublishDeadLetters, RelayedDeadLetter};
use tally_queries::dead_letters::{BACKLOG, RelayedRow};
use uuid::Uuid;

use crate::atomic::transaction;
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite};

/// How many bytes of records are handed out at once.
const BYTES: i64 = 4 * 1024 * 1024;

/// At least one, whatever its size. Sizes are computed without reading large values, so only what is handed out is read.
const TAKE: &str = "select letter.id, flow, stream, partition, pass, position, attempt, key, payload, headers, record_timestamp, stage, code, \
    message, letter.failed_at from (\
        select id, failed_at, row_number() over oldest as number, sum(bytes) over oldest as bytes from (\
            select id, failed_at, coalesce(length(key), 0) + coalesce(length(payload), 0) + length(headers) as bytes \
            from dead_letters where flow = ? and published_at is null and state <> 'purged' \
            order by failed_at, id limit ?\
        ) window oldest as (order by failed_at, id rows unbounded preceding)\
    ) as counted join dead_letters as letter on letter.id = counted.id \
    where counted.bytes <= ? or counted.number = 1 order by counted.number";

/// Nothing is locked while `publisher` works: concurrent relays may hand out the same dead letters.
impl DeadLetterRelay for Sqlite {
    async fn relay<P: PublishDeadLetters>(
        &self,
        flow: &str,
        limit: usize,
        publisher: &P,
    ) -> Result<usize, Fault> {
        let flow = flow.to_owned();
        let letters = self.run(move |connection| take(connection, &flow, limit)).await?;
        if letters.is_empty() {
            return Ok(0);
        }
        publisher.publish(&letters).await?;
        let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
        self.run(move |connection| transaction(connection, |connection| mark(connection, &ids)))
            .await?;
        Ok(letters.len())
    }

    async fn backlog(&self, flow: &str) -> Result<i64, Fault> {
        #[derive(QueryableByName)]
        struct Backlog {
            #[diesel(sql_type = BigInt)]
            number: i64,
        }
        let flow = flow.to_owned();
        self.run(move |connection| {
            let query = sql_query(BACKLOG).bind::<Text, _>(flow);
            let Backlog { number } = query.get_result(connection)?;
            Ok(number)
        })
        .await
    }
}

fn take(
    connection: &mut SqliteConnection,
    flow: &str,
    limit: usize,
) -> Result<Vec<RelayedDeadLetter>, Failure> {
    let found: Vec<RelayedRow> = sql_query(TAKE)
        .bind::<Text, _>(flow)
        .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(BYTES)
        .load(connection)?;
    Ok(found.into_iter().map(RelayedRow::dead_letter).collect::<Result<_, Fault>>()?)
}

fn mark(connection: &mut SqliteConnection, ids: &[Uuid]) -> Result<(), Failure> {
    for id in ids {
        execute::<Mark>(connection, &[id.to_string().into()])?;
    }
    Ok(())
}

struct Mark;

impl Statement for Mark {
    const SQL: &'static str = "update dead_letters set published_at = strftime('%Y-%m-%d %H:%M:%f', 'now') \
        where id = ? and published_at is null";
}
