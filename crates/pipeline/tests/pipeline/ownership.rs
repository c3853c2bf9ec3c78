//! Who reads a partition, on the store in memory and tokio's clock.

use std::sync::Arc;
use std::time::Duration;

use tally_domain::transactions::Transactions;
use tally_pipeline::{Gate, Heartbeat, Ownership, own};
use tally_ports::{Begin, Claim, Finished, Position, Positions, Stop, StopKind, Stream};
use tally_testkit::build;
use tally_testkit::memory::MemoryStore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_hours(24);

struct Waiting {
    store: Arc<MemoryStore>,
    stream: Arc<Stream>,
    stop: CancellationToken,
}

impl Waiting {
    fn new() -> Self {
        Self {
            store: Arc::default(),
            stream: build::stream::<Transactions>("file/x"),
            stop: CancellationToken::new(),
        }
    }

    async fn claim(&self, owner: &str) -> Position {
        match self.store.claim(&self.stream, owner, LEASE, Begin::default()).await {
            Ok(Claim::Owned(position)) => position,
            other => panic!("{other:?}"),
        }
    }

    async fn own(&self, again: bool) -> Result<Ownership, Stop> {
        let gate = Gate::new("database", "commit", None, Arc::default());
        let begin = Begin { at: 0, again };
        own(&*self.store, &gate, &self.stream, "me", LEASE, begin, Some(&self.stop)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_renews_is_taken_over_when_it_ends() {
    let waiting = Waiting::new();
    let dead = waiting.claim("dead").await;
    let began = Instant::now();
    let Ok(Ownership::Owned(mine)) = waiting.own(false).await else { panic!("not owned") };
    assert!(
        began.elapsed() >= LEASE && began.elapsed() <= LEASE + LEASE / 5,
        "{:?}",
        began.elapsed()
    );
    assert!(mine.lease.epoch > dead.lease.epoch);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_alive_keeps_it() {
    let waiting = Waiting::new();
    let position = waiting.claim("alive").await;
    let _heartbeat = Heartbeat::start(Arc::clone(&waiting.store), position.lease);
    let began = Instant::now();
    let stop = waiting.own(false).await.unwrap_err();
    assert_eq!(stop.kind, StopKind::Taken);
    assert_eq!(stop.message, "file/x.csv is owned by alive, which is alive and renews its lease");
    assert!(began.elapsed() >= 2 * LEASE && began.elapsed() < 3 * LEASE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_longer_lease_than_ours_is_waited_for() {
    let waiting = Waiting::new();
    let claim = waiting.store.claim(&waiting.stream, "dead", 6 * LEASE, Begin::default()).await;
    assert!(matches!(claim, Ok(Claim::Owned(_))));
    let began = Instant::now();
    assert!(matches!(waiting.own(false).await, Ok(Ownership::Owned(_))));
    assert!(began.elapsed() >= 6 * LEASE, "{:?}", began.elapsed());
}

/// The first look at it comes when the clock is right again.
#[tokio::test(start_paused = true)]
async fn a_lease_of_a_clock_that_was_ahead_is_taken_over_after_its_length() {
    for length in [LEASE, 6 * LEASE] {
        let waiting = Waiting::new();
        let claim = waiting.store.claim(&waiting.stream, "dead", length, Begin::default()).await;
        assert!(matches!(claim, Ok(Claim::Owned(_))));
        waiting.store.turn_clock_back(DAY);
        let began = Instant::now();
        assert!(matches!(waiting.own(false).await, Ok(Ownership::Owned(_))));
        let took = began.elapsed();
        assert!(took >= length && took <= length + LEASE / 5, "{took:?} for {length:?}");
    }
}

/// The clock goes back again while the lease is waited for.
#[tokio::test(start_paused = true)]
async fn an_owner_is_alive_or_dead_whatever_the_clock_does() {
    for is_alive in [false, true] {
        let waiting = Waiting::new();
        let position = waiting.claim("other").await;
        let _heartbeat =
            is_alive.then(|| Heartbeat::start(Arc::clone(&waiting.store), position.lease));
        waiting.store.turn_clock_back(DAY);
        let store = Arc::clone(&waiting.store);
        tokio::spawn(async move {
            tokio::time::sleep(LEASE / 2).await;
            store.turn_clock_back(DAY);
        });
        let began = Instant::now();
        let owned = waiting.own(false).await;
        let took = began.elapsed();
        if is_alive {
            assert_eq!(owned.unwrap_err().kind, StopKind::Taken);
            assert!(took >= 2 * LEASE && took < 3 * LEASE, "{took:?}");
        } else {
            assert!(matches!(owned, Ok(Ownership::Owned(_))), "{owned:?}");
            // From when it was seen that the clock went back.
            assert!(took >= LEASE && took < 2 * LEASE, "{took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let waiting = Waiting::new();
    let position = waiting.claim("other").await;
    let store = Arc::clone(&waiting.store);
    tokio::spawn(async move {
        tokio::time::sleep(LEASE / 2).await;
        store.release(&position.lease).await.unwrap();
    });
    let began = Instant::now();
    assert!(matches!(waiting.own(false).await, Ok(Ownership::Owned(_))));
    assert!(began.elapsed() < LEASE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_finished_pass_is_not_begun_again_unless_asked() {
    let waiting = Waiting::new();
    let position = waiting.claim("other").await;
    waiting.store.finish(&position.lease, 0, build::TOLERANCE).await.unwrap();
    assert!(matches!(waiting.own(false).await, Ok(Ownership::Finished(Finished { read: 0, .. }))));
    let Ok(Ownership::Owned(again)) = waiting.own(true).await else { panic!("not owned") };
    assert_eq!((again.pass, again.next), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_a_stop_is_asked_for() {
    let waiting = Waiting::new();
    waiting.claim("other").await;
    waiting.stop.cancel();
    assert_eq!(waiting.own(false).await, Ok(Ownership::Interrupted));
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_claiming_is_waited_for() {
    let waiting = Waiting::new();
    waiting.store.fail_positions(3);
    assert!(matches!(waiting.own(false).await, Ok(Ownership::Owned(_))));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_survives_an_outage_and_finds_out_when_the_lease_is_lost() {
    let waiting = Waiting::new();
    let position = waiting.claim("me").await;
    let mut heartbeat = Heartbeat::start(Arc::clone(&waiting.store), position.lease);
    waiting.store.fail_positions(2);
    assert!(tokio::time::timeout(10 * LEASE, heartbeat.lost()).await.is_err());
    waiting.store.steal(&waiting.stream);
    assert_eq!(heartbeat.lost().await.kind, StopKind::Taken);
}
