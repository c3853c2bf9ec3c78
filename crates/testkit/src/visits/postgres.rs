//! The visits' table on Postgres, and how a batch is appended to it.

use std::slice;

use chrono::NaiveDateTime;
use tally_adapter_postgres::diesel::pg::Pg;
use tally_adapter_postgres::diesel::query_builder::{Query, QueryFragment};
use tally_adapter_postgres::diesel::sql_types::{
    Array, BigInt, Nullable, Text, Timestamp, Untyped,
};
use tally_adapter_postgres::diesel::{QueryResult, QueryableByName, sql_query};
use tally_adapter_postgres::diesel_async::{AsyncPgConnection, RunQueryDsl};
use tally_adapter_postgres::{PostgresEffect, Prepared, diesel, prepared, refusal};
use tally_ports::{Migrations, Outcome, Row};

use super::Visits;

const SCRIPT: &str = "
    create table visits (
        origin bigint not null,
        position bigint not null,
        who text not null,
        page text not null check (page <> ''),
        at timestamp not null,
        primary key (origin, position)
    );

    create function visits_append(row_origin bigint, row_position bigint, row_who text, row_page text, row_at timestamp)
    returns text language plpgsql as $$
    declare
        at_constraint text;
        at_table text;
        at_column text;
    begin
        insert into visits (origin, position, who, page, at)
        values (row_origin, row_position, row_who, row_page, row_at)
        on conflict (origin, position) do nothing;
        return null;
    exception
        when others then
            get stacked diagnostics
                at_constraint = constraint_name, at_table = table_name, at_column = column_name;
            return tally_refusal(sqlstate, at_constraint, at_table, at_column, 'visits', '{select, insert}');
    end
    $$";

const APPEND: &str = "
    insert into visits (origin, position, who, page, at)
    select $1, u.position, u.who, u.page, u.at
    from unnest($2, $3, $4, $5) as u(position, who, page, at)
    on conflict (origin, position) do nothing";

const APPEND_SINGLY: &str = "
    select visits_append($1, u.position, u.who, u.page, u.at) as code
    from unnest($2, $3, $4, $5) as u(position, who, page, at)";

impl PostgresEffect for Visits {
    const MIGRATIONS: Migrations = Migrations { name: "visits", scripts: &[SCRIPT] };

    async fn apply(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        bound_to(APPEND, origin, rows).execute(connection).await?;
        Ok(vec![Outcome::Written; rows.len()])
    }

    async fn apply_singly(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> QueryResult<Vec<Outcome>> {
        let answers: Vec<Answer> = bound_to(APPEND_SINGLY, origin, rows).load(connection).await?;
        Ok(answers.into_iter().map(Answer::outcome).collect())
    }

    /// Nothing is ever newer: each record is a row of its own.
    async fn replay(
        connection: &mut AsyncPgConnection,
        origin: i64,
        row: &Row<Self>,
    ) -> QueryResult<Outcome> {
        let answer: Answer =
            bound_to(APPEND_SINGLY, origin, slice::from_ref(row)).get_result(connection).await?;
        Ok(answer.outcome())
    }
}

fn bound_to<'a>(
    sql: &'static str,
    origin: i64,
    rows: &'a [Row<Visits>],
) -> Prepared<impl QueryFragment<Pg> + Query<SqlType = Untyped> + Send + 'a> {
    let positions: Vec<i64> = rows.iter().map(|row| row.position).collect();
    let who: Vec<&str> = rows.iter().map(|row| row.record.who.as_str()).collect();
    let pages: Vec<&str> = rows.iter().map(|row| row.record.page.as_str()).collect();
    let at: Vec<NaiveDateTime> = rows.iter().map(|row| row.record.at).collect();
    let query = sql_query(sql)
        .bind::<BigInt, _>(origin)
        .bind::<Array<BigInt>, _>(positions)
        .bind::<Array<Text>, _>(who)
        .bind::<Array<Text>, _>(pages)
        .bind::<Array<Timestamp>, _>(at);
    prepared(query)
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Nullable<Text>)]
    code: Option<String>,
}

impl Answer {
    fn outcome(self) -> Outcome {
        self.code.map_or(Outcome::Written, |code| Outcome::Refused(refusal(&code)))
    }
}
