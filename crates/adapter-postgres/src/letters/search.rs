use chrono::NaiveDateTime;
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_query;
use diesel::sql_types::{
    Array, BigInt, Binary, HasSqlType, Integer, Text, Timestamptz, Uuid as SqlUuid,
};
use tally_ports::{Choice, Place, State};

/// A query that grows by the conditions that there are.
pub(super) struct Search<'a> {
    query: BoxedSqlQuery<'a, Pg, SqlQuery>,
    bound: usize,
}

impl<'a> Search<'a> {
    /// `sql` ends with a condition.
    pub(super) fn new(sql: &str) -> Self {
        Self { query: sql_query(sql).into_boxed(), bound: 0 }
    }

    pub(super) fn chosen(self, choice: &'a Choice) -> Self {
        let Choice { ids, flow, stream, label, partition, pass, position, stage, code, .. } =
            choice;
        let Choice { state, since, until, key, .. } = choice;
        self.and::<Array<SqlUuid>, _>("d.id = any", ids.as_deref())
            .and::<Text, _>("d.flow = ", flow.as_deref())
            .and::<Text, _>("d.stream = ", stream.as_deref())
            .and::<Text, _>("p.label = ", label.as_deref())
            .and::<Integer, _>("d.partition = ", *partition)
            .and::<Integer, _>("d.pass = ", *pass)
            .and::<BigInt, _>("d.position = ", *position)
            .and::<Text, _>("d.stage = ", stage.as_deref())
            .and::<Text, _>("d.code = ", code.as_deref())
            .and::<Text, _>("d.state = ", state.map(State::as_str))
            .and::<Timestamptz, NaiveDateTime>("d.failed_at >= ", *since)
            .and::<Timestamptz, NaiveDateTime>("d.failed_at < ", *until)
            .and::<Binary, _>("d.key = ", key.as_deref())
    }

    pub(super) fn behind(self, after: Option<&'a Place>) -> Self {
        let Some(Place { flow, stream, partition, pass, position, attempt }) = after else {
            return self;
        };
        let place = " and (d.flow, d.stream, d.partition, d.pass, d.position, d.attempt) > (";
        self.sql(place)
            .bind::<Text, _>(flow.as_str())
            .sql(", ")
            .bind::<Text, _>(stream.as_str())
            .sql(", ")
            .bind::<Integer, _>(*partition)
            .sql(", ")
            .bind::<Integer, _>(*pass)
            .sql(", ")
            .bind::<BigInt, _>(*position)
            .sql(", ")
            .bind::<Integer, _>(*attempt)
            .sql(")")
    }

    pub(super) fn ordered(self, order: &str) -> BoxedSqlQuery<'a, Pg, SqlQuery> {
        self.sql(order).query
    }

    pub(super) fn limited(self, order: &str, limit: usize) -> BoxedSqlQuery<'a, Pg, SqlQuery> {
        self.sql(order).bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX)).query
    }

    fn and<ST, V>(self, condition: &str, value: Option<V>) -> Self
    where
        Pg: HasSqlType<ST>,
        V: ToSql<ST, Pg> + Send + 'a,
        ST: Send + 'a,
    {
        match value {
            Some(value) => self.sql(&format!(" and {condition}(")).bind::<ST, V>(value).sql(")"),
            None => self,
        }
    }

    fn sql(self, sql: &str) -> Self {
        Self { query: self.query.sql(sql), ..self }
    }

    /// The value, with its number in the text.
    fn bind<ST, V>(self, value: V) -> Self
    where
        Pg: HasSqlType<ST>,
        V: ToSql<ST, Pg> + Send + 'a,
        ST: Send + 'a,
    {
        let bound = self.bound + 1;
        Self { query: self.query.sql(format!("${bound}")).bind::<ST, V>(value), bound }
    }
}
