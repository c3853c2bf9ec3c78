//! The effect of visits on SQLite: one insert per record, unless it is there already.

use tally_adapter_sqlite::diesel::{QueryResult, SqliteConnection};
use tally_adapter_sqlite::{SqliteEffect, Statement, append_each, execute, replay_one};
use tally_domain::Flow;
use tally_ports::{Migrations, Outcome, Row};

use super::Visits;

struct Append;

impl Statement for Append {
    const SQL: &'static str = "insert into visits (origin, position, who, page, at) values (?, ?, ?, ?, ?) \
        on conflict (origin, position) do nothing";
}

impl SqliteEffect for Visits {
    const MIGRATIONS: Migrations = Migrations {
        name: Self::NAME,
        scripts: &["create table visits (origin integer, position integer, who text not null, \
            page text not null check (page <> ''), at text not null, primary key (origin, position)) strict"],
    };

    fn apply(
        connection: &mut SqliteConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        append_each(connection, rows, |connection, row| append(connection, origin, row))
    }

    /// Nothing is ever newer: each record is a row of its own.
    fn replay(
        connection: &mut SqliteConnection,
        origin: i64,
        row: &Row<Self>,
    ) -> QueryResult<Outcome> {
        replay_one(connection, |connection| append(connection, origin, row), |_| Ok(true))
    }
}

fn append(connection: &mut SqliteConnection, origin: i64, row: &Row<Visits>) -> QueryResult<usize> {
    let visit = &row.record;
    let at = visit.at.to_string();
    let texts = [&visit.who, &visit.page, &at].map(|text| text.as_str().into());
    let [who, page, at] = texts;
    execute::<Append>(connection, &[origin.into(), row.position.into(), who, page, at])
}
