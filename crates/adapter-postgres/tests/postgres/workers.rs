//! Many partitions and workers of one process.

use std::sync::Arc;
use std::time::Duration;

use crate::support::freezing::Freezing;
use crate::support::own;
use futures_util::future::join_all;
use tally_adapter_postgres::{Postgres, Settings};
use tally_domain::transactions::Transactions;
use tally_harness::eventually;
use tally_harness::postgres::TestDatabase;
use tally_ports::{Begin, Claim, Join, Positions, Sink, Worker, Workers};
use tally_testkit::build::{self, LONG, worker};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn open(database: &TestDatabase) -> Postgres {
    let settings = Settings { lease: LONG, ..Settings::new(database.url()) };
    Postgres::open(&settings, &tally_flows::all()).await.unwrap()
}

async fn live_workers(store: &Postgres, worker: &Worker) -> usize {
    match store.join_stream(worker, LONG).await.unwrap() {
        Join::Joined(membership) => membership.live_workers,
        full @ Join::Full { .. } => panic!("{full:?}"),
    }
}

/// Four commits under way hold their positions, so that the heartbeats of these wait for them, and two claims wait for
/// rows that somebody else has locked: all other leases are kept alive all the same.
#[tokio::test]
async fn heartbeats_that_wait_hold_up_no_others() {
    let database = TestDatabase::create().await;
    let store = open(&database).await;
    let idle = own::<Transactions>(&store, "group/idle", LONG).await.0;
    let locked = ["group/locked 1", "group/locked 2"];
    for name in locked {
        let (position, _) = own::<Transactions>(&store, name, LONG).await;
        store.release(&position.lease).await.unwrap();
    }
    let other = database.connect().await;
    other
        .batch_execute("begin; select from positions where stream like 'group/locked%' for update")
        .await
        .unwrap();

    let freezing = Freezing::begin(&database).await;
    let (mut leases, mut commits) = (Vec::new(), Vec::new());
    for partition in 0..4 {
        let (position, stream) =
            own::<Transactions>(&store, &format!("group/{partition}"), LONG).await;
        // A row of its own, so that no two wait for each other's.
        let row = build::row(0, partition, "1");
        let batch = Arc::new(build::commit(&position, &stream, 0..=0, vec![row], vec![]));
        let store = store.clone();
        commits.push(tokio::spawn(async move { store.commit(&batch).await }));
        leases.push(position.lease);
    }
    freezing.until(4).await;
    let claims = locked.map(|name| {
        let (store, stream) = (store.clone(), build::stream::<Transactions>(name));
        tokio::spawn(async move { store.claim(&stream, "b", LONG, Begin::default()).await })
    });
    let renewals: Vec<_> = leases
        .into_iter()
        .map(|lease| {
            let store = store.clone();
            tokio::spawn(async move { store.renew(&lease).await })
        })
        .collect();
    let waiting = "select count(*) filter (where query like '%set lease_until%') || ' renewals, '
            || count(*) filter (where query like '%for update%') || ' claims'
        from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let waiting = async || database.query_text(waiting).await[0][0].clone();
    let all_wait = async || waiting().await.as_deref() == Some("4 renewals, 2 claims");
    eventually(PATIENCE, all_wait).await;

    let others = async {
        for _ in 0..3 {
            store.renew(&idle.lease).await.unwrap();
            assert_eq!(live_workers(&store, &worker::<Transactions>("a", "group/idle")).await, 1);
        }
    };
    timeout(PATIENCE, others).await.expect("a session for them");
    assert_eq!(waiting().await.as_deref(), Some("4 renewals, 2 claims"), "all this while");
    commits.iter().for_each(JoinHandle::abort);
    freezing.end().await;
    for renewed in join_all(renewals).await {
        renewed.unwrap().unwrap();
    }
    other.batch_execute("rollback").await.unwrap();
    for claimed in join_all(claims).await {
        assert!(matches!(claimed.unwrap(), Ok(Claim::Owned(_))));
    }
}

/// A day after its death a worker is forgotten, whatever stream it worked on, and by several at once.
#[tokio::test]
async fn workers_that_died_long_ago_are_forgotten() {
    let database = TestDatabase::create().await;
    let store = open(&database).await;
    for number in 0..30 {
        let name = format!("group/{}", number % 3);
        store
            .join_stream(&worker::<Transactions>(&format!("old {number}"), &name), LONG)
            .await
            .unwrap();
    }
    database
        .execute(
            "update workers set seen_until = now() - interval '25 hours';
             insert into workers select 'dead', flow, stream, host, pid, now() - interval '23 hours'
             from workers limit 1",
        )
        .await;
    let new: Vec<_> =
        (0..4).map(|number| worker::<Transactions>(&format!("new {number}"), "group/0")).collect();
    join_all(new.iter().map(|worker| live_workers(&store, worker))).await;
    assert_eq!(live_workers(&store, &new[0]).await, 4);
    let ids = database.query_text("select string_agg(id, ', ' order by id) from workers").await;
    assert_eq!(ids[0][0].as_deref(), Some("dead, new 0, new 1, new 2, new 3"));
}

/// Whoever was forgotten, or never came back, counts again as soon as it says that it lives.
#[tokio::test]
async fn the_database_clock_says_who_lives() {
    let database = TestDatabase::create().await;
    let store = open(&database).await;
    let (ann, bob) =
        (worker::<Transactions>("ann", "group/0"), worker::<Transactions>("bob", "group/0"));
    live_workers(&store, &bob).await;
    let seen = "select seen_until - now() between interval '40 s' and interval '60 s' from workers where id = 'bob'";
    assert_eq!(database.query_text(seen).await, [[Some("t".to_owned())]]);
    assert_eq!(live_workers(&store, &ann).await, 2);
    database.execute("update workers set seen_until = now() where id = 'bob'").await;
    assert_eq!(live_workers(&store, &ann).await, 1);
    assert_eq!(live_workers(&store, &bob).await, 2);
}
