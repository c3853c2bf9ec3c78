//! Dead letters of a batch.

use std::sync::Arc;

use diesel::sql_query;
use diesel::sql_types::{
    Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use tally_domain::Stage;
use tally_ports::dead_letter::headers_to_json;
use tally_ports::{Commit, DeadLetter, Fault, Headers};
use tally_queries::ledger::RefusedRow;
use uuid::Uuid;

use crate::connection::{Session, answer, within};
use crate::fault;
use crate::query::prepared;

/// A dead letter that exists already is not written again.
const INSERT: &str = "
    insert into dead_letters
        (id, flow, stream, partition, pass, position, attempt, batch_id, key, payload, headers,
         record_timestamp, stage, code, message, failed_at)
    select u.id, $1, $2, $3, $4, u.position, u.attempt, $5, u.key, u.payload, ($15::text[])[u.headers]::json,
        u.record_timestamp, u.stage, u.code, u.message, clock_timestamp()
    from unnest($6, $7, $8, $9, $10, $11, $12, $13, $14, $16)
        as u(id, position, attempt, key, payload, headers, stage, code, message, record_timestamp)
    on conflict do nothing";

/// Writes those that do not exist yet and returns how many those were.
pub(crate) async fn insert(
    session: &mut Session,
    commit: &Commit,
    dead_letters: &[&DeadLetter],
) -> Result<usize, Fault> {
    if dead_letters.is_empty() {
        return Ok(0);
    }
    let stream = &*commit.stream;
    let letters = || dead_letters.iter();
    let ids: Vec<Uuid> = letters().map(|letter| letter.id(stream, commit.pass)).collect();
    let positions: Vec<i64> = letters().map(|letter| letter.position).collect();
    let attempts: Vec<i32> = letters().map(|letter| letter.attempt).collect();
    let keys: Vec<Option<&[u8]>> = letters().map(|letter| letter.raw.key.as_deref()).collect();
    let payloads: Vec<Option<&[u8]>> =
        letters().map(|letter| letter.raw.payload.as_deref()).collect();
    let (headers, distinct) = distinct_headers(dead_letters);
    let timestamps: Vec<_> = letters().map(|letter| letter.raw.timestamp).collect();
    let stages: Vec<&str> = letters().map(|letter| letter.reason.stage.as_str()).collect();
    let codes: Vec<&str> = letters().map(|letter| &*letter.reason.code).collect();
    let messages: Vec<&str> = letters().map(|letter| letter.reason.message.as_str()).collect();

    let (connection, limit) = session.parts();
    let query = sql_query(INSERT)
        .bind::<Text, _>(&stream.flow)
        .bind::<Text, _>(&stream.name)
        .bind::<Integer, _>(stream.partition)
        .bind::<Integer, _>(commit.pass)
        .bind::<SqlUuid, _>(commit.id)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<BigInt>, _>(positions)
        .bind::<Array<Integer>, _>(attempts)
        .bind::<Array<Nullable<Binary>>, _>(keys)
        .bind::<Array<Nullable<Binary>>, _>(payloads)
        .bind::<Array<Integer>, _>(headers)
        .bind::<Array<Text>, _>(stages)
        .bind::<Array<Text>, _>(codes)
        .bind::<Array<Text>, _>(messages)
        .bind::<Array<Text>, _>(distinct)
        .bind::<Array<Nullable<Timestamptz>>, _>(timestamps);
    // Not as for other statements: the server's message may quote the records.
    let inserted = within(limit, prepared(query).execute(connection)).await?;
    inserted.map_err(|error| fault::of_dead_letters(&error))
}

/// The distinct headers, and for each dead letter their number, from 1: a file's headers are long, and the same for all
/// of its records.
fn distinct_headers(dead_letters: &[&DeadLetter]) -> (Vec<i32>, Vec<String>) {
    let (mut places, mut distinct) = (Vec::with_capacity(dead_letters.len()), Vec::new());
    let mut last: Option<&Headers> = None;
    let mut place = 0;
    for letter in dead_letters {
        let headers = &letter.raw.headers;
        if last.is_none_or(|last| !Arc::ptr_eq(last, headers)) {
            distinct.push(headers_to_json(headers).to_string());
            place += 1;
            last = Some(headers);
        }
        places.push(place);
    }
    (places, distinct)
}

/// The rows of a committed batch that the database refused, in order of position.
pub(crate) async fn refused(session: &mut Session, batch: Uuid) -> Result<Vec<RefusedRow>, Fault> {
    let (connection, limit) = session.parts();
    let query = sql_query(
        "select position, code from dead_letters where batch_id = $1 and stage = $2 and attempt = 1 order by position",
    )
    .bind::<SqlUuid, _>(batch)
    .bind::<Text, _>(Stage::Write.as_str());
    answer(limit, query.load(connection)).await
}
