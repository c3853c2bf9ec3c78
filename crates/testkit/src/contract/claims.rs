//! Ownership of a partition.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, Fault, Lease, Position, Positions, Sink, StopKind, Stream};

use super::{POSITIONS, Store};
use crate::build::{AGAIN, LONG, TOLERANCE, plain_commit, stream};
use crate::eventually;

const SHORT: Duration = Duration::from_millis(50);
/// Ends while a test waits, but not at once.
const LESS: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// A claim that must succeed.
pub(super) async fn own<P: Positions>(
    positions: &P,
    stream: &Stream,
    owner: &str,
    lease: Duration,
) -> Position {
    match positions.claim(stream, owner, lease, Begin::default()).await.unwrap() {
        Claim::Owned(position) => position,
        other => panic!("{owner} was answered {other:?}"),
    }
}

/// Claims for `owner` until another owner's lease has expired.
pub(super) async fn take_over<P: Positions>(
    positions: &P,
    stream: &Stream,
    owner: &str,
) -> Position {
    let taken = OnceLock::new();
    eventually(PATIENCE, || async {
        if let Claim::Owned(position) =
            positions.claim(stream, owner, LONG, Begin::default()).await.unwrap()
        {
            taken.set(position).expect("the first");
        }
        taken.get().is_some()
    })
    .await;
    taken.into_inner().expect("eventually returned")
}

#[track_caller]
pub(super) fn assert_taken<T: std::fmt::Debug>(result: Result<T, Fault>) {
    match result {
        Err(Fault::Stop(stop)) if stop.kind == StopKind::Taken => {}
        other => panic!("expected a stop of the kind taken, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_setting<T: std::fmt::Debug>(result: Result<T, Fault>) {
    match result {
        Err(Fault::Stop(stop)) if stop.kind == StopKind::Setting => {}
        other => panic!("expected a stop of the kind setting, got {other:?}"),
    }
}

fn held_by(claim: &Claim) -> &str {
    match claim {
        Claim::Held { owner, .. } => owner,
        other => panic!("expected a live lease, got {other:?}"),
    }
}

/// The first claim of a stream makes pass 1 at position 0.
pub async fn a_first_claim_starts_at_zero(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;

    assert_eq!((position.pass, position.next, position.lease.duration), (1, 0, LONG));
    assert!(position.cursor.is_null() && position.stats.is_null(), "{position:?}");
    let [row] = store.read(&POSITIONS).await.try_into().unwrap();
    assert_eq!(row.number("id"), position.lease.position_id);
    assert_eq!(row.number("epoch"), position.lease.epoch);
    assert_eq!((&row["flow"], &row["stream"], &row["partition"]), ("transactions", "file/1", "0"));
    assert_eq!(
        (&row["pass"], &row["label"], &row["next"], &row["owner"]),
        ("1", "file/1.csv", "0", "a")
    );
    assert!(
        row.get("lease_until").is_some()
            && row.get("updated_at").is_some()
            && row.get("ended_at").is_none()
    );
}

/// No kind of claim takes a live lease; another stream or partition has its own.
pub async fn a_live_lease_of_somebody_else_is_not_taken(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let position = own(&ours, &stream, "a", LONG).await;

    for again in [false, true] {
        let claim = theirs.claim(&stream, "b", SHORT, Begin { at: 0, again }).await.unwrap();
        let Claim::Held { owner, remaining, .. } = claim else { panic!("{claim:?}") };
        assert_eq!(owner, "a");
        assert!(remaining > LONG / 2 && remaining <= LONG, "{remaining:?}");
    }
    ours.renew(&position.lease).await.unwrap();

    let partition = Stream { partition: 1, ..(*stream).clone() };
    let name = Stream { name: "file/2".into(), ..(*stream).clone() };
    let flow = Stream { flow: "visits".to_owned(), ..(*stream).clone() };
    for other in [partition, name, flow] {
        assert_ne!(
            own(&theirs, &other, "b", LONG).await.lease.position_id,
            position.lease.position_id
        );
    }
}

/// A lease that nobody renewed is taken over, and then lost.
pub async fn an_expired_lease_is_taken_over(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let lost = own(&ours, &stream, "a", SHORT).await;
    let taken = take_over(&theirs, &stream, "b").await;

    assert_eq!(taken.lease.position_id, lost.lease.position_id);
    assert!(taken.lease.epoch > lost.lease.epoch);
    assert_eq!(held_by(&ours.claim(&stream, "a", SHORT, Begin::default()).await.unwrap()), "b");
}

/// Also a claim by the current owner: a restart.
pub async fn every_claim_raises_the_epoch(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let first = own(&sink, &stream, "a", LONG).await;
    let second = own(&sink, &stream, "a", LONG).await;
    let third = own(&store.open().await, &stream, "a", LONG).await;

    assert_eq!([second.lease.position_id, third.lease.position_id], [first.lease.position_id; 2]);
    assert!(second.lease.epoch > first.lease.epoch && third.lease.epoch > second.lease.epoch);
    assert_taken(sink.renew(&first.lease).await);
    assert_taken(sink.renew(&second.lease).await);
    sink.renew(&third.lease).await.unwrap();
}

/// Renewing extends the lease, and others can see it.
pub async fn a_renewed_lease_lives_on(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let lease = own(&ours, &stream, "a", LONG / 4).await.lease;
    let look = || async {
        match theirs.claim(&stream, "b", LONG, Begin::default()).await.unwrap() {
            Claim::Held { remaining, renewal, .. } => (remaining, renewal),
            other => panic!("{other:?}"),
        }
    };

    let (before, first_renewal) = look().await;
    assert!(before <= LONG / 4, "{before:?}");
    assert_eq!(look().await.1, first_renewal, "nobody renewed");
    let longer = Lease { duration: LONG, ..lease };
    eventually(PATIENCE, || async {
        ours.renew(&longer).await.unwrap();
        let (remaining, renewal) = look().await;
        assert!(remaining > LONG / 2, "{remaining:?}");
        renewal > first_renewal
    })
    .await;
}

/// The lease of an owner that was killed while the clock was a day ahead ends after its duration, neither later, however
/// often it is looked at, nor earlier.
pub async fn a_lease_of_a_clock_that_was_ahead_ends_after_its_length(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let (short, long) = (stream::<Transactions>("file/1"), stream::<Transactions>("file/2"));
    let lost = own(&ours, &short, "a", LESS).await;
    own(&ours, &long, "a", LONG).await;
    store.turn_clock_back_a_day().await;

    let look =
        async |stream| match theirs.claim(stream, "b", SHORT, Begin::default()).await.unwrap() {
            Claim::Held { owner, remaining, renewal } => {
                assert_eq!(owner, "a");
                (remaining, renewal)
            }
            other => panic!("{other:?}"),
        };
    let (remaining, _) = look(&short).await;
    assert!(remaining > LESS / 2 && remaining <= LESS, "{remaining:?}");
    let (first, renewal) = look(&long).await;
    assert!(first > LONG / 2 && first <= LONG, "{first:?}");
    let taken = take_over(&theirs, &short, "b").await;
    assert_eq!(taken.lease.position_id, lost.lease.position_id);
    assert!(taken.lease.epoch > lost.lease.epoch);
    let (then, same) = look(&long).await;
    assert!(then < first && same == renewal, "it goes on ending: {first:?}, then {then:?}");
}

/// An owner that is alive stays the owner.
pub async fn a_lease_of_a_clock_that_was_ahead_can_be_renewed(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let position = own(&ours, &stream, "a", LONG).await;
    store.turn_clock_back_a_day().await;
    let look = async || match theirs.claim(&stream, "b", LONG, Begin::default()).await.unwrap() {
        Claim::Held { remaining, renewal, .. } => (remaining, renewal),
        other => panic!("{other:?}"),
    };
    let (_, first_renewal) = look().await;
    eventually(PATIENCE, async || {
        ours.renew(&position.lease).await.unwrap();
        look().await.1 > first_renewal
    })
    .await;

    store.turn_clock_back_a_day().await;
    ours.renew(&position.lease).await.unwrap();
    let (remaining, _) = look().await;
    assert!(remaining > LONG / 2 && remaining <= LONG, "{remaining:?}");
    store.turn_clock_back_a_day().await;
    ours.commit(&Arc::new(plain_commit(&position, &stream, 0..=4))).await.unwrap();
    let (remaining, _) = look().await;
    assert!(remaining > LONG / 2 && remaining <= LONG, "{remaining:?}");
}

/// A released lease is free at once; releasing again is no fault.
pub async fn a_released_lease_is_free_at_once(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let lease = own(&ours, &stream, "a", LONG).await.lease;
    ours.release(&lease).await.unwrap();
    ours.release(&lease).await.unwrap();

    let [row] = store.read(&POSITIONS).await.try_into().unwrap();
    assert!(
        row.get("owner").is_none()
            && row.get("lease_until").is_none()
            && row.get("ended_at").is_none()
    );
    assert!(own(&theirs, &stream, "b", LONG).await.lease.epoch > lease.epoch);
}

/// A replaced owner notices it, and cannot disturb its successor.
pub async fn a_lost_lease_can_be_neither_renewed_nor_released(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let stream = stream::<Transactions>("file/1");
    let lost = own(&ours, &stream, "a", SHORT).await.lease;
    take_over(&theirs, &stream, "b").await;

    assert_taken(ours.renew(&lost).await);
    ours.release(&lost).await.unwrap();
    assert_eq!(held_by(&ours.claim(&stream, "c", LONG, Begin::default()).await.unwrap()), "b");
    let nowhere = Lease { position_id: 4_711, ..lost };
    assert_taken(ours.renew(&nowhere).await);
    ours.release(&nowhere).await.unwrap();
}

/// Claims race for a new stream, for a released one and for the next pass of a finished one.
pub async fn of_many_claims_at_once_one_wins(store: &impl Store) {
    let sinks = [store.open().await, store.open().await, store.open().await, store.open().await];
    let stream = stream::<Transactions>("file/1");
    for round in 0..6 {
        let claims =
            sinks.iter().enumerate().map(|(owner, sink)| {
                let stream = &stream;
                async move {
                    sink.claim(stream, &format!("{round}-{owner}"), LONG, AGAIN).await.unwrap()
                }
            });
        let claims = join_all(claims).await;
        let owned: Vec<_> = claims
            .iter()
            .filter_map(|claim| match claim {
                Claim::Owned(position) => Some(position),
                _ => None,
            })
            .collect();
        let [winner] = owned[..] else { panic!("{claims:?}") };
        assert_eq!(winner.pass, 1 + round / 2);
        assert_eq!(
            claims.iter().filter(|claim| matches!(claim, Claim::Held { .. })).count(),
            3,
            "{claims:?}"
        );
        match round % 2 {
            0 => sinks[0].release(&winner.lease).await.unwrap(),
            _ => drop(sinks[0].finish(&winner.lease, 0, TOLERANCE).await.unwrap()),
        }
    }
}

/// A claim answers with what the last commit left.
pub async fn a_claim_goes_on_where_the_last_commit_ended(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let mut batch = plain_commit(&position, &stream, 0..=4);
    batch.stats = serde_json::json!({ "seen": 5 });
    sink.commit(&Arc::new(batch)).await.unwrap();

    let next = own(&store.open().await, &stream, "a", LONG).await;
    assert_eq!((next.pass, next.next), (1, 5));
    assert_eq!(
        (next.cursor, next.stats),
        (serde_json::json!({ "byte": 500 }), serde_json::json!({ "seen": 5 }))
    );
}
