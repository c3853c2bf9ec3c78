//! Committed dead letters on their way to a topic.

use bytes::Bytes;
use chrono::NaiveDateTime;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text, Timestamp};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::dead_letter::headers_from_json;
use tally_ports::{Fault, Letter, Outbox, Publish, Raw, StopKind};
use uuid::Uuid;

use crate::atomic::transaction;
use crate::statement::{Statement, execute};
use crate::{Failure, Sqlite};

/// How many bytes of records are handed out at once.
const BYTES: i64 = 4 * 1024 * 1024;

/// At least one, whatever its size. Sizes are told without reading what is large, so only what is handed out is read.
const TAKE: &str = "select letter.id, flow, stream, partition, pass, position, attempt, key, payload, headers, stage, code, \
    message, letter.failed_at from (\
        select id, failed_at, row_number() over oldest as number, sum(bytes) over oldest as bytes from (\
            select id, failed_at, coalesce(length(key), 0) + coalesce(length(payload), 0) + length(headers) as bytes \
            from dead_letters where flow = ? and published_at is null and state <> 'purged' \
            order by failed_at, id limit ?\
        ) window oldest as (order by failed_at, id rows unbounded preceding)\
    ) as counted join dead_letters as letter on letter.id = counted.id \
    where counted.bytes <= ? or counted.number = 1 order by counted.number";

/// Nothing is locked while `publisher` has the letters: two that relay at once may hand out the same.
impl Outbox for Sqlite {
    async fn relay<P: Publish>(
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
            let sql = "select count(*) as number from dead_letters \
                where flow = ? and published_at is null and state <> 'purged'";
            let Backlog { number } = sql_query(sql).bind::<Text, _>(flow).get_result(connection)?;
            Ok(number)
        })
        .await
    }
}

fn take(
    connection: &mut SqliteConnection,
    flow: &str,
    limit: usize,
) -> Result<Vec<Letter>, Failure> {
    let found: Vec<Found> = sql_query(TAKE)
        .bind::<Text, _>(flow)
        .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(BYTES)
        .load(connection)?;
    Ok(found.into_iter().map(Found::letter).collect::<Result<_, Fault>>()?)
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

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    flow: String,
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    payload: Option<Vec<u8>>,
    #[diesel(sql_type = Text)]
    headers: String,
    #[diesel(sql_type = Text)]
    stage: String,
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Timestamp)]
    failed_at: NaiveDateTime,
}

impl Found {
    fn letter(self) -> Result<Letter, Fault> {
        let not_ours = || {
            let message = format!(
                "the id or the headers of the dead letter {} are not of the form Tally writes",
                self.id
            );
            Fault::stop(StopKind::Data, message)
        };
        let id = self.id.parse().map_err(|_| not_ours())?;
        let headers = serde_json::from_str(&self.headers).ok().as_ref().and_then(headers_from_json);
        let headers = headers.ok_or_else(not_ours)?;
        let (key, payload) = (self.key.map(Bytes::from), self.payload.map(Bytes::from));
        let raw = Raw { key, payload, headers, timestamp: None, line: None };
        Ok(Letter {
            id,
            flow: self.flow,
            stream: self.stream,
            partition: self.partition,
            pass: self.pass,
            position: self.position,
            attempt: self.attempt,
            raw,
            stage: self.stage,
            code: self.code,
            message: self.message,
            failed_at: self.failed_at,
        })
    }
}
