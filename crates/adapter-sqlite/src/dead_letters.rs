//! Listing, counting and changing dead letters.

mod insert;

pub(crate) use self::insert::*;

use std::collections::HashMap;

use chrono::NaiveDateTime;
use diesel::sql_types::Text;
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{
    Change, Count, DeadLetterIdentity, DeadLetterSummary, DeadLetters, Fault, Filter, LoggedAct,
    StoredDeadLetter,
};
use tally_queries::dead_letters::{
    COUNT_ORDER, CountRow, DeadLetterRow, FETCH, LIST, LIST_ORDER, Search, SummaryRow, count,
};
use uuid::Uuid;

use crate::atomic::transaction;
use crate::statement::{Statement, execute};
use crate::{Sqlite, acts};

const HOUR: &str = "strftime('%Y-%m-%d %H:00:00', d.failed_at)";

impl DeadLetters for Sqlite {
    async fn list(
        &self,
        filter: &Filter,
        after: Option<&DeadLetterIdentity>,
        limit: usize,
    ) -> Result<Vec<DeadLetterSummary>, Fault> {
        let (filter, after) = (filter.clone(), after.cloned());
        let found: Vec<SummaryRow> = self
            .run(move |connection| {
                let search = search(LIST, &filter).behind(after.as_ref());
                Ok(search.limited(LIST_ORDER, limit).load(connection)?)
            })
            .await?;
        found.into_iter().map(SummaryRow::summary).collect()
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<StoredDeadLetter>, Fault> {
        let order: HashMap<Uuid, usize> = ids.iter().copied().zip(0..).collect();
        let ids = list_of(ids);
        let fetch = format!("{FETCH}d.id in (select value from json_each($1))");
        let found: Vec<DeadLetterRow> = self
            .run(move |connection| Ok(sql_query(fetch).bind::<Text, _>(ids).load(connection)?))
            .await?;
        let mut whole: Vec<StoredDeadLetter> =
            found.into_iter().map(DeadLetterRow::stored).collect::<Result<_, _>>()?;
        whole.sort_by_key(|stored| order.get(&stored.summary.id).copied().unwrap_or(usize::MAX));
        Ok(whole)
    }

    async fn count(&self, filter: &Filter) -> Result<Vec<Count>, Fault> {
        let filter = filter.clone();
        let found: Vec<CountRow> = self
            .run(move |connection| {
                Ok(search(&count(HOUR), &filter).ordered(COUNT_ORDER).load(connection)?)
            })
            .await?;
        Ok(found.into_iter().map(Count::from).collect())
    }

    async fn change(
        &self,
        ids: &[Uuid],
        change: Change,
        logged_act: &LoggedAct,
    ) -> Result<i64, Fault> {
        let (ids, logged_act) = (ids.to_vec(), logged_act.clone());
        self.run(move |connection| {
            transaction(connection, |connection| {
                let unheard = logged_act
                    .unacknowledged(change.as_str(), &acts::noted(connection, &logged_act)?);
                if unheard > 0 {
                    return Ok(unheard);
                }
                let mut changed = 0;
                for id in ids {
                    changed += apply(connection, change, id)?;
                }
                let changed = i64::try_from(changed).unwrap_or(i64::MAX);
                acts::note(
                    connection,
                    &logged_act,
                    &logged_act.result_with(change.as_str(), changed),
                )?;
                Ok(changed)
            })
        })
        .await
    }
}

fn search<'a>(sql: &str, filter: &'a Filter) -> Search<'a, diesel::sqlite::Sqlite> {
    let Filter { ids, since, until, .. } = filter;
    let ids = ids.as_deref().map(list_of);
    Search::new(sql)
        .chosen(filter)
        .and::<Text, _>("d.id in (select value from json_each(?))", ids)
        .and::<Text, _>("d.failed_at >= ?", since.map(moment))
        .and::<Text, _>("d.failed_at < ?", until.map(moment))
}

/// Ids as one value.
fn list_of(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<serde_json::Value>().to_string()
}

/// A moment as it is stored.
fn moment(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn apply(connection: &mut SqliteConnection, change: Change, id: Uuid) -> QueryResult<usize> {
    let id = [id.to_string().into()];
    match change {
        Change::Discard => execute::<Discard>(connection, &id),
        Change::Purge => execute::<Purge>(connection, &id),
    }
}

struct Discard;

impl Statement for Discard {
    const SQL: &'static str =
        "update dead_letters set state = 'discarded' where id = ? and state = 'open'";
}

struct Purge;

impl Statement for Purge {
    const SQL: &'static str = "update dead_letters set state = 'purged', key = null, payload = null, headers = '[]', record_timestamp = null \
        where id = ? and state <> 'purged'";
}
