//! The effect of transactions: one upsert by id.

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::{Migrations, Outcome, Row};

use crate::effect::{SqliteEffect, replay_one, upsert_each};
use crate::statement::{Statement, Value, execute};

macro_rules! upsert {
    () => {
        "insert into transactions as t \
        (id, description, amount, timestamp, merchant, operation_type, side, category, origin, position) \
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
        on conflict (id) do update set \
        description = excluded.description, amount = excluded.amount, timestamp = excluded.timestamp, \
        merchant = excluded.merchant, operation_type = excluded.operation_type, side = excluded.side, \
        category = excluded.category, origin = excluded.origin, position = excluded.position"
    };
}

struct Upsert;

impl Statement for Upsert {
    const SQL: &'static str = upsert!();
}

struct UpsertUnlessNewer;

impl Statement for UpsertUnlessNewer {
    const SQL: &'static str =
        concat!(upsert!(), " where t.origin = excluded.origin and t.position < excluded.position");
}

impl SqliteEffect for Transactions {
    const MIGRATIONS: Migrations = Migrations {
        name: Self::NAME,
        scripts: &[include_str!("../../../migrations/sqlite/transactions/0001_transactions.sql")],
    };

    const TABLES: &'static [&'static str] = &["transactions"];
    const BY_ID: Option<&'static str> = Some("transactions");

    fn apply(
        connection: &mut SqliteConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        upsert_each(
            connection,
            rows,
            |row| row.record.id(),
            |connection, row| execute::<Upsert>(connection, &values(origin, row)),
        )
    }

    fn replay(
        connection: &mut SqliteConnection,
        origin: i64,
        row: &Row<Self>,
    ) -> QueryResult<Outcome> {
        replay_one(
            connection,
            |connection| execute::<UpsertUnlessNewer>(connection, &values(origin, row)),
            |connection| is_newer_there(connection, origin, row),
        )
    }
}

fn values(origin: i64, row: &Row<Transactions>) -> [Value<'_>; 10] {
    let record = &row.record;
    [
        record.id().to_string().into(),
        record.description().into(),
        record.amount().to_string().into(),
        record.timestamp().to_string().into(),
        record.merchant().into(),
        record.operation_type().into(),
        record.side().as_str().into(),
        row.answer.as_str().into(),
        origin.into(),
        row.position.into(),
    ]
}

fn is_newer_there(
    connection: &mut SqliteConnection,
    origin: i64,
    row: &Row<Transactions>,
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Newer {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let sql = "select count(*) as number from transactions where id = ? and not (origin = ? and position < ?)";
    let newer: Newer = sql_query(sql)
        .bind::<Text, _>(row.record.id().to_string())
        .bind::<BigInt, _>(origin)
        .bind::<BigInt, _>(row.position)
        .get_result(connection)?;
    Ok(newer.number > 0)
}
