use diesel::backend::Backend;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, HasSqlType, Integer, Text};
use tally_ports::{DeadLetterIdentity, Filter, State};

/// A query that is built condition by condition.
#[must_use]
pub struct Search<'a, DB: Backend> {
    query: BoxedSqlQuery<'a, DB, SqlQuery>,
    bound: usize,
}

impl<'a, DB> Search<'a, DB>
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Binary> + HasSqlType<Integer> + HasSqlType<Text>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    &'a [u8]: ToSql<Binary, DB>,
    &'a str: ToSql<Text, DB>,
{
    /// `sql` ends with a condition.
    pub fn new(sql: &str) -> Self {
        Self { query: sql_query(sql).into_boxed(), bound: 0 }
    }

    /// The conditions of `filter` but for ids and moments, whose form differs between databases: see [`Search::and`].
    pub fn chosen(self, filter: &'a Filter) -> Self {
        let Filter { flow, stream, label, partition, pass, position, stage, code, .. } = filter;
        let Filter { state, key, .. } = filter;
        self.and::<Text, _>("d.flow = ?", flow.as_deref())
            .and::<Text, _>("d.stream = ?", stream.as_deref())
            .and::<Text, _>("p.label = ?", label.as_deref())
            .and::<Integer, _>("d.partition = ?", *partition)
            .and::<Integer, _>("d.pass = ?", *pass)
            .and::<BigInt, _>("d.position = ?", *position)
            .and::<Text, _>("d.stage = ?", stage.as_deref())
            .and::<Text, _>("d.code = ?", code.as_deref())
            .and::<Text, _>("d.state = ?", state.map(State::as_str))
            .and::<Binary, _>("d.key = ?", key.as_deref())
    }

    /// A condition, with `?` for its value, where there is a value.
    pub fn and<ST, V>(self, condition: &str, value: Option<V>) -> Self
    where
        DB: HasSqlType<ST>,
        V: ToSql<ST, DB> + Send + 'a,
        ST: Send + 'a,
    {
        let Some(value) = value else { return self };
        self.sql(" and ").bind::<ST, V>(condition, value)
    }

    pub fn behind(self, after: Option<&'a DeadLetterIdentity>) -> Self {
        let Some(DeadLetterIdentity { flow, stream, partition, pass, position, attempt }) = after
        else {
            return self;
        };
        self.sql(" and (d.flow, d.stream, d.partition, d.pass, d.position, d.attempt) > (")
            .bind::<Text, _>("?, ", flow.as_str())
            .bind::<Text, _>("?, ", stream.as_str())
            .bind::<Integer, _>("?, ", *partition)
            .bind::<Integer, _>("?, ", *pass)
            .bind::<BigInt, _>("?, ", *position)
            .bind::<Integer, _>("?)", *attempt)
    }

    pub fn ordered(self, order: &str) -> BoxedSqlQuery<'a, DB, SqlQuery> {
        self.sql(order).query
    }

    pub fn limited(self, order: &str, limit: usize) -> BoxedSqlQuery<'a, DB, SqlQuery> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.sql(order).bind::<BigInt, _>("?", limit).query
    }

    fn sql(self, sql: &str) -> Self {
        Self { query: self.query.sql(sql), ..self }
    }

    /// The text, with the value's number for the `?`.
    fn bind<ST, V>(self, sql: &str, value: V) -> Self
    where
        DB: HasSqlType<ST>,
        V: ToSql<ST, DB> + Send + 'a,
        ST: Send + 'a,
    {
        let bound = self.bound + 1;
        let sql = sql.replace('?', &format!("${bound}"));
        Self { query: self.query.sql(sql).bind::<ST, V>(value), bound }
    }
}
