//! Where passes begin.

use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, Positions};

use super::Store;
use super::claims::own;
use super::commits::commit;
use crate::build::{LONG, plain_commit, stream};

/// The start that is asked for is the first pass's only: neither a pass in progress nor another pass cares.
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
    sink.finish(&first.lease, 50).await.unwrap();
    let second = claim(40, true).await;
    assert_eq!((second.pass, second.next), (2, 0));
}
