//! The table of acts.

use diesel::result::Error;
use diesel::sql_types::Text;
use diesel::{
    OptionalExtension, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query,
};
use serde_json::Value as Json;
use tally_ports::{Act, Acts, Fault, LoggedAct};

use crate::Sqlite;
use crate::atomic::transaction;
use crate::statement::{Statement, execute};

impl Acts for Sqlite {
    async fn note(&self, logged_act: &LoggedAct) -> Result<(), Fault> {
        let logged_act = logged_act.clone();
        self.run(move |connection| {
            transaction(connection, |connection| {
                Ok(note(connection, &logged_act, &logged_act.act.result)?)
            })
        })
        .await
    }
}

struct Note;

impl Statement for Note {
    const SQL: &'static str = "insert into acts (id, at, who, verb, flow, target, reason, result) \
        values (?, strftime('%Y-%m-%d %H:%M:%f', 'now'), ?, ?, ?, ?, ?, ?) \
        on conflict (id) do update set result = excluded.result";
}

/// Writes the act with this result, within the transaction.
pub(crate) fn note(
    connection: &mut SqliteConnection,
    logged_act: &LoggedAct,
    result: &Json,
) -> QueryResult<()> {
    let Act { who, verb, flow, target, reason, .. } = &logged_act.act;
    let values = [
        logged_act.id.to_string().into(),
        who.as_str().into(),
        (*verb).into(),
        flow.as_str().into(),
        target.as_str().into(),
        reason.as_str().into(),
        result.to_string().into(),
    ];
    execute::<Note>(connection, &values).map(drop)
}

/// The result in the act's row; null where there is none yet.
pub(crate) fn noted(
    connection: &mut SqliteConnection,
    logged_act: &LoggedAct,
) -> QueryResult<Json> {
    #[derive(QueryableByName)]
    struct Noted {
        #[diesel(sql_type = Text)]
        result: String,
    }
    let query = sql_query("select result from acts where id = ?");
    let noted: Option<Noted> =
        query.bind::<Text, _>(logged_act.id.to_string()).get_result(connection).optional()?;
    let parse = |noted: Noted| serde_json::from_str(&noted.result);
    noted.map_or(Ok(Json::Null), parse).map_err(|error| Error::DeserializationError(error.into()))
}
