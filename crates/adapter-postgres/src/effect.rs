//! What a flow's rows do to its tables.

use std::future::Future;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel_async::AsyncPgConnection;
use tally_domain::Flow;
use tally_ports::{Fault, Migrations, Outcome, Refusal, Row};

use crate::connection::{Session, within};
use crate::fault;

/// A flow's effect on Postgres. Runs inside the transaction of a commit and must not end it.
pub trait PostgresEffect: Flow {
    /// The flow's tables, and the function that writes one row.
    const MIGRATIONS: Migrations;

    /// Those of its tables whose rows name in `origin` and `position` the record that wrote them; audits compare them
    /// with the ledger.
    const TABLES: &'static [&'static str] = &[];

    /// The one of them that has a row under its `id` for each record that was written, or a newer one; an audit looks for
    /// each record of a source there.
    const BY_ID: Option<&'static str> = None;

    /// Writes the effect of all `rows` (at least one, in order of position) by one statement, or fails.
    ///
    /// `origin` is the row in `positions` from which they came. Answers what became of each row, in the same order.
    fn apply(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> impl Future<Output = QueryResult<Vec<Outcome>>> + Send;

    /// Writes the effect of each row that the database does not refuse, and tells why it refuses the others. Called
    /// after [`apply`](Self::apply) failed and was undone.
    ///
    /// Runs in the server, by a plpgsql function that for each row catches what fails and answers what the function
    /// `tally_refusal` of the ledger's migrations makes of it; [`refusal`] reads that. What is not the row's fault
    /// `tally_refusal` raises again, with the SQLSTATE as its message: an outage of the database, or a wrong setting.
    fn apply_singly(
        connection: &mut AsyncPgConnection,
        origin: i64,
        rows: &[Row<Self>],
    ) -> impl Future<Output = QueryResult<Vec<Outcome>>> + Send;

    /// Writes the effect of a row of a dead letter that is replayed, unless something newer is there: by one statement
    /// that leaves alone a later record of the same origin and any of another one. Those are
    /// [`Outcome::Superseded`]. What the database refuses is told as by [`apply_singly`](Self::apply_singly).
    fn replay(
        connection: &mut AsyncPgConnection,
        origin: i64,
        row: &Row<Self>,
    ) -> impl Future<Output = QueryResult<Outcome>> + Send;
}

/// Begins the transaction of a commit; `effect` is where it goes back to when the rows cannot be written together.
/// Deferred constraints are checked with each statement: at COMMIT nobody could tell which row is at fault.
pub(crate) const BEGIN: &str = "begin isolation level read committed read write; set constraints all immediate; \
    savepoint effect";

/// What a flow's function for single rows answered for a row that the database refuses: the SQLSTATE and, after a blank,
/// the name of the constraint.
pub fn refusal(answer: &str) -> Refusal {
    match answer.split_once(' ') {
        Some((code, name)) => Refusal { constraint: Some(name.to_owned()), ..Refusal::new(code) },
        None => Refusal::new(answer),
    }
}

/// Writes the rows together, else one by one.
pub(crate) async fn write<F: PostgresEffect>(
    session: &mut Session,
    origin: i64,
    rows: &[Row<F>],
) -> Result<Vec<Outcome>, Fault> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (connection, limit) = session.parts();
    if let Ok(outcomes) = within(limit, F::apply(connection, origin, rows)).await? {
        return Ok(outcomes);
    }
    // Fails when what failed was the connection.
    session.run("rollback to savepoint effect").await?;
    let (connection, limit) = session.parts();
    let outcomes = within(limit, F::apply_singly(connection, origin, rows)).await?;
    outcomes.map_err(|error| fault::of_rows(&error))
}

/// A query whose text is always the same and which is therefore prepared once per connection;
/// [`diesel::sql_query`] is prepared anew each time, which costs a round trip and the planning.
#[derive(Clone, Debug)]
pub struct Prepared<Q> {
    query: Q,
}

/// `query` without the cost of preparing it each time. Its text must not depend on values.
pub const fn prepared<Q>(query: Q) -> Prepared<Q> {
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

/// Found again by its text.
impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}
