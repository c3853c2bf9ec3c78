//! Relays of dead letters that something goes wrong with.

use std::sync::Arc;

use crate::support::{LEASE, open, outage, own};
use tally_adapter_postgres::Postgres;
use tally_domain::transactions::Transactions;
use tally_harness::postgres::TestDatabase;
use tally_harness::proxy::Proxy;
use tally_ports::{DeadLetterRelay, Sink};
use tally_testkit::build::{self, LONG, dead_letter};
use tally_testkit::contract::{Hold, Topic};

const FLOW: &str = "transactions";

/// Three dead letters, in one batch.
async fn three_letters(store: &Postgres) {
    let (position, stream) = own::<Transactions>(store, "group/topic", LONG).await;
    let letters = (0..3).map(dead_letter).collect();
    let batch = build::commit(&position, &stream, 0..=2, vec![], letters);
    store.commit(&Arc::new(batch)).await.unwrap();
}

async fn published(database: &TestDatabase) -> String {
    let sql = "select count(published_at) || ' of ' || count(*) from dead_letters";
    database.query_text(sql).await[0][0].clone().unwrap()
}

/// What the topic has, the table does not know of yet: it is told once more, and never less than once.
#[tokio::test]
async fn a_mark_that_did_not_arrive_is_made_with_the_next_relay() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let store = open(database.url_through(proxy.addr())).await.unwrap();
    three_letters(&store).await;

    proxy.cut_on_commit_request(1);
    let topic = Topic::default();
    outage(store.relay(FLOW, 10, &topic).await);
    assert_eq!(
        (proxy.fired(), topic.dead_letters().len(), &*published(&database).await),
        (1, 3, "0 of 3")
    );
    assert_eq!(store.relay(FLOW, 10, &topic).await, Ok(3));
    assert_eq!((topic.dead_letters().len(), &*published(&database).await), (6, "3 of 3"));
}

/// The mark is there though its answer was lost: nothing is told again.
#[tokio::test]
async fn a_mark_whose_answer_is_lost_is_found() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let store = open(database.url_through(proxy.addr())).await.unwrap();
    three_letters(&store).await;

    proxy.cut_on_commit_answer(1);
    let topic = Topic::default();
    outage(store.relay(FLOW, 10, &topic).await);
    assert_eq!((proxy.fired(), &*published(&database).await), (1, "3 of 3"));
    assert_eq!(store.relay(FLOW, 10, &topic).await, Ok(0));
    assert_eq!(topic.dead_letters().len(), 3);
}

/// Others may lock a row after that.
const WAIT: &str =
    "set lock_timeout = '20s'; update dead_letters set state = 'discarded' where position = 1";

mod serial {
    use std::time::{Duration, Instant};

    use tally_harness::eventually;

    use super::*;

    const LOCKED: &str = "select 1 from pg_stat_activity
        where datname = current_database() and application_name = 'tally' and state = 'idle in transaction'";

    /// Half a lease and no longer; its rows are then free, and it can be tried again at once.
    #[tokio::test]
    async fn a_topic_that_hangs_is_given_up() {
        let database = TestDatabase::create().await;
        let store = open(database.url()).await.unwrap();
        three_letters(&store).await;

        let hold = Hold::default();
        let topic = Topic::holding(&hold);
        let arrived = async {
            hold.arrived().await;
            Instant::now()
        };
        let began = Instant::now();
        let (result, arrived) = tokio::join!(store.relay(FLOW, 10, &topic), arrived);
        let message = outage(result);
        assert!(message.contains("500ms"), "{message}");
        assert!(began.elapsed() >= LEASE / 2, "{:?}", began.elapsed());
        assert!(arrived.elapsed() < 3 * LEASE, "{:?}", arrived.elapsed());
        assert_eq!(database.query_text(LOCKED).await, Vec::<Vec<_>>::new());
        database.execute(WAIT).await;
        let topic = Topic::default();
        assert_eq!(store.relay(FLOW, 10, &topic).await, Ok(3));
        assert_eq!(topic.positions().len(), 3);
    }

    /// As a process that was stopped in the middle: nobody counts its time but the server.
    #[tokio::test]
    async fn a_frozen_relay_loses_its_locks_with_its_lease() {
        let database = TestDatabase::create().await;
        let (ours, theirs) =
            (open(database.url()).await.unwrap(), open(database.url()).await.unwrap());
        three_letters(&ours).await;

        let hold = Hold::default();
        let slow = Topic::holding(&hold);
        let mut frozen = Box::pin(ours.relay(FLOW, 2, &slow));
        tokio::select! {
            result = &mut frozen => panic!("{result:?}"),
            () = hold.arrived() => {}
        }
        let began = Instant::now();
        let topic = Topic::default();
        assert_eq!(theirs.relay(FLOW, 10, &topic).await, Ok(1), "the others are not held up");
        let all_told = async || {
            theirs.relay(FLOW, 10, &topic).await.unwrap();
            topic.dead_letters().len() == 3
        };
        eventually(Duration::from_secs(20), all_told).await;
        assert!(began.elapsed() >= LEASE / 2, "{:?}", began.elapsed());
        assert!(began.elapsed() < 6 * LEASE, "{:?}", began.elapsed());

        // Woken up, it does not mark what it no longer has.
        hold.go_on();
        outage(frozen.await);
        assert_eq!(published(&database).await, "3 of 3");
    }
}
