//! The effect of transactions: one upsert by id.

use diesel::{QueryResult, SqliteConnection};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::{Migrations, Outcome, Row};

use crate::effect::{SqliteEffect, upsert_each};
use crate::statement::{Statement, execute};

struct Upsert;

impl Statement for Upsert {
    const SQL: &'static str = "insert into transactions \
        (id, description, amount, timestamp, merchant, operation_type, side, category, origin, position) \
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
        on conflict (id) do update set \
        description = excluded.description, amount = excluded.amount, timestamp = excluded.timestamp, \
        merchant = excluded.merchant, operation_type = excluded.operation_type, side = excluded.side, \
        category = excluded.category, origin = excluded.origin, position = excluded.position";
}

impl SqliteEffect for Transactions {
    const MIGRATIONS: Migrations = Migrations {
        name: Self::NAME,
        scripts: &[include_str!("../../../migrations/sqlite/transactions/0001_transactions.sql")],
    };

    fn apply(
        connection: &mut SqliteConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        upsert_each(
            connection,
            rows,
            |row| row.record.id(),
            |connection, row| {
                let record = &row.record;
                let values = [
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
                ];
                execute::<Upsert>(connection, &values)
            },
        )
    }
}
