//! The end of a pass.

use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, Finished, Lease, PositionAdmin, Positions, Tolerance};

use super::claims::{assert_taken, own};
use super::commits::commit;
use super::{BATCHES, POSITIONS, Store};
use crate::build::{AGAIN, LONG, TOLERANCE, act, mixed_commit, plain_commit, row, stream};

/// A finished pass says when it was finished and how much it passed.
pub async fn a_finished_pass_is_not_claimed_again(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, plain_commit(&position, &stream, 0..=9)).await.unwrap();
    sink.finish(&position.lease, 10, TOLERANCE).await.unwrap();

    let other = store.open().await;
    let claim = other.claim(&stream, "b", LONG, Begin::default()).await.unwrap();
    let Claim::Finished(Finished { at, read, dead_lettered, is_rejected }) = claim else {
        panic!("{claim:?}")
    };
    assert_eq!((read, dead_lettered, is_rejected), (10, 0, false));
    let age = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).naive_utc() - at;
    assert!(age.abs() < chrono::TimeDelta::minutes(5), "ended at {at} in UTC");

    sink.finish(&position.lease, 10, TOLERANCE).await.unwrap();
    let again = other.claim(&stream, "b", LONG, Begin::default()).await.unwrap();
    assert_eq!(again, claim, "finishing again changes nothing");
    let [row] = store.read(&POSITIONS).await.try_into().unwrap();
    assert!(row.get("owner").is_none() && row.get("lease_until").is_none());
}

/// The next pass has a row, and so an origin, of its own; it is claimed like the first one.
pub async fn a_second_pass_starts_anew(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let first = own(&sink, &stream, "a", LONG).await;
    commit(&sink, plain_commit(&first, &stream, 0..=9)).await.unwrap();
    sink.finish(&first.lease, 10, TOLERANCE).await.unwrap();

    let claim = sink.claim(&stream, "a", LONG, AGAIN).await.unwrap();
    let Claim::Owned(second) = claim else { panic!("{claim:?}") };
    assert_eq!((second.pass, second.next), (2, 0));
    assert!(second.cursor.is_null() && second.stats.is_null(), "{second:?}");
    assert_ne!(second.lease.position_id, first.lease.position_id);
    commit(&sink, plain_commit(&second, &stream, 0..=3)).await.unwrap();

    let restarted = sink.claim(&stream, "a", LONG, AGAIN).await.unwrap();
    let Claim::Owned(restarted) = restarted else { panic!("{restarted:?}") };
    assert_eq!((restarted.pass, restarted.next), (2, 4), "the pass in progress goes on");
    assert_eq!(restarted.lease.position_id, second.lease.position_id);
    sink.finish(&restarted.lease, 4, TOLERANCE).await.unwrap();
    let claim = sink.claim(&stream, "a", LONG, Begin::default()).await.unwrap();
    assert!(matches!(claim, Claim::Finished(Finished { read: 4, .. })), "{claim:?}");
}

/// Only the owner finishes a pass, and only where it ends.
pub async fn finishing_is_fenced(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let earlier = own(&sink, &stream, "a", LONG).await;
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, plain_commit(&position, &stream, 0..=9)).await.unwrap();

    assert_taken(sink.finish(&earlier.lease, 10, TOLERANCE).await);
    assert_taken(sink.finish(&position.lease, 9, TOLERANCE).await);
    assert_taken(sink.finish(&Lease { position_id: 4_711, ..position.lease }, 10, TOLERANCE).await);
    let [row] = store.read(&POSITIONS).await.try_into().unwrap();
    assert!(row.get("ended_at").is_none() && row.get("owner") == Some("a"));
    assert!(row.get("rejected_at").is_none());
    sink.finish(&position.lease, 10, TOLERANCE).await.unwrap();
}

/// More dead letters than the share that is allowed, from so many records on; another stream's do not count.
pub async fn a_pass_of_too_many_dead_letters_is_rejected(store: &impl Store) {
    let sink = store.open().await;
    let cases = [(19, 19, false), (20, 20, true), (20, 18, false), (20, 19, true), (0, 0, false)];
    for (number, (read, dead_lettered, is_rejected)) in cases.into_iter().enumerate() {
        let stream = stream::<Transactions>(&format!("file/{number}"));
        let position = own(&sink, &stream, "a", LONG).await;
        if read > 0 {
            let batch = mixed_commit(&position, &stream, 0..=read - 1, dead_lettered);
            commit(&sink, batch).await.unwrap();
        }
        let finished = sink.finish(&position.lease, read, TOLERANCE).await.unwrap().unwrap();
        let expected = Finished { at: finished.at, read, dead_lettered, is_rejected };
        assert_eq!(finished, expected);

        let other = store.open().await;
        let claim = other.claim(&stream, "b", LONG, Begin::default()).await.unwrap();
        assert_eq!(claim, Claim::Finished(finished));
        let row = store.read(&POSITIONS).await.pop().unwrap();
        assert_eq!(row.get("rejected_at"), row.get("ended_at").filter(|_| is_rejected));
        assert!(row.get("owner").is_none() && row.get("lease_until").is_none());
    }
}

/// What an earlier run of the same pass committed before it was killed counts, and what the database refused.
pub async fn a_pass_is_judged_whole(store: &impl Store) {
    let sink = store.open().await;
    store.refuse_amounts_above(5_000).await;
    let stream = stream::<Transactions>("file/1");
    let killed = own(&sink, &stream, "a", LONG).await;
    commit(&sink, mixed_commit(&killed, &stream, 0..=11, 12)).await.unwrap();
    let position = own(&sink, &stream, "a", LONG).await;
    let mut batch = mixed_commit(&position, &stream, 12..=19, 6);
    batch.rows = vec![row(18, 18, "9999.00"), row(19, 19, "-1.00")];
    commit(&sink, batch).await.unwrap();
    let finished = sink.finish(&position.lease, 20, TOLERANCE).await.unwrap().unwrap();
    assert_eq!((finished.read, finished.dead_lettered, finished.is_rejected), (20, 19, true));
}

/// A rejected pass is finished; the next one is judged by itself.
pub async fn a_rejected_pass_is_followed_by_another_when_asked(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let first = own(&sink, &stream, "a", LONG).await;
    commit(&sink, mixed_commit(&first, &stream, 0..=29, 30)).await.unwrap();
    let rejected = sink.finish(&first.lease, 30, TOLERANCE).await.unwrap().unwrap();
    assert!(rejected.is_rejected, "{rejected:?}");
    assert_taken(sink.renew(&first.lease).await);

    let claim = sink.claim(&stream, "a", LONG, AGAIN).await.unwrap();
    let Claim::Owned(second) = claim else { panic!("{claim:?}") };
    assert_eq!((second.pass, second.next), (2, 0));
    commit(&sink, mixed_commit(&second, &stream, 0..=29, 2)).await.unwrap();
    let finished = sink.finish(&second.lease, 30, TOLERANCE).await.unwrap().unwrap();
    assert_eq!((finished.read, finished.dead_lettered, finished.is_rejected), (30, 2, false));
    let claim = sink.claim(&stream, "a", LONG, Begin::default()).await.unwrap();
    assert_eq!(claim, Claim::Finished(finished), "the last pass counts");
    let passes = store.read(&POSITIONS).await;
    assert!(passes[0].get("rejected_at").is_some() && passes[1].get("rejected_at").is_none());
}

/// A repeated call, after a lost answer, has the same answer, whatever its tolerance.
pub async fn the_first_verdict_on_a_pass_stays(store: &impl Store) {
    let sink = store.open().await;
    let any = Tolerance { least: 20, ratio: 1.0 };
    for (number, (first, then)) in [(TOLERANCE, any), (any, TOLERANCE)].into_iter().enumerate() {
        let stream = stream::<Transactions>(&format!("file/{number}"));
        let position = own(&sink, &stream, "a", LONG).await;
        commit(&sink, mixed_commit(&position, &stream, 0..=19, 20)).await.unwrap();
        let finished = sink.finish(&position.lease, 20, first).await.unwrap().unwrap();
        assert_eq!(finished.is_rejected, number == 0);
        assert_eq!(sink.finish(&position.lease, 20, then).await, Ok(Some(finished)));
    }
}

/// A skipped range holds no records.
pub async fn a_range_that_was_set_does_not_count(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    sink.set(&stream, 100.into(), Some(&position.lease), &act("nobody needs them")).await.unwrap();
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, mixed_commit(&position, &stream, 100..=119, 19)).await.unwrap();
    assert_eq!(store.read(&BATCHES).await.len(), 2);
    let finished = sink.finish(&position.lease, 120, TOLERANCE).await.unwrap().unwrap();
    assert_eq!((finished.read, finished.dead_lettered, finished.is_rejected), (20, 19, true));
}
