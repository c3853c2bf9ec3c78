//! What a commit refuses to write.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tally_domain::transactions::Transactions;
use tally_ports::{Committed, Fault, Lease, Positions, Sink};

use super::claims::{assert_taken, own};
use super::commits::{commit, everything};
use super::{BATCHES, Store, TRANSACTIONS};
use crate::build::{self, LONG, dead_letter, plain_commit, rows, stream};

/// After a later claim nothing of the earlier owner's batch is written: no rows, no dead letters, no entry in the
/// ledger.
pub async fn an_earlier_epoch_writes_nothing(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let earlier = own(&ours, &stream, "a", LONG).await;
    ours.release(&earlier.lease).await.unwrap();
    let later = own(&theirs, &stream, "b", LONG).await;
    let before = everything(store).await;

    let batch = || build::commit(&earlier, &stream, 0..=3, rows(0..=2), vec![dead_letter(3)]);
    assert_taken(commit(&ours, batch()).await);
    assert_eq!(everything(store).await, before);

    commit(&theirs, plain_commit(&later, &stream, 0..=9)).await.unwrap();
    let before = everything(store).await;
    assert_taken(commit(&ours, batch()).await);
    let mut unknown = batch();
    unknown.lease = Lease { position_id: 4_711, ..earlier.lease };
    assert_taken(commit(&ours, unknown).await);
    assert_eq!(everything(store).await, before);
}

/// A batch that does not begin at the position is not written, whether it begins before or after it.
pub async fn a_batch_from_elsewhere_writes_nothing(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, plain_commit(&position, &stream, 0..=9)).await.unwrap();
    let before = everything(store).await;

    for positions in [0..=9, 5..=14, 9..=9, 11..=20] {
        let last = *positions.end();
        let rows = rows(*positions.start()..=last - 1);
        let result = commit(
            &sink,
            build::commit(&position, &stream, positions, rows, vec![dead_letter(last)]),
        )
        .await;
        assert!(matches!(result, Err(Fault::Outage { .. })), "{result:?}");
        assert_eq!(everything(store).await, before);
    }
    commit(&sink, plain_commit(&position, &stream, 10..=19)).await.unwrap();
}

/// Two that read the same range cannot both commit it.
pub async fn of_two_commits_at_once_one_succeeds(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let position = own(&ours, &stream, "a", LONG).await;
    for round in 0..10_i64 {
        let batch = || plain_commit(&position, &stream, 10 * round..=10 * round + 9);
        let results = tokio::join!(commit(&ours, batch()), commit(&theirs, batch()));
        let ((Ok(committed), Err(fault)) | (Err(fault), Ok(committed))) = results else {
            panic!("{results:?}")
        };
        assert_eq!(committed.written, 10);
        assert!(matches!(fault, Fault::Outage { .. }), "{fault:?}");
    }
    assert_eq!(store.read(&BATCHES).await.len(), 10);
    assert_eq!(store.read(&TRANSACTIONS).await.len(), 100);
}

/// When the caller's future is dropped, all of the batch is written or nothing, and it can be committed again.
pub async fn a_commit_without_its_caller_can_be_repeated(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    for round in 0..5_i64 {
        let batch = Arc::new(plain_commit(&position, &stream, 100 * round..=100 * round + 99));
        let mut abandoned = Box::pin(sink.commit(&batch));
        poll_fn(|context| {
            let _ = abandoned.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
        drop(abandoned);
        assert_eq!(
            sink.commit(&batch).await,
            Ok(Committed { written: 100, ..Committed::default() })
        );
    }
    assert_eq!(store.read(&BATCHES).await.len(), 5);
    assert_eq!(store.read(&TRANSACTIONS).await.len(), 500);
}
