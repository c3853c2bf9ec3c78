//! The effect of transactions: one upsert by key.

use std::iter::once;
use std::slice;

use chrono::NaiveDateTime;
use diesel::pg::Pg;
use diesel::query_builder::{Query, QueryFragment};
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamp, Untyped, Uuid as SqlUuid};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tally_domain::transactions::Transactions;
use tally_ports::{KeyOrder, Migrations, Outcome, Refusal, Row};
use uuid::Uuid;

use crate::effect::{PostgresEffect, Prepared, prepared, refusal};

/// Amounts travel as cents: `numeric` has no cheap form of its own.
const UPSERT: &str = "
    insert into transactions
        (id, description, amount, timestamp, merchant, operation_type, side, category, origin, position)
    select u.id, u.description, u.cents * 0.01, u.timestamp, u.merchant, u.operation_type, u.side, u.category, $10,
        u.position
    from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
        as u(id, description, cents, timestamp, merchant, operation_type, side, category, position)
    on conflict (id) do update set
        description = excluded.description, amount = excluded.amount, timestamp = excluded.timestamp,
        merchant = excluded.merchant, operation_type = excluded.operation_type, side = excluded.side,
        category = excluded.category, origin = excluded.origin, position = excluded.position";

const UPSERT_SINGLY: &str = "
    select transactions_upsert(u.id, u.description, u.cents, u.timestamp, u.merchant, u.operation_type, u.side,
        u.category, $10, u.position) as code
    from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
        as u(id, description, cents, timestamp, merchant, operation_type, side, category, position)";

const REPLAY: &str = "
    select transactions_replay(u.id, u.description, u.cents, u.timestamp, u.merchant, u.operation_type, u.side,
        u.category, $10, u.position) as code
    from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
        as u(id, description, cents, timestamp, merchant, operation_type, side, category, position)";

/// What the function answers where something newer is.
const SUPERSEDED: &str = "superseded";

/// `character_not_in_repertoire`: what Postgres says of U+0000 in a text, though of all texts at once.
const NUL_REFUSED: &str = "22021";

impl PostgresEffect for Transactions {
    const MIGRATIONS: Migrations = Migrations {
        name: "transactions",
        scripts: &[
            include_str!("../../../migrations/postgres/transactions/0001_transactions.sql"),
            include_str!("../../../migrations/postgres/transactions/0002_replay.sql"),
            include_str!("../../../migrations/postgres/transactions/0003_refusals.sql"),
        ],
    };

    const TABLES: &'static [&'static str] = &["transactions"];
    const BY_ID: Option<&'static str> = Some("transactions");

    async fn apply(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        let order = order(rows);
        let upsert = Columns::of(rows, order.winners()).bound_to(UPSERT, origin);
        let written = upsert.execute(connection).await?;
        if written != order.winners().count() {
            return Err(Error::NotFound); // a trigger left some out: which, is found row by row
        }
        Ok(order.outcomes_of_winners())
    }

    async fn apply_singly(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        let order = order(rows);
        let fit = order.all().filter(|&index| !has_nul(&rows[index]));
        let answers: Vec<Answer> =
            Columns::of(rows, fit).bound_to(UPSERT_SINGLY, origin).load(connection).await?;
        if answers.len() != order.all().filter(|&index| !has_nul(&rows[index])).count() {
            return Err(Error::NotFound);
        }
        let mut answers = answers.into_iter();
        let refusals: Vec<Option<Refusal>> = order
            .all()
            .map(|index| {
                if has_nul(&rows[index]) {
                    Some(Refusal::new(NUL_REFUSED))
                } else {
                    answers.next()?.code.as_deref().map(refusal)
                }
            })
            .collect();
        Ok(order.outcomes_of_all(&refusals))
    }

    async fn replay(
        connection: &mut AsyncPgConnection,
        origin: i64,
        row: &Row<Self>,
    ) -> QueryResult<Outcome> {
        if has_nul(row) {
            return Ok(Outcome::Refused(Refusal::new(NUL_REFUSED)));
        }
        let columns = Columns::of(slice::from_ref(row), once(0));
        let answer: Answer = columns.bound_to(REPLAY, origin).get_result(connection).await?;
        Ok(match answer.code {
            None => Outcome::Written,
            Some(code) if code == SUPERSEDED => Outcome::Superseded,
            Some(code) => Outcome::Refused(refusal(&code)),
        })
    }
}

fn order(rows: &[Row<Transactions>]) -> KeyOrder {
    KeyOrder::new(rows, |row| row.record.id())
}

fn has_nul(row: &Row<Transactions>) -> bool {
    let record = &row.record;
    let texts = [
        record.description(),
        record.merchant().unwrap_or_default(),
        record.operation_type(),
        &row.answer,
    ];
    texts.iter().any(|text| text.contains('\0'))
}

/// Rows turned into columns.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    descriptions: Vec<&'a str>,
    cents: Vec<i64>,
    timestamps: Vec<NaiveDateTime>,
    merchants: Vec<Option<&'a str>>,
    operation_types: Vec<&'a str>,
    sides: Vec<&'a str>,
    categories: Vec<&'a str>,
    positions: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a [Row<Transactions>], indices: impl Iterator<Item = usize>) -> Self {
        let mut columns = Self::default();
        for index in indices {
            let Row { position, record, answer, .. } = &rows[index];
            columns.ids.push(record.id());
            columns.descriptions.push(record.description());
            columns.cents.push(record.amount().cents());
            columns.timestamps.push(record.timestamp());
            columns.merchants.push(record.merchant());
            columns.operation_types.push(record.operation_type());
            columns.sides.push(record.side().as_str());
            columns.categories.push(answer);
            columns.positions.push(*position);
        }
        columns
    }

    fn bound_to(
        self,
        sql: &'static str,
        origin: i64,
    ) -> Prepared<impl QueryFragment<Pg> + Query<SqlType = Untyped> + Send + 'a> {
        let query = sql_query(sql)
            .bind::<Array<SqlUuid>, _>(self.ids)
            .bind::<Array<Text>, _>(self.descriptions)
            .bind::<Array<BigInt>, _>(self.cents)
            .bind::<Array<Timestamp>, _>(self.timestamps)
            .bind::<Array<Nullable<Text>>, _>(self.merchants)
            .bind::<Array<Text>, _>(self.operation_types)
            .bind::<Array<Text>, _>(self.sides)
            .bind::<Array<Text>, _>(self.categories)
            .bind::<Array<BigInt>, _>(self.positions)
            .bind::<BigInt, _>(origin);
        prepared(query)
    }
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Nullable<Text>)]
    code: Option<String>,
}
