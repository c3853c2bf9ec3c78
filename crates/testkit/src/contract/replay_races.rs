//! Replays that meet each other, commits, or the end of their caller.

use tally_ports::{Replay, Replayed, State};

use super::commits::commit;
use super::replays::{Replays, attempt, fail, replay_act, state, states, still_bad};
use super::{DEAD_LETTERS, Store, TRANSACTIONS};
use crate::build::{self, row};

/// Rounds of a race.
const ROUNDS: i64 = 1_000;

/// The second one finds it done.
pub async fn of_two_replays_at_once_one_succeeds<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let (ours, theirs) = (store.open().await, store.open().await);
    fail(&ours, 50).await;
    let logged_acts = [replay_act(), replay_act()];
    let mut counts = [0, 0];
    for position in 0..50 {
        let attempt = if position % 2 == 0 {
            attempt(row(position, 7 + u128::from(position.unsigned_abs()), "5"))
        } else {
            still_bad(position, 1)
        };
        let (one, two) = tokio::join!(
            ours.replay(&attempt, Some(&logged_acts[0])),
            theirs.replay(&attempt, Some(&logged_acts[1]))
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        let done = [&one, &two].map(|replayed| replayed.as_str().is_some());
        assert!(done[0] != done[1], "at {position}: {one:?} and {two:?}");
        assert_eq!(one.state(), two.state());
        counts[0] += i64::from(done[0]);
        counts[1] += i64::from(done[1]);
    }
    assert_eq!(store.read(&TRANSACTIONS).await.len(), 25);
    assert_eq!(store.read(&DEAD_LETTERS).await.len(), 75);
    assert_eq!(counts[0] + counts[1], 50);
}

/// When the caller's future is dropped, the dead letter changed as a whole or not at all.
pub async fn a_replay_without_its_caller_can_be_repeated<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    fail(&sink, 20).await;
    let logged_act = replay_act();
    for position in 0..20 {
        let attempt = attempt(row(position, u128::from(position.unsigned_abs()), "5"));
        let pause = std::time::Duration::from_micros(200 * position.unsigned_abs());
        let _dropped = tokio::time::timeout(pause, sink.replay(&attempt, Some(&logged_act))).await;
        let again = sink.replay(&attempt, Some(&logged_act)).await.unwrap();
        assert_eq!(again.state(), State::Replayed, "at {position}");
    }
    assert_eq!(store.read(&TRANSACTIONS).await.len(), 20);
    let replayed = (0..20).map(|position| state(position, 1, State::Replayed));
    assert_eq!(states(store).await, replayed.collect::<Vec<_>>());
}

/// Batches with two later versions of the key, before, after and while an earlier one is replayed: the last one stays.
pub async fn a_replay_beside_commits_never_wins_over_a_later_record<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let (live, people) = (store.open().await, store.open().await);
    let (position, stream) = fail(&live, ROUNDS).await;
    let logged_act = replay_act();
    let mut outcomes = [0, 0];
    for round in 0..ROUNDS {
        let id = u128::from(round.unsigned_abs());
        let first = ROUNDS + 2 * round;
        let rows = vec![row(first, id, "1"), row(first + 1, id, "2")];
        let batch = build::commit(&position, &stream, first..=first + 1, rows, vec![]);
        let earlier = attempt(row(round, id, "-3"));
        let committing = commit(&live, batch);
        let replaying = people.replay(&earlier, Some(&logged_act));
        let (committed, replayed) = match round % 10 {
            0 => {
                let replayed = replaying.await;
                (committing.await, replayed)
            }
            1 => (committing.await, replaying.await),
            2..=5 => tokio::join!(committing, replaying),
            _ => {
                let (replayed, committed) = tokio::join!(replaying, committing);
                (committed, replayed)
            }
        };
        let committed = committed.unwrap();
        assert_eq!((committed.written, committed.superseded), (1, 1));
        match replayed.unwrap() {
            Replayed::Written => outcomes[0] += 1,
            Replayed::Outdated => outcomes[1] += 1,
            other => panic!("round {round}: {other:?}"),
        }
    }
    assert!(outcomes.iter().all(|&count| count >= ROUNDS / 10), "{outcomes:?}");
    let rows = store.read(&TRANSACTIONS).await;
    assert_eq!(rows.len(), usize::try_from(ROUNDS).unwrap());
    for (row, round) in rows.iter().zip(0..) {
        let found = (row.number("position"), &row["amount"]);
        assert_eq!(found, (ROUNDS + 2 * round + 1, "2.00"), "round {round}");
    }
}
