//! What the tests of this crate share.

pub mod freezing;

use std::sync::Arc;
use std::time::Duration;

use tally_adapter_postgres::{Postgres, Settings};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_harness::postgres::TestDatabase;
use tally_ports::{Begin, Claim, Commit, Fault, Position, Positions, Stop, StopKind, Stream};
use tally_testkit::build;

/// Short enough for tests of timeouts; statements may still take 3 s.
pub const LEASE: Duration = Duration::from_secs(1);

/// A store on `url` for transactions, with a short lease.
pub async fn open(url: impl Into<String>) -> Result<Postgres, Fault> {
    let settings = Settings { lease: LEASE, ..Settings::new(url) };
    Postgres::open(&settings, &tally_flows::all()).await
}

pub async fn own<F: Flow + Default>(
    store: &Postgres,
    name: &str,
    lease: Duration,
) -> (Position, Arc<Stream>) {
    let stream = build::stream::<F>(name);
    match store.claim(&stream, "a", lease, Begin::default()).await.unwrap() {
        Claim::Owned(position) => (position, stream),
        other => panic!("{other:?}"),
    }
}

/// The first ten rows of a stream of transactions.
pub async fn ten_rows(store: &Postgres) -> Arc<Commit> {
    let (position, stream) = own::<Transactions>(store, "file/1", build::LONG).await;
    Arc::new(build::plain_commit(&position, &stream, 0..=9))
}

/// How many transactions, entries of the ledger and dead letters there are, and where the positions stand.
pub async fn contents(database: &TestDatabase) -> String {
    let sql = "select format('%s rows, %s batches, %s dead letters, next %s',
        (select count(*) from transactions), (select count(*) from batches), (select count(*) from dead_letters),
        (select string_agg(next::text, ' ') from positions))";
    database.query_text(sql).await[0][0].clone().unwrap()
}

#[track_caller]
pub fn setting<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    stop(result, StopKind::Setting)
}

#[track_caller]
pub fn stop<T: std::fmt::Debug>(result: Result<T, Fault>, expected: StopKind) -> String {
    match result {
        Err(Fault::Stop(Stop { kind, message })) if kind == expected => message,
        other => panic!("expected a stop of the kind {expected:?}, got {other:?}"),
    }
}

#[track_caller]
pub fn outage<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    match result {
        Err(Fault::Outage { message, .. }) => message,
        other => panic!("expected an outage, got {other:?}"),
    }
}
