//! The workers of a stream.

use std::time::Duration;

use tally_domain::transactions::Transactions;
use tally_ports::{
    Begin, Claim, Join, Membership, PartitionState, PositionAdmin, Positions, Stream, Worker,
    Workers,
};

use super::claims::own;
use super::commits::commit;
use super::{Store, WORKERS};
use crate::build::{AGAIN, LONG, TOLERANCE, plain_commit, stream, worker};
use crate::eventually;
use crate::visits::Visits;

const SHORT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "group/topic";

/// A join that must succeed.
async fn join_stream(workers: &impl Workers, worker: &Worker, lease: Duration) -> Membership {
    match workers.join_stream(worker, lease).await.unwrap() {
        Join::Joined(membership) => membership,
        full @ Join::Full { .. } => panic!("{} was answered {full:?}", worker.id),
    }
}

async fn ids(store: &impl Store) -> Vec<String> {
    store.read(&WORKERS).await.iter().map(|row| row["id"].to_owned()).collect()
}

/// Its row says who it is; joining again renews its lease, and leaving twice is no fault.
pub async fn a_worker_that_joins_is_noted_until_it_leaves(store: &impl Store) {
    let workers = store.open().await;
    let ann = worker::<Transactions>("ann", NAME);
    let membership = join_stream(&workers, &ann, LONG).await;
    assert_eq!(membership, Membership { live_workers: 1, partitions: Vec::new() });
    let [row] = store.read(&WORKERS).await.try_into().unwrap();
    assert_eq!((&row["id"], &row["flow"], &row["stream"]), ("ann", "transactions", NAME));
    assert_eq!((&row["host"], &row["pid"]), ("here", "4711"));

    let seen_until = row["seen_until"].to_owned();
    assert_eq!(join_stream(&workers, &ann, 2 * LONG).await.live_workers, 1);
    let [row] = store.read(&WORKERS).await.try_into().unwrap();
    assert!(row["seen_until"] > *seen_until, "{row:?}");

    workers.leave(&ann).await.unwrap();
    assert_eq!(store.read(&WORKERS).await, []);
    workers.leave(&ann).await.unwrap();
}

/// Workers of other flows and streams are not counted.
pub async fn workers_of_other_streams_do_not_count(store: &impl Store) {
    let workers = store.open().await;
    let three = [
        worker::<Transactions>("ann", NAME),
        worker::<Transactions>("bob", "group/other"),
        worker::<Visits>("cem", NAME),
    ];
    for worker in three.iter().chain(&three) {
        assert_eq!(join_stream(&workers, worker, LONG).await.live_workers, 1, "{}", worker.id);
    }
    workers.leave(&three[0]).await.unwrap();
    assert_eq!(ids(store).await, ["bob", "cem"]);
}

/// Of each partition of its stream the last pass, and who owns it if it is owned.
pub async fn a_worker_that_joins_is_told_where_partitions_stand(store: &impl Store) {
    let sink = store.open().await;
    let ann = worker::<Transactions>("ann", NAME);
    let partition =
        |number| Stream { partition: number, ..(*stream::<Transactions>(NAME)).clone() };
    let two = partition(2);
    let position = own(&sink, &two, "ann", LONG).await;
    commit(&sink, plain_commit(&position, &two.into(), 0..=9)).await.unwrap();
    let ended = own(&sink, &partition(0), "bob", LONG).await;
    sink.finish(&ended.lease, 0, TOLERANCE).await.unwrap();
    sink.claim(&partition(0), "bob", LONG, AGAIN).await.unwrap();
    let released = own(&sink, &partition(1), "ann", LONG).await;
    sink.release(&released.lease).await.unwrap();
    own(&sink, &partition(3), "dead", SHORT).await;
    own(&sink, &stream::<Transactions>("group/other"), "ann", LONG).await;
    own(&sink, &stream::<Visits>(NAME), "ann", LONG).await;

    eventually(PATIENCE, || async {
        let membership = join_stream(&sink, &ann, LONG).await;
        assert_eq!(membership.live_workers, 1, "owning is not joining");
        let describe = |state: &PartitionState| {
            let PartitionState { partition, pass, next, owner, .. } = state;
            (*partition, *pass, *next, owner.as_deref().unwrap_or("-").to_owned())
        };
        let partition_states: Vec<_> = membership.partitions.iter().map(describe).collect();
        let expected = |last_owner: &str| {
            [(0, 2, 0, "bob"), (1, 1, 0, "-"), (2, 1, 10, "ann"), (3, 1, 0, last_owner)]
                .map(|(partition, pass, next, owner)| (partition, pass, next, owner.to_owned()))
        };
        let is_expired = partition_states == expected("-");
        assert!(is_expired || partition_states == expected("dead"), "{partition_states:?}");
        is_expired
    })
    .await;
}

/// A lease that was renewed while the clock was a day ahead counts as free for joining workers: a claim finds out whether
/// it is alive.
pub async fn a_worker_that_joins_claims_what_a_clock_that_was_ahead_holds(store: &impl Store) {
    let sink = store.open().await;
    let (ann, stream) = (worker::<Transactions>("ann", NAME), stream::<Transactions>(NAME));
    own(&sink, &stream, "dead", LONG).await;
    let owner = async || {
        let [attended] = join_stream(&sink, &ann, LONG).await.partitions.try_into().unwrap();
        let [looked] =
            sink.partition_states("transactions", NAME).await.unwrap().try_into().unwrap();
        assert_eq!(attended, looked);
        let PartitionState { owner, .. } = attended;
        owner
    };
    assert_eq!(owner().await.as_deref(), Some("dead"));
    store.turn_clock_back_a_day().await;
    assert_eq!(owner().await, None);
    let claim = sink.claim(&stream, "ann", LONG, Begin::default()).await.unwrap();
    assert!(matches!(claim, Claim::Held { .. }), "{claim:?}");
    assert_eq!(owner().await.as_deref(), Some("dead"));
}

/// Each worker counts all live workers, and none twice.
pub async fn workers_count_each_other(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let (ann, bob) = (worker::<Transactions>("ann", NAME), worker::<Transactions>("bob", NAME));
    assert_eq!(join_stream(&ours, &ann, LONG).await.live_workers, 1);
    assert_eq!(join_stream(&theirs, &bob, LONG).await.live_workers, 2);
    for _ in 0..3 {
        let memberships =
            tokio::join!(join_stream(&ours, &ann, LONG), join_stream(&theirs, &bob, LONG));
        assert_eq!((memberships.0.live_workers, memberships.1.live_workers), (2, 2));
    }
    theirs.leave(&bob).await.unwrap();
    assert_eq!(join_stream(&ours, &ann, LONG).await.live_workers, 1);
}

/// A worker that stops renewing is dead when its lease is over.
pub async fn a_dead_worker_no_longer_counts(store: &impl Store) {
    let workers = store.open().await;
    let (ann, bob) = (worker::<Transactions>("ann", NAME), worker::<Transactions>("bob", NAME));
    join_stream(&workers, &bob, LONG).await;
    assert_eq!(join_stream(&workers, &ann, LONG).await.live_workers, 2);
    join_stream(&workers, &bob, SHORT).await;
    eventually(PATIENCE, async || join_stream(&workers, &ann, LONG).await.live_workers == 1).await;
    assert_eq!(join_stream(&workers, &bob, LONG).await.live_workers, 2);
}

/// A worker that was killed while the clock was a day ahead counts for its lease and no longer; a live one still counts.
pub async fn a_worker_of_a_clock_that_was_ahead_no_longer_counts(store: &impl Store) {
    let workers = store.open().await;
    let [ann, bob, cem] = ["ann", "bob", "cem"].map(|id| worker::<Transactions>(id, NAME));
    join_stream(&workers, &bob, Duration::from_secs(1)).await;
    join_stream(&workers, &cem, LONG).await;
    store.turn_clock_back_a_day().await;
    assert_eq!(join_stream(&workers, &ann, LONG).await.live_workers, 3);
    eventually(PATIENCE, async || join_stream(&workers, &ann, LONG).await.live_workers == 2).await;
    assert_eq!(join_stream(&workers, &cem, SHORT).await.live_workers, 2);
    eventually(PATIENCE, async || join_stream(&workers, &ann, LONG).await.live_workers == 1).await;
}

/// It is told which worker is there and whether that one renews, and is not registered.
pub async fn a_second_worker_is_kept_out(store: &impl Store) {
    let (ours, theirs) = (store.open().await, store.open().await);
    let (ann, bob) = (worker::<Transactions>("ann", NAME), worker::<Transactions>("bob", NAME));
    join_stream(&ours, &ann, LONG).await;
    let look = async || match theirs.join_stream(&bob, LONG).await.unwrap() {
        Join::Full { worker, remaining, renewal } => {
            assert_eq!(worker, "ann");
            assert!(remaining > LONG / 2 && remaining <= LONG, "{remaining:?}");
            renewal
        }
        present @ Join::Joined(_) => panic!("{present:?}"),
    };
    let first = look().await;
    assert_eq!(look().await, first, "nobody said that it lives");
    assert_eq!(ids(store).await, ["ann"]);
    eventually(PATIENCE, async || {
        join_stream(&ours, &ann, LONG).await;
        look().await > first
    })
    .await;

    ours.leave(&ann).await.unwrap();
    join_stream(&theirs, &bob, LONG).await;
    assert_eq!(ids(store).await, ["bob"]);
}

/// Another flow or stream makes no difference.
pub async fn a_worker_of_another_stream_is_kept_out(store: &impl Store) {
    let workers = store.open().await;
    join_stream(&workers, &worker::<Transactions>("ann", NAME), LONG).await;
    for other in [worker::<Transactions>("bob", "group/other"), worker::<Visits>("cem", NAME)] {
        let joined = workers.join_stream(&other, LONG).await.unwrap();
        assert!(matches!(joined, Join::Full { .. }), "{}: {joined:?}", other.id);
    }
    assert_eq!(ids(store).await, ["ann"]);
}

/// A worker that was killed while the clock was a day ahead keeps others out for its lease and no longer.
pub async fn a_worker_of_a_clock_that_was_ahead_is_replaced(store: &impl Store) {
    let workers = store.open().await;
    let (ann, bob) = (worker::<Transactions>("ann", NAME), worker::<Transactions>("bob", NAME));
    let look = async || match workers.join_stream(&bob, LONG).await.unwrap() {
        Join::Full { remaining, renewal, .. } => Some((remaining, renewal)),
        Join::Joined(_) => None,
    };
    join_stream(&workers, &ann, LONG).await;
    store.turn_clock_back_a_day().await;
    let (remaining, first) = look().await.unwrap();
    assert!(remaining > LONG / 2 && remaining <= LONG, "{remaining:?}");
    assert_eq!(look().await.unwrap().1, first, "nobody said that it lives");
    eventually(PATIENCE, async || {
        join_stream(&workers, &ann, LONG).await;
        look().await.unwrap().1 > first
    })
    .await;

    join_stream(&workers, &ann, Duration::from_secs(1)).await;
    store.turn_clock_back_a_day().await;
    assert!(look().await.is_some(), "it may be alive");
    eventually(PATIENCE, async || look().await.is_none()).await;
}

/// A worker that no longer renews keeps no other out.
pub async fn a_dead_worker_is_replaced(store: &impl Store) {
    let workers = store.open().await;
    let (ann, bob) = (worker::<Transactions>("ann", NAME), worker::<Transactions>("bob", NAME));
    join_stream(&workers, &ann, SHORT).await;
    eventually(PATIENCE, async || {
        matches!(workers.join_stream(&bob, LONG).await.unwrap(), Join::Joined(_))
    })
    .await;
    let joined = workers.join_stream(&ann, LONG).await.unwrap();
    assert!(matches!(joined, Join::Full { .. }), "{joined:?}");
}
