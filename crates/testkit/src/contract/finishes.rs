//! The end of a pass.

use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, Lease, Positions};

use super::claims::{assert_taken, own};
use super::commits::commit;
use super::{POSITIONS, Store};
use crate::build::{AGAIN, LONG, plain_commit, stream};

/// A finished pass says when it was finished and how much it passed.
pub async fn a_finished_pass_is_not_claimed_again(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, plain_commit(&position, &stream, 0..=9)).await.unwrap();
    sink.finish(&position.lease, 10).await.unwrap();

    let other = store.open().await;
    let claim = other.claim(&stream, "b", LONG, Begin::default()).await.unwrap();
    let Claim::Finished { at, records } = claim else { panic!("{claim:?}") };
    assert_eq!(records, 10);
    let age = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).naive_utc() - at;
    assert!(age.abs() < chrono::TimeDelta::minutes(5), "ended at {at} in UTC");

    sink.finish(&position.lease, 10).await.unwrap();
    let again = other.claim(&stream, "b", LONG, Begin::default()).await.unwrap();
    assert_eq!(again, Claim::Finished { at, records }, "finishing again changes nothing");
    let [row] = store.read(&POSITIONS).await.try_into().unwrap();
    assert!(row.get("owner").is_none() && row.get("lease_until").is_none());
}

/// The next pass has a row, and so an origin, of its own; it is claimed like the first one.
pub async fn a_second_pass_starts_anew(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let first = own(&sink, &stream, "a", LONG).await;
    commit(&sink, plain_commit(&first, &stream, 0..=9)).await.unwrap();
    sink.finish(&first.lease, 10).await.unwrap();

    let claim = sink.claim(&stream, "a", LONG, AGAIN).await.unwrap();
    let Claim::Owned(second) = claim else { panic!("{claim:?}") };
    assert_eq!((second.pass, second.next), (2, 0));
    assert!(second.cursor.is_null() && second.stats.is_null(), "{second:?}");
    assert_ne!(second.lease.position, first.lease.position);
    commit(&sink, plain_commit(&second, &stream, 0..=3)).await.unwrap();

    let restarted = sink.claim(&stream, "a", LONG, AGAIN).await.unwrap();
    let Claim::Owned(restarted) = restarted else { panic!("{restarted:?}") };
    assert_eq!((restarted.pass, restarted.next), (2, 4), "the pass in progress goes on");
    assert_eq!(restarted.lease.position, second.lease.position);
    sink.finish(&restarted.lease, 4).await.unwrap();
    let claim = sink.claim(&stream, "a", LONG, Begin::default()).await.unwrap();
    assert!(matches!(claim, Claim::Finished { records: 4, .. }), "{claim:?}");
}

/// Only the owner finishes a pass, and only where it ends.
pub async fn finishing_is_fenced(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let earlier = own(&sink, &stream, "a", LONG).await;
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, plain_commit(&position, &stream, 0..=9)).await.unwrap();

    assert_taken(sink.finish(&earlier.lease, 10).await);
    assert_taken(sink.finish(&position.lease, 9).await);
    assert_taken(sink.finish(&Lease { position: 4_711, ..position.lease }, 10).await);
    let [row] = store.read(&POSITIONS).await.try_into().unwrap();
    assert!(row.get("ended_at").is_none() && row.get("owner") == Some("a"));
    sink.finish(&position.lease, 10).await.unwrap();
}
