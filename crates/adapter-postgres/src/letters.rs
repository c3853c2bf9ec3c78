//! What people see of dead letters and do to them.

mod row;
mod search;

use std::collections::HashMap;

use diesel::sql_query;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tally_ports::{Change, Choice, Count, DeadLetters, Deed, Fault, Listed, Place, Stored};
use uuid::Uuid;

use self::row::{Counted, Found, Whole};
use self::search::Search;
use crate::connection::answer;
use crate::{Postgres, acts};

/// All but the bytes; what is large is not read for its length.
macro_rules! listed {
    () => {
        "select d.id, d.flow, d.stream, d.partition, d.pass, d.position, d.attempt, p.label, d.batch_id,
            substring(d.key from 1 for 256) as key_shown, octet_length(d.payload)::bigint as payload_bytes,
            (coalesce(octet_length(d.key), 0) + coalesce(octet_length(d.payload), 0)
                + octet_length(d.headers::text))::bigint as bytes,
            d.stage, d.code, d.message, d.state, d.failed_at, d.published_at"
    };
}

macro_rules! dead_letters {
    () => {
        " from dead_letters as d left join positions as p
            on p.flow = d.flow and p.stream = d.stream and p.partition = d.partition and p.pass = d.pass "
    };
}

const LIST: &str = concat!(listed!(), dead_letters!(), "where true");

const LIST_ORDER: &str =
    " order by d.flow, d.stream, d.partition, d.pass, d.position, d.attempt limit ";

const FETCH: &str = concat!(
    listed!(),
    ", d.key, d.payload, d.headers, d.record_timestamp at time zone 'UTC' as record_timestamp",
    dead_letters!(),
    "where d.id = any($1)"
);

const COUNT: &str = concat!(
    "select date_trunc('hour', d.failed_at at time zone 'UTC') as hour, d.stage, d.code, d.flow, count(*) as number",
    dead_letters!(),
    "where true"
);

const COUNT_ORDER: &str = " group by 1, 2, 3, 4 order by 1, 2, 3, 4";

/// Locked in one order, so that two that do this at once never wait for each other in a circle.
const DISCARD: &str = "
    update dead_letters set state = 'discarded' where id in (
        select id from dead_letters where id = any($1) and state = 'open' order by id for update
    )";

const PURGE: &str = "
    update dead_letters set state = 'purged', key = null, payload = null, headers = '[]' where id in (
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
        let query = Search::new(LIST).chosen(choice).behind(after).limited(LIST_ORDER, limit);
        let found: Vec<Found> = answer(answer_limit, query.load(connection)).await?;
        session.keep();
        found.into_iter().map(Found::listed).collect()
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Stored>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, limit) = session.parts();
        let query = sql_query(FETCH).bind::<Array<SqlUuid>, _>(ids);
        let found: Vec<Whole> = answer(limit, query.load(connection)).await?;
        session.keep();
        let mut whole: Vec<Stored> =
            found.into_iter().map(Whole::stored).collect::<Result<_, _>>()?;
        let order: HashMap<_, _> = ids.iter().zip(0..).collect();
        whole.sort_by_key(|stored| order.get(&stored.listed.id).copied().unwrap_or(usize::MAX));
        Ok(whole)
    }

    async fn count(&self, choice: &Choice) -> Result<Vec<Count>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, limit) = session.parts();
        let query = Search::new(COUNT).chosen(choice).ordered(COUNT_ORDER);
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
