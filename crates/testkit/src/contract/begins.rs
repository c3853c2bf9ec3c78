//! Where passes begin.

use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, PositionAdmin, Positions, Workers};

use super::Store;
use super::claims::own;
use super::commits::commit;
use crate::build::{LONG, TOLERANCE, plain_commit, stream, worker};
use crate::visits::Visits;

/// The requested start applies to the first pass only, neither to a pass in progress nor to another pass.
pub async fn a_first_claim_begins_where_it_is_told(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("group/topic");
    let claim = async |at, again| match sink.claim(&stream, "a", LONG, Begin { at, again }).await {
        Ok(Claim::Owned(position)) => position,
        other => panic!("{other:?}"),
    };
    let first = claim(40, false).await;
    assert_eq!((first.pass, first.next), (1, 40));
    assert!(first.cursor.is_null() && first.stats.is_null(), "{first:?}");
    assert_eq!(claim(99, false).await.next, 40);
    let first = claim(0, true).await;
    assert_eq!(first.next, 40);
    commit(&sink, plain_commit(&first, &stream, 40..=49)).await.unwrap();
    assert_eq!(own(&sink, &stream, "a", LONG).await.next, 50);

    let first = claim(40, true).await;
    sink.finish(&first.lease, 50, TOLERANCE).await.unwrap();
    let second = claim(40, true).await;
    assert_eq!((second.pass, second.next), (2, 0));
}

/// All partitions at once, without owners; a stream with a position in any partition is left as it is.
pub async fn only_a_new_stream_is_begun(store: &impl Store) {
    let sink = store.open().await;
    let ann = worker::<Transactions>("ann", "group/topic");
    own(&sink, &stream::<Transactions>("group/other"), "a", LONG).await;
    own(&sink, &stream::<Visits>("group/topic"), "a", LONG).await;
    sink.begin(&ann, "topic", &[(0, 40), (1, 0), (2, 7)]).await.unwrap();
    sink.begin(&ann, "topic", &[(0, 50), (1, 50), (3, 50)]).await.unwrap();
    assert_eq!(begun(&sink).await, [(0, 1, 40), (1, 1, 0), (2, 1, 7)]);

    let first = own(&sink, &stream::<Transactions>("group/topic"), "a", LONG).await;
    assert_eq!((first.pass, first.next), (1, 40));
    assert!(first.cursor.is_null() && first.stats.is_null(), "{first:?}");
}

/// Each partition has one row, and all of them begin where the same one of the two calls said.
pub async fn of_two_beginnings_at_once_one_row_is_left(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let [ann, bob] = ["ann", "bob"].map(|id| worker::<Transactions>(id, "group/topic"));
    let (forward, backward) = ([(0, 40), (1, 40), (2, 40)], [(2, 50), (1, 50), (0, 50)]);
    let both =
        tokio::join!(ours.begin(&ann, "topic", &forward), theirs.begin(&bob, "topic", &backward));
    assert_eq!(both, (Ok(()), Ok(())));
    let found = begun(&ours).await;
    let all_at = |next| [(0, 1, next), (1, 1, next), (2, 1, next)];
    assert!(found == all_at(40) || found == all_at(50), "{found:?}");
}

/// Partition, pass and next position; none has an owner.
async fn begun(sink: &impl PositionAdmin) -> Vec<(i32, i32, i64)> {
    let partition_states = sink.partition_states("transactions", "group/topic").await.unwrap();
    assert!(partition_states.iter().all(|state| state.owner.is_none()), "{partition_states:?}");
    partition_states.into_iter().map(|state| (state.partition, state.pass, state.next)).collect()
}
