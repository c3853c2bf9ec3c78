//! What people see of dead letters and do to them.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use diesel::pg::Pg;
use diesel::sql_query;
use diesel::sql_types::{Array, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tally_ports::{Change, Choice, Count, DeadLetters, Deed, Fault, Listed, Place, Stored};
use tally_queries::letters::{
    COUNT_ORDER, Counted, FETCH, FoundLetter, LIST, LIST_ORDER, Listing, Search, count,
};
use uuid::Uuid;

use crate::connection::answer;
use crate::{Postgres, acts};

const HOUR: &str = "date_trunc('hour', d.failed_at at time zone 'UTC')";

/// Locked in one order, so that two that do this at once never wait for each other in a circle.
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
        choice: &Choice,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Listed>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, answer_limit) = session.parts();
        let query = search(LIST, choice).behind(after).limited(LIST_ORDER, limit);
        let found: Vec<Listing> = answer(answer_limit, query.load(connection)).await?;
        session.keep();
        found.into_iter().map(Listing::listed).collect()
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Stored>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(format!("{FETCH}d.id = any($1)")).bind::<Array<SqlUuid>, _>(ids);
        let found: Vec<FoundLetter> = answer(limit, query.load(connection)).await?;
        session.keep();
        let mut whole: Vec<Stored> =
            found.into_iter().map(FoundLetter::stored).collect::<Result<_, _>>()?;
        let order: HashMap<_, _> = ids.iter().zip(0..).collect();
        whole.sort_by_key(|stored| order.get(&stored.listed.id).copied().unwrap_or(usize::MAX));
        Ok(whole)
    }

    async fn count(&self, choice: &Choice) -> Result<Vec<Count>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, limit) = session.parts();
        let query = search(&count(HOUR), choice).ordered(COUNT_ORDER);
        let found: Vec<Counted> = answer(limit, query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(Count::from).collect())
    }

    async fn change(&self, ids: &[Uuid], change: Change, deed: &Deed) -> Result<i64, Fault> {
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
        let unheard = deed.unheard(change.as_str(), &acts::noted(&mut session, deed).await?);
        if unheard > 0 {
            session.run("rollback").await?;
            session.keep();
            return Ok(unheard);
        }
        acts::note(&mut session, deed, &deed.result_with(change.as_str(), changed)).await?;
        session.run("commit").await?;
        session.keep();
        Ok(changed)
    }
}

fn search<'a>(sql: &str, choice: &'a Choice) -> Search<'a, Pg> {
    let Choice { ids, since, until, .. } = choice;
    Search::new(sql)
        .chosen(choice)
        .and::<Array<SqlUuid>, _>("d.id = any(?)", ids.as_deref())
        .and::<Timestamptz, NaiveDateTime>("d.failed_at >= ?", *since)
        .and::<Timestamptz, NaiveDateTime>("d.failed_at < ?", *until)
}
