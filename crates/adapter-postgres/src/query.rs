//! Statements that are prepared once per connection.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, Text, Timestamp, Timestamptz, Untyped, Uuid as SqlUuid,
};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

/// A query whose text is always the same and which is therefore prepared once per connection;
/// [`diesel::sql_query`] is prepared again each time, which costs a round trip and the planning.
#[derive(Clone, Debug)]
pub(crate) struct Prepared<Q> {
    query: Q,
}

/// `query` without the cost of preparing it each time. Its text must not depend on values.
pub(crate) const fn prepared<Q>(query: Q) -> Prepared<Q> {
    Prepared { query }
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

/// Cached by its text.
impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

/// A query whose text is built at run time, from the description of a table. It is prepared once too.
#[derive(Default)]
pub(crate) struct Dynamic<'a> {
    sql: String,
    values: Vec<Bound<'a>>,
}

/// A value, or the values of a column.
pub(crate) enum Bound<'a> {
    Integer(i32),
    BigInt(i64),
    Boolean(bool),
    Text(&'a str),
    Integers(Vec<i32>),
    BigInts(Vec<Option<i64>>),
    Booleans(Vec<Option<bool>>),
    Uuids(Vec<Option<Uuid>>),
    Texts(Vec<Option<&'a str>>),
    Timestamps(Vec<Option<NaiveDateTime>>),
    Instants(Vec<Option<DateTime<Utc>>>),
}

impl<'a> Dynamic<'a> {
    /// A query with a `?` for each of `values` in order and nowhere else.
    pub(crate) const fn new(sql: String, values: Vec<Bound<'a>>) -> Self {
        Self { sql, values }
    }
}

impl QueryFragment<Pg> for Dynamic<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let wrong_number = || {
            let (values, sql) = (self.values.len(), &self.sql);
            Error::QueryBuilderError(format!("{values} values for the statement {sql}").into())
        };
        let mut texts = self.sql.split('?');
        pass.push_sql(texts.next().unwrap_or_default());
        for value in &self.values {
            match value {
                Bound::Integer(value) => pass.push_bind_param::<Integer, _>(value)?,
                Bound::BigInt(value) => pass.push_bind_param::<BigInt, _>(value)?,
                Bound::Boolean(value) => pass.push_bind_param::<Bool, _>(value)?,
                Bound::Text(value) => pass.push_bind_param::<Text, _>(*value)?,
                Bound::Integers(values) => pass.push_bind_param::<Array<Integer>, _>(values)?,
                Bound::BigInts(values) => {
                    pass.push_bind_param::<Array<Nullable<BigInt>>, _>(values)?;
                }
                Bound::Booleans(values) => {
                    pass.push_bind_param::<Array<Nullable<Bool>>, _>(values)?;
                }
                Bound::Uuids(values) => {
                    pass.push_bind_param::<Array<Nullable<SqlUuid>>, _>(values)?;
                }
                Bound::Texts(values) => pass.push_bind_param::<Array<Nullable<Text>>, _>(values)?,
                Bound::Timestamps(values) => {
                    pass.push_bind_param::<Array<Nullable<Timestamp>>, _>(values)?;
                }
                Bound::Instants(values) => {
                    pass.push_bind_param::<Array<Nullable<Timestamptz>>, _>(values)?;
                }
            }
            pass.push_sql(texts.next().ok_or_else(wrong_number)?);
        }
        match texts.next() {
            Some(_) => Err(wrong_number()),
            None => Ok(()),
        }
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl Query for Dynamic<'_> {
    type SqlType = Untyped;
}

/// Cached by its text.
impl QueryId for Dynamic<'_> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl diesel::RunQueryDsl<AsyncPgConnection> for Dynamic<'_> {}
