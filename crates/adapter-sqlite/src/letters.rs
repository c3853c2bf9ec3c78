//! What people see of dead letters and do to them.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use diesel::sql_types::Text;
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{Change, Choice, Count, DeadLetters, Deed, Fault, Listed, Place, Stored};
use tally_queries::letters::{
    COUNT_ORDER, Counted, FETCH, FoundLetter, LIST, LIST_ORDER, Listing, Search, count,
};
use uuid::Uuid;

use crate::atomic::transaction;
use crate::statement::{Statement, execute};
use crate::{Sqlite, acts};

const HOUR: &str = "strftime('%Y-%m-%d %H:00:00', d.failed_at)";

impl DeadLetters for Sqlite {
    async fn list(
        &self,
        choice: &Choice,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Listed>, Fault> {
        let (choice, after) = (choice.clone(), after.cloned());
        let found: Vec<Listing> = self
            .run(move |connection| {
                let search = search(LIST, &choice).behind(after.as_ref());
                Ok(search.limited(LIST_ORDER, limit).load(connection)?)
            })
            .await?;
        found.into_iter().map(Listing::listed).collect()
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Stored>, Fault> {
        let order: HashMap<Uuid, usize> = ids.iter().copied().zip(0..).collect();
        let ids = list_of(ids);
        let fetch = format!("{FETCH}d.id in (select value from json_each($1))");
        let found: Vec<FoundLetter> = self
            .run(move |connection| Ok(sql_query(fetch).bind::<Text, _>(ids).load(connection)?))
            .await?;
        let mut whole: Vec<Stored> =
            found.into_iter().map(FoundLetter::stored).collect::<Result<_, _>>()?;
        whole.sort_by_key(|stored| order.get(&stored.listed.id).copied().unwrap_or(usize::MAX));
        Ok(whole)
    }

    async fn count(&self, choice: &Choice) -> Result<Vec<Count>, Fault> {
        let choice = choice.clone();
        let found: Vec<Counted> = self
            .run(move |connection| {
                Ok(search(&count(HOUR), &choice).ordered(COUNT_ORDER).load(connection)?)
            })
            .await?;
        Ok(found.into_iter().map(Count::from).collect())
    }

    async fn change(&self, ids: &[Uuid], change: Change, deed: &Deed) -> Result<i64, Fault> {
        let (ids, deed) = (ids.to_vec(), deed.clone());
        self.run(move |connection| {
            transaction(connection, |connection| {
                let unheard = deed.unheard(change.as_str(), &acts::noted(connection, &deed)?);
                if unheard > 0 {
                    return Ok(unheard);
                }
                let mut changed = 0;
                for id in ids {
                    changed += apply(connection, change, id)?;
                }
                let changed = i64::try_from(changed).unwrap_or(i64::MAX);
                acts::note(connection, &deed, &deed.result_with(change.as_str(), changed))?;
                Ok(changed)
            })
        })
        .await
    }
}

fn search<'a>(sql: &str, choice: &'a Choice) -> Search<'a, diesel::sqlite::Sqlite> {
    let Choice { ids, since, until, .. } = choice;
    let ids = ids.as_deref().map(list_of);
    Search::new(sql)
        .chosen(choice)
        .and::<Text, _>("d.id in (select value from json_each(?))", ids)
        .and::<Text, _>("d.failed_at >= ?", since.map(moment))
        .and::<Text, _>("d.failed_at < ?", until.map(moment))
}

/// Ids as one value.
fn list_of(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<serde_json::Value>().to_string()
}

/// As the table holds moments.
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
