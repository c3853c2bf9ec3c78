//! What people see of dead letters and do to them.

mod row;
mod search;

use std::collections::HashMap;

use diesel::sql_types::Text;
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{Change, Choice, Count, DeadLetters, Deed, Fault, Listed, Place, Stored};
use uuid::Uuid;

use self::row::{Counted, Found, Whole};
use self::search::Search;
use crate::atomic::transaction;
use crate::statement::{Statement, execute};
use crate::{Sqlite, acts};

/// All but the bytes; what is large is not read for its length.
macro_rules! listed {
    () => {
        "select d.id, d.flow, d.stream, d.partition, d.pass, d.position, d.attempt, p.label, d.batch_id, \
         substr(d.key, 1, 256) as key_shown, length(d.payload) as payload_bytes, \
         coalesce(length(d.key), 0) + coalesce(length(d.payload), 0) + length(d.headers) as bytes, \
         d.stage, d.code, d.message, d.state, d.failed_at, d.published_at"
    };
}

macro_rules! dead_letters {
    () => {
        " from dead_letters as d left join positions as p \
         on p.flow = d.flow and p.stream = d.stream and p.partition = d.partition and p.pass = d.pass "
    };
}

const LIST: &str = concat!(listed!(), dead_letters!(), "where true");

const LIST_ORDER: &str =
    " order by d.flow, d.stream, d.partition, d.pass, d.position, d.attempt limit ";

const FETCH: &str = concat!(
    listed!(),
    ", d.key, d.payload, d.headers, d.record_timestamp",
    dead_letters!(),
    "where d.id in (select value from json_each(?))"
);

const COUNT: &str = concat!(
    "select strftime('%Y-%m-%d %H:00:00', d.failed_at) as hour, d.stage, d.code, d.flow, count(*) as number",
    dead_letters!(),
    "where true"
);

const COUNT_ORDER: &str = " group by 1, 2, 3, 4 order by 1, 2, 3, 4";

impl DeadLetters for Sqlite {
    async fn list(
        &self,
        choice: &Choice,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Listed>, Fault> {
        let (choice, after) = (choice.clone(), after.cloned());
        let found: Vec<Found> = self
            .run(move |connection| {
                let search = Search::new(LIST).chosen(&choice).behind(after.as_ref());
                Ok(search.limited(LIST_ORDER, limit).load(connection)?)
            })
            .await?;
        found.into_iter().map(Found::listed).collect()
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Stored>, Fault> {
        let order: HashMap<Uuid, usize> = ids.iter().copied().zip(0..).collect();
        let ids = search::list_of(ids);
        let found: Vec<Whole> = self
            .run(move |connection| Ok(sql_query(FETCH).bind::<Text, _>(ids).load(connection)?))
            .await?;
        let mut whole: Vec<Stored> =
            found.into_iter().map(Whole::stored).collect::<Result<_, _>>()?;
        whole.sort_by_key(|stored| order.get(&stored.listed.id).copied().unwrap_or(usize::MAX));
        Ok(whole)
    }

    async fn count(&self, choice: &Choice) -> Result<Vec<Count>, Fault> {
        let choice = choice.clone();
        let found: Vec<Counted> = self
            .run(move |connection| {
                Ok(Search::new(COUNT).chosen(&choice).ordered(COUNT_ORDER).load(connection)?)
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
    const SQL: &'static str = "update dead_letters set state = 'purged', key = null, payload = null, headers = '[]' \
        where id = ? and state <> 'purged'";
}
