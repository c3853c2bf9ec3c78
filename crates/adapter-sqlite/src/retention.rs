//! Old rows of histories.

use chrono::NaiveDateTime;
use diesel::sql_types::{BigInt, Text};
use diesel::{RunQueryDsl, sql_query};
use tally_ports::retention::DELETED;
use tally_ports::{Fault, LoggedAct, Retention};

use crate::atomic::transaction;
use crate::{Sqlite, acts};

impl Retention for Sqlite {
    async fn delete_old(
        &self,
        table: &str,
        before: NaiveDateTime,
        limit: usize,
        logged_act: &LoggedAct,
    ) -> Result<i64, Fault> {
        let logged_act = logged_act.clone();
        let sql = format!(
            "delete from \"{table}\" where rowid in (select rowid from \"{table}\" where ingested_at < ? limit ?)"
        );
        self.run(move |connection| {
            transaction(connection, |connection| {
                let noted = acts::noted(connection, &logged_act)?;
                let unheard = logged_act.unacknowledged(DELETED, &noted);
                if unheard > 0 {
                    return Ok(unheard);
                }
                let deleted = sql_query(&sql)
                    .bind::<Text, _>(before.format("%Y-%m-%d %H:%M:%S").to_string())
                    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
                    .execute(connection)?;
                let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
                if deleted > 0 {
                    let result = logged_act.result_with(DELETED, deleted);
                    acts::note(connection, &logged_act, &result)?;
                }
                Ok(deleted)
            })
        })
        .await
    }
}
