//! Old rows of histories.

use chrono::NaiveDateTime;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Timestamp};
use diesel_async::RunQueryDsl;
use tally_ports::retention::DELETED;
use tally_ports::{Fault, LoggedAct, Retention};

use crate::connection::answer;
use crate::{Postgres, acts};

impl Retention for Postgres {
    async fn delete_old(
        &self,
        table: &str,
        before: NaiveDateTime,
        limit: usize,
        logged_act: &LoggedAct,
    ) -> Result<i64, Fault> {
        let sql = format!(
            "delete from \"{table}\" where ctid = any(array(select ctid from \"{table}\" where ingested_at < $1 limit $2))"
        );
        let mut session = self.people.session().await?;
        session.run("begin isolation level read committed read write").await?;
        let noted = acts::noted(&mut session, logged_act).await?;
        let unheard = logged_act.unacknowledged(DELETED, &noted);
        if unheard > 0 {
            session.run("rollback").await?;
            session.keep();
            return Ok(unheard);
        }
        let (connection, within) = session.parts();
        let query = sql_query(sql)
            .bind::<Timestamp, _>(before)
            .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX));
        let deleted = answer(within, query.execute(connection)).await?;
        let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
        if deleted > 0 {
            let result = logged_act.result_with(DELETED, deleted);
            acts::note(&mut session, logged_act, &result).await?;
        }
        session.run("commit").await?;
        session.keep();
        Ok(deleted)
    }
}
