//! SQL about what earlier passes over a log left in the store. The first four parameters are flow, stream, partition and log.

use diesel::backend::Backend;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Bool, HasSqlType, Integer, Text};
use diesel::{QueryableByName, sql_query};
use tally_ports::{OpenDeadLetter, Origin};

/// A statement with its first four parameters; the others are to be bound.
pub fn about<'a, DB>(sql: &str, origin: &Origin<'a>) -> BoxedSqlQuery<'a, DB, SqlQuery>
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Integer> + HasSqlType<Text>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    &'a str: ToSql<Text, DB>,
{
    sql_query(sql)
        .into_boxed()
        .bind::<Text, _>(origin.flow.name())
        .bind::<Text, _>(origin.stream)
        .bind::<Integer, _>(origin.partition)
        .bind::<BigInt, _>(origin.log)
}

/// The open dead letters of the positions from the fifth parameter to the sixth. SQLite loops over the tables in the order
/// of a `cross join`: few passes, then their dead letters by index.
pub const OPEN: &str = "
    select d.position, not exists (
            select 1 from positions q
            where q.flow = p.flow and q.stream = p.stream and q.partition = p.partition and q.log = p.log
                and q.pass < p.pass and (
                    select case when b.last >= d.position then b.read else 0 end from batches b
                    where b.flow = q.flow and b.stream = q.stream and b.partition = q.partition and b.pass = q.pass
                        and b.first <= d.position
                    order by b.first desc
                    limit 1
                ) > 0
        ) as is_uncounted
    from positions p cross join dead_letters d
    where p.flow = $1 and p.stream = $2 and p.partition = $3 and p.log = $4
        and d.flow = p.flow and d.stream = p.stream and d.partition = p.partition and d.pass = p.pass
        and d.position between $5 and $6 and d.state = 'open'
    order by d.id";

/// A row of [`OPEN`].
#[derive(QueryableByName)]
pub struct Open {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Bool)]
    is_uncounted: bool,
}

impl From<Open> for OpenDeadLetter {
    fn from(Open { position, is_uncounted }: Open) -> Self {
        Self { position, is_uncounted }
    }
}

/// The counted ranges that overlap the positions from the fifth parameter to the sixth.
pub const COUNTED: &str = "
    select c.first, c.last from counted c
    where c.flow = $1 and c.stream = $2 and c.partition = $3 and c.log = $4 and c.last >= $5 and c.first <= $6";

/// A row of [`COUNTED`].
#[derive(QueryableByName)]
pub struct Counted {
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

impl From<Counted> for (i64, i64) {
    fn from(Counted { first, last }: Counted) -> Self {
        (first, last)
    }
}

/// `range` merged with those that touch it.
pub fn merged(range: (i64, i64), touching: &[(i64, i64)]) -> (i64, i64) {
    let wider =
        |(first, last): (i64, i64), other: &(i64, i64)| (first.min(other.0), last.max(other.1));
    touching.iter().fold(range, wider)
}

pub const FORGET: &str = "
    delete from counted
    where flow = $1 and stream = $2 and partition = $3 and log = $4 and last >= $5 and first <= $6";

pub const NOTE: &str = "
    insert into counted (flow, stream, partition, log, first, last) values ($1, $2, $3, $4, $5, $6)";

/// Closes the open dead letters of the position in the fifth parameter.
macro_rules! close {
    ($as:literal) => {
        concat!(
            "update dead_letters set ",
            $as,
            " where flow = $1 and stream = $2 and partition = $3 and state = 'open' and pass in (
                select p.pass from positions p where p.flow = $1 and p.stream = $2 and p.partition = $3 and p.log = $4
            ) and position = $5"
        )
    };
}

/// For what a replay has written.
pub const CLOSE_REPLAYED: &str = close!("state = 'replayed'");

/// For what is put back into its topic.
pub const CLOSE_REPAIRED: &str = close!("state = 'repaired'");

/// For what a later pass has taken.
pub const CLOSE_OUTDATED: &str = close!("state = 'outdated', outdated_by = 'position'");

/// Copies the states `repaired` and `discarded` from earlier dead letters of the same positions to those of the batch in
/// the fifth parameter.
pub const TAKE_OVER: &str = "
    update dead_letters set state = (
        select e.state from positions p cross join dead_letters e
        where p.flow = $1 and p.stream = $2 and p.partition = $3 and p.log = $4 and +p.pass < dead_letters.pass
            and e.flow = p.flow and e.stream = p.stream and e.partition = p.partition and e.pass = p.pass
            and e.position = dead_letters.position and e.state in ('repaired', 'discarded')
        order by e.pass desc, e.attempt desc limit 1
    )
    where batch_id = $5 and exists (
        select 1 from positions p cross join dead_letters e
        where p.flow = $1 and p.stream = $2 and p.partition = $3 and p.log = $4 and +p.pass < dead_letters.pass
            and e.flow = p.flow and e.stream = p.stream and e.partition = p.partition and e.pass = p.pass
            and e.position = dead_letters.position and e.state in ('repaired', 'discarded')
    )";
