//! Workers that share partitions, on the store in memory and tokio's paused clock: a `sleep` lets the workers do all that
//! is due until then and takes no real time.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tally_pipeline::{Ended, fair_share};
use tally_ports::{StopKind, Workers};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use self::support::{LEASE, Stage, stop, stream, worker};

#[test]
fn a_share_is_rounded_up() {
    for (partitions, live_workers, share) in
        [(6, 1, 6), (6, 2, 3), (6, 4, 2), (6, 6, 1), (6, 7, 1), (0, 3, 0)]
    {
        assert_eq!(
            fair_share(partitions, live_workers),
            share,
            "{partitions} among {live_workers}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn shares_even_out_as_workers_come_and_go() {
    let stage = Stage::new();
    let a = stage.start("a", stage.fake(6));
    stage.until_shares(&[("a", 6)]).await;
    let b = stage.start("b", stage.fake(6));
    stage.until_shares(&[("a", 3), ("b", 3)]).await;
    let c = stage.start("c", stage.fake(6));
    stage.until_shares(&[("a", 2), ("b", 2), ("c", 2)]).await;

    assert_eq!(b.end().await, Ok(Ended::Interrupted));
    let began = Instant::now();
    stage.until_shares(&[("a", 3), ("c", 3)]).await;
    assert!(began.elapsed() <= Duration::from_secs(3), "at once: {:?}", began.elapsed());

    // While nobody comes or goes, nothing moves.
    let works =
        || a.partitions.begun.load(Ordering::SeqCst) + c.partitions.begun.load(Ordering::SeqCst);
    let before = works();
    sleep(20 * LEASE).await; // paused clock: many rounds of both workers
    assert_eq!(works(), before);
    assert_eq!(stage.shares().len(), 2);
    a.end().await.unwrap();
    c.end().await.unwrap();
    assert!(stage.shares().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_never_read_begins_where_it_should() {
    let stage = Stage::new();
    let a = stage.start("a", stage.fake(1));
    stage.until_shares(&[("a", 1)]).await;
    let partition_state = stage.partition_state(0).await.unwrap();
    assert_eq!((partition_state.pass, partition_state.next), (1, 7));
    a.partitions.count.store(2, Ordering::SeqCst);
    stage.until_shares(&[("a", 2)]).await;
    assert_eq!(
        stage.partition_state(1).await.unwrap().next,
        3,
        "added later: from its first position on"
    );
    a.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_live_lease_is_not_taken_and_a_dead_one_is() {
    let stage = Stage::new();
    stage.claim(0, "killed").await;
    let began = Instant::now();
    let a = stage.start("a", stage.fake(2));
    stage.until_shares(&[("a", 1)]).await;
    stage.until_shares(&[("a", 2)]).await;
    assert!(began.elapsed() >= LEASE, "{:?}", began.elapsed());
    assert!(began.elapsed() <= LEASE + Duration::from_millis(1100), "{:?}", began.elapsed());
    a.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn partitions_that_are_added_are_picked_up() {
    let stage = Stage::new();
    let a = stage.start("a", stage.fake(1));
    stage.until_shares(&[("a", 1)]).await;
    a.partitions.count.store(3, Ordering::SeqCst);
    stage.until_shares(&[("a", 3)]).await;
    a.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_blocked_partition_stays_held_and_the_others_go_on() {
    let stage = Stage::new();
    let fake = stage.fake(2);
    fake.outcomes.lock().unwrap().insert(0, Err(stop(StopKind::Blocked)));
    let a = stage.start("a", fake);
    stage.until_shares(&[("a", 1)]).await;
    sleep(5 * LEASE).await; // paused clock: time for any retry
    let snapshot = a.status.snapshot();
    assert!(!snapshot.is_ready());
    assert_eq!(snapshot.blocked.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([0]));
    assert_eq!(stage.owner(0).await.as_deref(), Some("a"));
    assert_eq!(a.partitions.begun.load(Ordering::SeqCst), 2, "it is not tried again and again");
    let status = Arc::clone(&a.status);
    assert_eq!(a.end().await, Ok(Ended::Interrupted));
    assert!(status.snapshot().blocked.is_empty());
    assert_eq!(stage.owner(0).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_run_with_an_end_says_what_was_blocked_once_the_others_are_there() {
    let stage = Stage::new();
    let fake = stage.fake(2);
    fake.outcomes.lock().unwrap().insert(0, Err(stop(StopKind::Blocked)));
    fake.outcomes.lock().unwrap().insert(1, Ok(Ended::AtEnd { next: 7 }));
    *fake.ends.lock().unwrap() = Some(BTreeMap::from([(0, 100), (1, 7)]));
    let a = stage.start("a", fake);
    assert_eq!(a.run.await.unwrap(), Err(stop(StopKind::Blocked)));
}

#[tokio::test(start_paused = true)]
async fn a_run_with_an_end_waits_for_what_others_hold() {
    let stage = Stage::new();
    let finish = Arc::new(Notify::new());
    let mut others = stage.fake(1);
    others.finish = Some((Arc::clone(&finish), Arc::clone(&stage.store)));
    let other = stage.start("other", others);
    stage.until_shares(&[("other", 1)]).await;
    let fake = stage.fake(1);
    *fake.ends.lock().unwrap() = Some(BTreeMap::from([(0, 100)]));
    let a = stage.start("a", fake);
    sleep(10 * LEASE).await;
    assert!(!a.run.is_finished());
    finish.notify_one();
    assert_eq!(a.run.await.unwrap(), Ok(Ended::AtEnd { next: 100 }));
    finish.notify_one();
    other.end().await.unwrap();
}

/// Else the others would leave to it what it will never read.
#[tokio::test(start_paused = true)]
async fn a_run_with_an_end_and_nothing_left_to_get_does_not_count() {
    let stage = Stage::new();
    let other = stage.start("other", stage.fake(2));
    stage.until_shares(&[("other", 2)]).await;
    let finish = Arc::new(Notify::new());
    let mut fake = stage.fake(2);
    fake.finish = Some((Arc::clone(&finish), Arc::clone(&stage.store)));
    *fake.ends.lock().unwrap() = Some(BTreeMap::from([(0, 100), (1, 100)]));
    let a = stage.start("a", fake);
    stage.until_shares(&[("a", 1), ("other", 1)]).await;
    finish.notify_one();
    stage.until_shares(&[("other", 2)]).await;
    sleep(5 * LEASE).await;
    assert!(!a.run.is_finished());
    other.end().await.unwrap();
    stage.until_shares(&[("a", 1)]).await; // what nobody brings to its end any more
    finish.notify_one();
    assert_eq!(a.run.await.unwrap(), Ok(Ended::AtEnd { next: 100 }));
}

/// A worker that holds leases but has not said for a while that it lives will give some of them up once it does.
#[tokio::test(start_paused = true)]
async fn a_run_with_an_end_waits_for_its_share_of_a_worker_that_is_late() {
    let stage = Stage::new();
    let late = stage.start("late", stage.fake(2));
    stage.until_shares(&[("late", 2)]).await;
    let fake = stage.fake(2);
    *fake.ends.lock().unwrap() = Some(BTreeMap::from([(0, 100), (1, 100)]));
    stage.store.leave(&worker("late")).await.unwrap();
    let a = stage.start("a", fake);
    stage.until_shares(&[("a", 1), ("late", 1)]).await;
    late.end().await.unwrap();
    assert_eq!(a.end().await.unwrap(), Ended::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn another_stop_ends_the_run_and_all_is_given_back() {
    let stage = Stage::new();
    let fake = stage.fake(3);
    fake.outcomes.lock().unwrap().insert(1, Err(stop(StopKind::Data)));
    let a = stage.start("a", fake);
    assert_eq!(a.run.await.unwrap(), Err(stop(StopKind::Data)));
    assert!(stage.shares().is_empty());
    for partition in 0..3 {
        assert_eq!(stage.owner(partition).await, None, "{partition}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_let_go_and_the_others_are_kept() {
    let stage = Stage::new();
    let a = stage.start("a", stage.fake(2));
    stage.until_shares(&[("a", 2)]).await;
    stage.store.steal(&stream(0));
    stage.until_shares(&[("a", 1)]).await;
    assert_eq!(stage.owner(0).await.as_deref(), Some("thief"));
    a.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_for_one_process_turns_the_second_away() {
    let stage = Stage::new();
    stage.store.serve_one_worker();
    let a = stage.start("a", stage.fake(2));
    stage.until_shares(&[("a", 2)]).await;
    let began = Instant::now();
    let refused = stage.start("b", stage.fake(2)).run.await.unwrap().unwrap_err();
    assert_eq!(refused.kind, StopKind::Taken);
    assert!(began.elapsed() >= 2 * LEASE && began.elapsed() < 4 * LEASE, "{:?}", began.elapsed());
    a.end().await.unwrap();
    let b = stage.start("b", stage.fake(2));
    stage.until_shares(&[("b", 2)]).await;
    b.end().await.unwrap();
}

/// One that works on all partitions is killed while the clock is a day ahead.
#[tokio::test(start_paused = true)]
async fn who_was_killed_while_the_clock_was_ahead_is_succeeded_after_a_lease() {
    for serves_one in [false, true] {
        let stage = Stage::new();
        if serves_one {
            stage.store.serve_one_worker();
        }
        let killed = stage.start("killed", stage.fake(2));
        stage.until_shares(&[("killed", 2)]).await;
        killed.run.abort();
        stage.until_shares(&[]).await;
        stage.store.turn_clock_back(Duration::from_hours(24));
        let (began, next) = (Instant::now(), stage.start("next", stage.fake(2)));
        stage.until_shares(&[("next", 2)]).await;
        // Where one is served, it is waited for first and its leases after that.
        let leases = if serves_one { 2 } else { 1 };
        let (took, longest) = (began.elapsed(), leases * LEASE + Duration::from_secs(2));
        assert!(took >= LEASE && took <= longest, "{took:?}");
        next.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_for_one_process_notices_a_worker_that_lives_whatever_the_clock_does() {
    let stage = Stage::new();
    stage.store.serve_one_worker();
    let a = stage.start("a", stage.fake(2));
    stage.until_shares(&[("a", 2)]).await;
    let b = stage.start("b", stage.fake(2));
    stage.store.turn_clock_back(Duration::from_hours(24));
    sleep(LEASE).await;
    stage.store.turn_clock_back(Duration::from_hours(24));
    let began = Instant::now();
    assert_eq!(b.run.await.unwrap().unwrap_err().kind, StopKind::Taken);
    assert!(began.elapsed() < 3 * LEASE, "{:?}", began.elapsed());
    a.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_while_the_database_is_away() {
    let stage = Stage::new();
    stage.store.fail_workers(usize::MAX);
    let a = stage.start("a", stage.fake(2));
    sleep(LEASE).await;
    let began = Instant::now();
    assert_eq!(a.end().await, Ok(Ended::Interrupted));
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
}
