//! Listing, counting and changing dead letters.

mod insert;

pub(crate) use self::insert::*;

use std::collections::HashMap;

use chrono::NaiveDateTime;
use diesel::pg::Pg;
use diesel::sql_query;
use diesel::sql_types::{Array, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tally_ports::{
    Change, Count, DeadLetterIdentity, DeadLetterSummary, DeadLetters, Fault, Filter, LoggedAct,
    StoredDeadLetter,
};
use tally_queries::dead_letters::{
    COUNT_ORDER, CountRow, DeadLetterRow, FETCH, LIST, LIST_ORDER, Search, SummaryRow, count,
};
use uuid::Uuid;

use crate::connection::answer;
use crate::{Postgres, acts};

const HOUR: &str = "date_trunc('hour', d.failed_at at time zone 'UTC')";

/// Locked in one order, so that concurrent calls do not deadlock.
const DISCARD: &str = "
    update dead_letters set state = 'discarded' where id in (
        select id from dead_letters where id = any($1) and state = 'open' order by id for update
    )";

const PURGE: &str = "
    update dead_letters set state = 'purged', key = null, payload = null, headers = '[]', record_timestamp = null where id in (
        select id from dead_letters where id = any($1) and state <> 'purged' order by id for update
    )";

impl DeadLetters for Postgres {
    async fn list(
        &self,
        filter: &Filter,
        after: Option<&DeadLetterIdentity>,
        limit: usize,
    ) -> Result<Vec<DeadLetterSummary>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, answer_limit) = session.parts();
        let query = search(LIST, filter).behind(after).limited(LIST_ORDER, limit);
        let found: Vec<SummaryRow> = answer(answer_limit, query.load(connection)).await?;
        session.keep();
        found.into_iter().map(SummaryRow::summary).collect()
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<StoredDeadLetter>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(format!("{FETCH}d.id = any($1)")).bind::<Array<SqlUuid>, _>(ids);
        let found: Vec<DeadLetterRow> = answer(limit, query.load(connection)).await?;
        session.keep();
        let mut whole: Vec<StoredDeadLetter> =
            found.into_iter().map(DeadLetterRow::stored).collect::<Result<_, _>>()?;
        let order: HashMap<_, _> = ids.iter().zip(0..).collect();
        whole.sort_by_key(|stored| order.get(&stored.summary.id).copied().unwrap_or(usize::MAX));
        Ok(whole)
    }

    async fn count(&self, filter: &Filter) -> Result<Vec<Count>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, limit) = session.parts();
        let query = search(&count(HOUR), filter).ordered(COUNT_ORDER);
        let found: Vec<CountRow> = answer(limit, query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(Count::from).collect())
    }

    async fn change(
        &self,
        ids: &[Uuid],
        change: Change,
        logged_act: &LoggedAct,
    ) -> Result<i64, Fault> {
        let sql = match change {
            Change::Discard => DISCARD,
            Change::Purge => PURGE,
        };
        let mut session = self.people.session().await?;
        session.run("begin isolation level read committed read write").await?;
        let (connection, limit) = session.parts();
        let query = sql_query(sql).bind::<Array<SqlUuid>, _>(ids);
        let changed = answer(limit, query.execute(connection)).await?;
        let changed = i64::try_from(changed).unwrap_or(i64::MAX);
        let unheard = logged_act
            .unacknowledged(change.as_str(), &acts::noted(&mut session, logged_act).await?);
        if unheard > 0 {
            session.run("rollback").await?;
            session.keep();
            return Ok(unheard);
        }
        acts::note(&mut session, logged_act, &logged_act.result_with(change.as_str(), changed))
            .await?;
        session.run("commit").await?;
        session.keep();
        Ok(changed)
    }
}

fn search<'a>(sql: &str, filter: &'a Filter) -> Search<'a, Pg> {
    let Filter { ids, since, until, .. } = filter;
    Search::new(sql)
        .chosen(filter)
        .and::<Array<SqlUuid>, _>("d.id = any(?)", ids.as_deref())
        .and::<Timestamptz, NaiveDateTime>("d.failed_at >= ?", *since)
        .and::<Timestamptz, NaiveDateTime>("d.failed_at < ?", *until)
}
