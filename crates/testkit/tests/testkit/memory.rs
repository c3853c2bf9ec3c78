//! The store in memory passes the contract of the stores, and fails as it is told.

use std::sync::Arc;

use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, Fault, Positions, Sink, StopKind};
use tally_testkit::build::{LONG, plain_commit, stream};
use tally_testkit::memory::MemoryStore;

tally_testkit::store_contract!(async { MemoryStore::default() });
tally_testkit::server_contract!(async { MemoryStore::default() });
tally_testkit::single_contract!(async {
    let store = MemoryStore::default();
    store.serve_one_worker();
    store
});

#[tokio::test]
async fn faults_come_as_told() {
    let store = MemoryStore::default();
    let stream = stream::<Transactions>("file/1");
    store.fail_positions(1);
    assert!(matches!(
        store.claim(&stream, "a", LONG, Begin::default()).await,
        Err(Fault::Outage { .. })
    ));
    let Ok(Claim::Owned(position)) = store.claim(&stream, "a", LONG, Begin::default()).await else {
        panic!("not owned")
    };
    let batch = Arc::new(plain_commit(&position, &stream, 0..=4));

    store.fail_commits(2);
    for _ in 0..2 {
        assert!(matches!(store.commit(&batch).await, Err(Fault::Outage { .. })));
        assert_eq!(store.next(&stream), Some((0, false)));
    }
    store.lose_answers(1);
    assert!(matches!(store.commit(&batch).await, Err(Fault::Outage { .. })));
    assert_eq!((store.next(&stream), store.batches().len()), (Some((5, false)), 1));
    assert_eq!(store.commit(&batch).await.unwrap().written, 5);
    assert_eq!(store.rows(Transactions::NAME).len(), 5);

    store.steal(&stream);
    let next = Arc::new(plain_commit(&position, &stream, 5..=9));
    let Err(Fault::Stop(stop)) = store.commit(&next).await else { panic!("committed") };
    assert_eq!(stop.kind, StopKind::Taken);
    assert_eq!(store.owner(&stream).as_deref(), Some("thief"));
}

#[tokio::test(start_paused = true)]
async fn leases_live_by_the_clock_of_tokio() {
    let store = MemoryStore::default();
    let stream = stream::<Transactions>("file/1");
    store.claim(&stream, "a", LONG, Begin::default()).await.unwrap();
    let claim = store.claim(&stream, "b", LONG, Begin::default()).await.unwrap();
    assert!(matches!(claim, Claim::Held { remaining: LONG, .. }), "{claim:?}");
    tokio::time::advance(LONG).await;
    assert!(matches!(store.claim(&stream, "b", LONG, Begin::default()).await, Ok(Claim::Owned(_))));
}
