//! Prepared statements.

use std::borrow::Cow;
use std::marker::PhantomData;

use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text, Untyped};
use diesel::sqlite::Sqlite;
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection};

/// A statement that a connection prepares once and then keeps. (diesel prepares an `sql_query` at every call, and
/// writes the text of an `on conflict` again at every call.)
pub(crate) trait Statement: 'static {
    /// Its text, with `?` for each value and nowhere else.
    const SQL: &'static str;
}

/// The value for one `?`.
#[derive(Clone)]
pub(crate) enum Value<'a> {
    /// No value.
    Null,
    /// A number.
    Integer(i64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Runs a statement with its values and returns how many rows it touched.
pub(crate) fn execute<S: Statement>(
    connection: &mut SqliteConnection,
    values: &[Value<'_>],
) -> QueryResult<usize> {
    Bound::<S> { values, statement: PhantomData }.execute(connection)
}

struct Bound<'a, S> {
    values: &'a [Value<'a>],
    statement: PhantomData<S>,
}

impl<S: Statement> QueryId for Bound<'_, S> {
    type QueryId = Bound<'static, S>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S> RunQueryDsl<SqliteConnection> for Bound<'_, S> {}

impl<S: Statement> QueryFragment<Sqlite> for Bound<'_, S> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        walk(S::SQL, self.values, out)
    }
}

/// Runs a statement whose text is built at run time. A connection prepares it once too, cached by its text.
pub(crate) fn execute_dynamic(
    connection: &mut SqliteConnection,
    sql: &str,
    values: &[Value<'_>],
) -> QueryResult<usize> {
    Dynamic { sql, values }.execute(connection)
}

/// Runs a query for one boolean, called `found`. See [`execute_dynamic`].
pub(crate) fn query_bool(
    connection: &mut SqliteConnection,
    sql: &str,
    values: &[Value<'_>],
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct BoolRow {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let BoolRow { found } = Dynamic { sql, values }.get_result(connection)?;
    Ok(found)
}

struct Dynamic<'a> {
    sql: &'a str,
    values: &'a [Value<'a>],
}

impl QueryId for Dynamic<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<SqliteConnection> for Dynamic<'_> {}

impl Query for Dynamic<'_> {
    type SqlType = Untyped;
}

impl QueryFragment<Sqlite> for Dynamic<'_> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        walk(self.sql, self.values, out)
    }
}

fn walk<'b>(
    sql: &str,
    values: &'b [Value<'_>],
    mut out: AstPass<'_, 'b, Sqlite>,
) -> QueryResult<()> {
    let wrong_number = || {
        Error::QueryBuilderError(format!("{} values for the statement {sql}", values.len()).into())
    };
    let mut texts = sql.split('?');
    out.push_sql(texts.next().unwrap_or_default());
    for value in values {
        match value {
            Value::Null => out.push_bind_param::<Nullable<Text>, Option<&str>>(&None)?,
            Value::Integer(number) => out.push_bind_param::<BigInt, i64>(number)?,
            Value::Text(text) => out.push_bind_param::<Text, str>(text)?,
            Value::Bytes(bytes) => out.push_bind_param::<Binary, [u8]>(bytes)?,
        }
        out.push_sql(texts.next().ok_or_else(wrong_number)?);
    }
    match texts.next() {
        Some(_) => Err(wrong_number()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use diesel::Connection;
    use diesel::connection::{InstrumentationEvent, SimpleConnection};

    use super::*;

    struct Append;

    impl Statement for Append {
        const SQL: &'static str =
            "insert into t (a, b, c, d) values (?, ?, ?, ?) on conflict (a) do nothing";
    }

    fn connection() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection
            .batch_execute("create table t (a integer primary key, b text, c blob, d text)")
            .unwrap();
        connection
    }

    fn values(number: i64) -> [Value<'static>; 4] {
        [number.into(), "text".into(), Some(&b"\0bytes"[..]).into(), None::<&str>.into()]
    }

    #[test]
    fn a_statement_is_prepared_once() {
        static PREPARED: AtomicUsize = AtomicUsize::new(0);
        let mut connection = connection();
        connection.set_instrumentation(|event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::CacheQuery { .. }) {
                PREPARED.fetch_add(1, Ordering::Relaxed);
            }
        });
        for number in 0..100 {
            assert_eq!(execute::<Append>(&mut connection, &values(number)), Ok(1));
        }
        assert_eq!(execute::<Append>(&mut connection, &values(7)), Ok(0));
        assert_eq!(PREPARED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_number_of_values_is_checked() {
        let mut connection = connection();
        for wrong in [&values(1)[..3], &[values(1), values(2)].concat()] {
            let error = execute::<Append>(&mut connection, wrong).unwrap_err();
            assert!(matches!(error, Error::QueryBuilderError(_)), "{error}");
        }
        assert_eq!(execute::<Append>(&mut connection, &values(1)), Ok(1));
    }
}
