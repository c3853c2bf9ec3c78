//! The table of acts.

use diesel::sql_types::{Json, Text, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use tally_ports::{Act, Acts, Fault, LoggedAct};

use crate::Postgres;
use crate::connection::{Session, answer};
use crate::query::prepared;

const NOTE: &str = "
    insert into acts (id, at, who, verb, flow, target, reason, result)
    values ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7)
    on conflict (id) do update set result = excluded.result";

impl Acts for Postgres {
    async fn note(&self, logged_act: &LoggedAct) -> Result<(), Fault> {
        let mut session = self.people.session().await?;
        note(&mut session, logged_act, &logged_act.act.result).await?;
        session.keep();
        Ok(())
    }
}

/// Writes the act with this result, within the transaction if there is one.
pub(crate) async fn note(
    session: &mut Session,
    logged_act: &LoggedAct,
    result: &Value,
) -> Result<(), Fault> {
    let Act { who, verb, flow, target, reason, .. } = &logged_act.act;
    let (connection, limit) = session.parts();
    let query = sql_query(NOTE)
        .bind::<SqlUuid, _>(logged_act.id)
        .bind::<Text, _>(who)
        .bind::<Text, _>(*verb)
        .bind::<Text, _>(flow)
        .bind::<Text, _>(target)
        .bind::<Text, _>(reason)
        .bind::<Json, _>(result);
    answer(limit, prepared(query).execute(connection)).await?;
    Ok(())
}

/// The result in the act's row; null where there is none yet.
pub(crate) async fn noted(session: &mut Session, logged_act: &LoggedAct) -> Result<Value, Fault> {
    #[derive(QueryableByName)]
    struct Noted {
        #[diesel(sql_type = Json)]
        result: Value,
    }
    let (connection, limit) = session.parts();
    let query =
        sql_query("select result from acts where id = $1").bind::<SqlUuid, _>(logged_act.id);
    let noted: Option<Noted> =
        answer(limit, async { query.get_result(connection).await.optional() }).await?;
    Ok(noted.map_or(Value::Null, |noted| noted.result))
}
