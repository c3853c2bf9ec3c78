use chrono::NaiveDateTime;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, HasSqlType, Integer, Text};
use diesel::sqlite::Sqlite;
use tally_ports::{Choice, Place, State};
use uuid::Uuid;

/// A query that grows by the conditions that there are.
pub(super) struct Search<'a> {
    query: BoxedSqlQuery<'a, Sqlite, SqlQuery>,
}

/// Ids as one value.
pub(super) fn list_of(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<serde_json::Value>().to_string()
}

/// As the table holds moments.
fn moment(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

impl<'a> Search<'a> {
    /// `sql` ends with a condition.
    pub(super) fn new(sql: &str) -> Self {
        Self { query: sql_query(sql).into_boxed() }
    }

    pub(super) fn chosen(self, choice: &'a Choice) -> Self {
        let Choice { ids, flow, stream, label, partition, pass, position, stage, code, .. } =
            choice;
        let Choice { state, since, until, key, .. } = choice;
        self.and::<Text, _>("d.id in (select value from json_each(?))", ids.as_deref().map(list_of))
            .and::<Text, _>("d.flow = ?", flow.as_deref())
            .and::<Text, _>("d.stream = ?", stream.as_deref())
            .and::<Text, _>("p.label = ?", label.as_deref())
            .and::<Integer, _>("d.partition = ?", *partition)
            .and::<Integer, _>("d.pass = ?", *pass)
            .and::<BigInt, _>("d.position = ?", *position)
            .and::<Text, _>("d.stage = ?", stage.as_deref())
            .and::<Text, _>("d.code = ?", code.as_deref())
            .and::<Text, _>("d.state = ?", state.map(State::as_str))
            .and::<Text, _>("d.failed_at >= ?", since.map(moment))
            .and::<Text, _>("d.failed_at < ?", until.map(moment))
            .and::<Binary, _>("d.key = ?", key.as_deref())
    }

    pub(super) fn behind(self, after: Option<&'a Place>) -> Self {
        let Some(Place { flow, stream, partition, pass, position, attempt }) = after else {
            return self;
        };
        let condition = " and (d.flow, d.stream, d.partition, d.pass, d.position, d.attempt) > (?, ?, ?, ?, ?, ?)";
        let query = self
            .query
            .sql(condition)
            .bind::<Text, _>(flow.as_str())
            .bind::<Text, _>(stream.as_str())
            .bind::<Integer, _>(*partition)
            .bind::<Integer, _>(*pass)
            .bind::<BigInt, _>(*position)
            .bind::<Integer, _>(*attempt);
        Self { query }
    }

    pub(super) fn ordered(self, order: &str) -> BoxedSqlQuery<'a, Sqlite, SqlQuery> {
        self.query.sql(order)
    }

    pub(super) fn limited(self, order: &str, limit: usize) -> BoxedSqlQuery<'a, Sqlite, SqlQuery> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query.sql(order).sql("?").bind::<BigInt, _>(limit)
    }

    fn and<ST, V>(self, condition: &str, value: Option<V>) -> Self
    where
        Sqlite: HasSqlType<ST>,
        V: ToSql<ST, Sqlite> + Send + 'a,
        ST: Send + 'a,
    {
        let Some(value) = value else { return self };
        Self { query: self.query.sql(format!(" and {condition}")).bind::<ST, V>(value) }
    }
}
