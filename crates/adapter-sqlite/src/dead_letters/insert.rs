//! Dead letters: written with their batch, and re-read for the answer to a batch that was committed before.

use bytes::Bytes;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use tally_domain::Stage;
use tally_ports::dead_letter::headers_to_json;
use tally_ports::{Commit, DeadLetter, Headers};
use tally_queries::ledger::RefusedRow;

use crate::statement::{Statement, execute};

struct Insert;

impl Statement for Insert {
    const SQL: &'static str = "insert into dead_letters \
        (id, flow, stream, partition, pass, position, attempt, batch_id, key, payload, headers, \
        record_timestamp, stage, code, message, failed_at) \
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, strftime('%Y-%m-%d %H:%M:%f', 'now'))";
}

/// Writes `letters` of a batch.
pub(crate) fn insert<'a>(
    connection: &mut SqliteConnection,
    commit: &Commit,
    letters: impl IntoIterator<Item = &'a DeadLetter>,
) -> QueryResult<()> {
    let stream = &*commit.stream;
    let batch_id = commit.id.to_string();
    let mut headers = HeadersText::default();
    for letter in letters {
        let timestamp = letter.raw.timestamp.map(|at| at.format("%Y-%m-%d %H:%M:%S%.3f"));
        let values = [
            letter.id(stream, commit.pass).to_string().into(),
            stream.flow.as_str().into(),
            stream.name.as_str().into(),
            stream.partition.into(),
            commit.pass.into(),
            letter.position.into(),
            letter.attempt.into(),
            batch_id.as_str().into(),
            bytes(letter.raw.key.as_ref()).into(),
            bytes(letter.raw.payload.as_ref()).into(),
            headers.of(&letter.raw.headers).into(),
            timestamp.map(|at| at.to_string()).into(),
            letter.reason.stage.as_str().into(),
            (&*letter.reason.code).into(),
            letter.reason.message.as_str().into(),
        ];
        execute::<Insert>(connection, &values)?;
    }
    Ok(())
}

fn bytes(bytes: Option<&Bytes>) -> Option<&[u8]> {
    bytes.map(|bytes| &bytes[..])
}

/// The JSON of the last headers: those of a file are the same for all its records.
#[derive(Default)]
struct HeadersText {
    of: Option<Headers>,
    text: String,
}

impl HeadersText {
    fn of(&mut self, headers: &Headers) -> &str {
        if !self.of.as_ref().is_some_and(|last| std::sync::Arc::ptr_eq(last, headers)) {
            self.text = headers_to_json(headers).to_string();
            self.of = Some(Headers::clone(headers));
        }
        &self.text
    }
}

/// The rows of a batch that the database refused when it was committed.
pub(crate) fn refused(
    connection: &mut SqliteConnection,
    commit: &Commit,
) -> QueryResult<Vec<RefusedRow>> {
    sql_query(
        "select position, code from dead_letters where flow = ? and stream = ? and partition = ? and pass = ? \
         and position between ? and ? and attempt = 1 and stage = ? and batch_id = ? order by position",
    )
    .bind::<Text, _>(&commit.stream.flow)
    .bind::<Text, _>(&commit.stream.name)
    .bind::<Integer, _>(commit.stream.partition)
    .bind::<Integer, _>(commit.pass)
    .bind::<BigInt, _>(commit.first)
    .bind::<BigInt, _>(commit.last)
    .bind::<Text, _>(Stage::Write.as_str())
    .bind::<Text, _>(commit.id.to_string())
    .load(connection)
}
