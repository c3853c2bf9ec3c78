//! Replay of dead letters.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tally_domain::transactions::Transactions;
use tally_domain::{Flow, Reason, Stage};
use tally_ports::{
    Acts, Attempted, DeadLetterIdentity, DeadLetters, Fault, LoggedAct, Position, Raw, Replay,
    ReplayAttempt, Replayed, Row, Sink, State, StopKind, Stream,
};

use super::claims::own;
use super::commits::{commit, everything};
use super::{ACTS, DEAD_LETTERS, Record, Store, TRANSACTIONS, VISITS};
use crate::build::{self, LONG, act, dead_letter, flow_named, row, stream};
use crate::visits::{Visits, visit};

/// All ports about dead letters.
pub trait Replays: DeadLetters + Acts + Replay {}

impl<T: DeadLetters + Acts + Replay> Replays for T {}

pub(super) fn identity<F: Flow + Default>(
    stream: &str,
    pass: i32,
    position: i64,
    attempt: i32,
) -> DeadLetterIdentity {
    let (flow, stream) = (F::default().name().to_owned(), stream.to_owned());
    DeadLetterIdentity { flow, stream, partition: 0, pass, position, attempt }
}

pub(super) fn replay_act() -> LoggedAct {
    LoggedAct::new(tally_ports::Act { verb: "replay", ..act("because") })
}

/// The first attempt at a position of `file/1`, valid now.
pub(super) fn attempt(row: Row) -> Arc<ReplayAttempt> {
    Arc::new(ReplayAttempt {
        flow: flow_named(Transactions::NAME),
        identity: identity::<Transactions>("file/1", 1, row.position, 1),
        result: Attempted::Valid(row),
        kept: None,
        topics: tally_ports::Topics::default(),
    })
}

pub(super) fn still_bad(position: i64, attempt: i32) -> Arc<ReplayAttempt> {
    let reason = Reason::new(Stage::Enrich, "model_refused", "the model refused it");
    let identity = identity::<Transactions>("file/1", 1, position, attempt);
    Arc::new(ReplayAttempt {
        flow: flow_named(Transactions::NAME),
        identity,
        result: Attempted::Failed(reason),
        kept: None,
        topics: tally_ports::Topics::default(),
    })
}

/// A batch of `file/1` whose first positions are dead letters.
pub(super) async fn fail<S>(sink: &S, positions: i64) -> (Position, Arc<Stream>)
where
    S: Sink + tally_ports::Positions,
{
    let stream = stream::<Transactions>("file/1");
    let position = own(sink, &stream, "a", LONG).await;
    let letters = (0..positions).map(dead_letter).collect();
    let batch = build::commit(&position, &stream, 0..=positions - 1, vec![], letters);
    commit(sink, batch).await.unwrap();
    (position, stream)
}

pub(super) async fn states(store: &impl Store) -> Vec<(i64, i64, String)> {
    let letter =
        |row: &Record| (row.number("position"), row.number("attempt"), row["state"].to_owned());
    store.read(&DEAD_LETTERS).await.iter().map(letter).collect()
}

pub(super) fn state(position: i64, attempt: i64, state: State) -> (i64, i64, String) {
    (position, attempt, state.to_string())
}

/// The row, the state and the act; repeating it changes nothing.
pub async fn a_replayed_row_is_written_once<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let (position, _) = fail(&sink, 2).await;
    let mut logged_act = replay_act();
    let replayed = sink.replay(&attempt(row(1, 7, "-12.34")), Some(&logged_act)).await;
    assert_eq!(replayed, Ok(Replayed::Written));

    let [written] = store.read(&TRANSACTIONS).await.try_into().unwrap();
    assert_eq!((&written["amount"], &written["category"]), ("-12.34", "Food"));
    assert_eq!(
        (written.number("origin"), written.number("position")),
        (position.lease.position_id, 1)
    );
    let expected = [state(0, 1, State::Open), state(1, 1, State::Replayed)];
    assert_eq!(states(store).await, expected);
    let [act] = store.read(&ACTS).await.try_into().unwrap();
    assert_eq!((&act["who"], &act["verb"], &act["reason"]), ("ann", "replay", "because"));
    assert_eq!(
        (&act["id"], act.json("result")),
        (&*logged_act.id.to_string(), json!({"replayed": 1}))
    );

    logged_act.add("replayed", 1);
    let before = (everything(store).await, store.read(&ACTS).await);
    let again = sink.replay(&attempt(row(1, 7, "-99")), Some(&logged_act)).await;
    assert_eq!(again, Ok(Replayed::NotOpen(State::Replayed)));
    assert_eq!((everything(store).await, store.read(&ACTS).await), before);

    assert_eq!(
        sink.replay(&attempt(row(0, 8, "5")), Some(&logged_act)).await,
        Ok(Replayed::Written)
    );
    let [act] = store.read(&ACTS).await.try_into().unwrap();
    assert_eq!(act.json("result"), json!({"replayed": 2}));
}

/// Not a later record of the same origin, not the same one, and none of another origin, earlier or later.
pub async fn a_replay_never_overwrites_anything_newer<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let (position, file) = fail(&sink, 10).await;
    // The keys 1 and 2 come again later on, 3 comes in another stream.
    let rows = vec![row(10, 1, "10"), row(11, 2, "20")];
    commit(&sink, build::commit(&position, &file, 10..=11, rows, vec![])).await.unwrap();
    let other = stream::<Transactions>("group/topic");
    let elsewhere = own(&sink, &other, "a", LONG).await;
    commit(&sink, build::commit(&elsewhere, &other, 0..=0, vec![row(0, 3, "30")], vec![]))
        .await
        .unwrap();

    let before = store.read(&TRANSACTIONS).await;
    let logged_act = replay_act();
    for (position, id) in [(0, 1), (9, 2), (5, 3)] {
        let replayed = sink.replay(&attempt(row(position, id, "-1")), Some(&logged_act)).await;
        assert_eq!(replayed, Ok(Replayed::Outdated), "key {id}");
    }
    assert_eq!(store.read(&TRANSACTIONS).await, before);
    let outdated: Vec<_> =
        states(store).await.into_iter().filter(|letter| letter.2 == "outdated").collect();
    assert_eq!(outdated, [0, 5, 9].map(|position| state(position, 1, State::Outdated)));
    assert_eq!(store.read(&ACTS).await[0].json("result"), json!({"outdated": 1}));
}

/// A record is newer than an earlier one of its origin, also when that one was replayed.
pub async fn a_replay_overwrites_what_is_older<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let letters = (1..=3).map(dead_letter).collect();
    let batch = build::commit(&position, &stream, 0..=3, vec![row(0, 7, "10")], letters);
    commit(&sink, batch).await.unwrap();

    let logged_act = replay_act();
    for (at, expected) in [(1, Replayed::Written), (3, Replayed::Written), (2, Replayed::Outdated)]
    {
        let replayed = sink.replay(&attempt(row(at, 7, "-1")), Some(&logged_act)).await;
        assert_eq!(replayed, Ok(expected), "at {at}");
    }
    let [written] = store.read(&TRANSACTIONS).await.try_into().unwrap();
    assert_eq!((written.number("position"), &written["amount"]), (3, "-1.00"));
}

/// As a commit does.
pub async fn a_replay_of_two_writes_under_one_key_keeps_the_last<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    fail(&sink, 1).await;
    let mut both = row(0, 7, "-1");
    both.record.writes.extend(row(0, 7, "-2").record.writes);
    let logged_act = replay_act();
    assert_eq!(sink.replay(&attempt(both), Some(&logged_act)).await, Ok(Replayed::Written));
    let [written] = store.read(&TRANSACTIONS).await.try_into().unwrap();
    assert_eq!(written["amount"], *"-2.00");
}

/// The record unchanged, with the new reason; only this attempt can be replayed further.
pub async fn a_record_that_fails_again_is_the_next_attempt<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    fail(&sink, 1).await;
    let logged_act = replay_act();
    let replayed = sink.replay(&still_bad(0, 1), Some(&logged_act)).await.unwrap();
    let next = identity::<Transactions>("file/1", 1, 0, 2);
    let Replayed::FailedAgain { next: found, reason } = &replayed else { panic!("{replayed:?}") };
    assert_eq!((found, &*reason.code), (&next, "model_refused"));

    let [first, second] = store.read(&DEAD_LETTERS).await.try_into().unwrap();
    assert_eq!((&first["state"], &second["state"]), ("retried", "open"));
    assert_eq!((&first["attempt"], &second["attempt"]), ("1", "2"));
    assert_eq!(&second["id"], &*next.id().to_string());
    assert_eq!((&second["stage"], &second["code"]), ("enrich", "model_refused"));
    assert_eq!(&second["message"], "the model refused it");
    assert_eq!(second.get("published_at"), None);
    for column in ["flow", "stream", "partition", "pass", "position", "batch_id", "headers"] {
        assert_eq!(first.get(column), second.get(column), "{column}");
    }
    for column in ["key", "payload"] {
        assert_eq!(first.bytes(column), second.bytes(column), "{column}");
    }
    assert_eq!(store.read(&ACTS).await[0].json("result"), json!({"failed_again": 1}));

    let earlier = sink.replay(&attempt(row(0, 7, "5")), Some(&logged_act)).await;
    assert_eq!(earlier, Ok(Replayed::NotOpen(State::Retried)));
    let newest = Arc::new(ReplayAttempt {
        flow: flow_named(Transactions::NAME),
        identity: next,
        result: Attempted::Valid(row(0, 7, "5")),
        kept: None,
        topics: tally_ports::Topics::default(),
    });
    assert_eq!(sink.replay(&newest, Some(&logged_act)).await, Ok(Replayed::Written));
    let expected = [state(0, 1, State::Retried), state(0, 2, State::Replayed)];
    assert_eq!(states(store).await, expected);
}

/// A mask that was set since the first failure applies to the next attempt.
pub async fn of_a_record_that_fails_again_no_more_is_kept_than_said<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    fail(&sink, 2).await;
    let headers = [("masked".to_owned(), Some(Bytes::from_static(b"merchant")))].into();
    let payload = Some(Bytes::from_static(b"7;***"));
    let kept =
        Raw { payload, headers, timestamp: dead_letter(1).raw.timestamp, line: None, key: None };
    let ReplayAttempt { identity: failed, result, .. } = Arc::into_inner(still_bad(1, 1)).unwrap();
    let attempt = Arc::new(ReplayAttempt {
        flow: flow_named(Transactions::NAME),
        identity: failed,
        result,
        kept: Some(kept.clone()),
        topics: tally_ports::Topics::default(),
    });
    sink.replay(&attempt, Some(&replay_act())).await.unwrap();
    let ids = [1, 2].map(|attempt| identity::<Transactions>("file/1", 1, 1, attempt).id());
    let stored = sink.fetch(&ids).await.unwrap();
    assert!(stored[0].raw == dead_letter(1).raw && stored[1].raw == kept);
}

/// As the first time: with the database's own code.
pub async fn a_row_that_the_database_refuses_has_failed_again<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    fail(&sink, 2).await;
    let logged_act = replay_act();
    let refused = sink.replay(&attempt(row(0, 7, "500")), Some(&logged_act)).await.unwrap();
    let Replayed::FailedAgain { reason, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((reason.stage, &*reason.code), (Stage::Write, store.refusal_code()));
    assert_eq!(
        sink.replay(&attempt(row(1, 8, "50")), Some(&logged_act)).await,
        Ok(Replayed::Written)
    );
    let expected =
        [state(0, 1, State::Retried), state(0, 2, State::Open), state(1, 1, State::Replayed)];
    assert_eq!(states(store).await, expected);
    assert_eq!(store.read(&TRANSACTIONS).await.len(), 1);
}

/// It returns what the outcomes would be, including the database's refusal.
pub async fn trying_a_replay_changes_nothing<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    let (position, file) = fail(&sink, 4).await;
    commit(&sink, build::commit(&position, &file, 4..=4, vec![row(4, 1, "10")], vec![]))
        .await
        .unwrap();
    let before = everything(store).await;
    for (attempt, expected) in [
        (attempt(row(0, 1, "-1")), "outdated"),
        (attempt(row(1, 2, "-1")), "replayed"),
        (attempt(row(2, 3, "500")), "failed_again"),
        (still_bad(3, 1), "failed_again"),
    ] {
        let would_be = sink.replay(&attempt, None).await.unwrap();
        assert_eq!(would_be.as_str(), Some(expected), "{:?}", attempt.identity);
    }
    assert_eq!(everything(store).await, before);
    assert_eq!(store.read(&ACTS).await, []);
}

/// The caller may name a dead letter that does not exist.
pub async fn a_dead_letter_that_is_not_there_is_not_replayed<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    fail(&sink, 1).await;
    let Err(Fault::Stop(stop)) = sink.replay(&attempt(row(1, 7, "5")), Some(&replay_act())).await
    else {
        panic!("there is none at 1")
    };
    assert_eq!(stop.kind, StopKind::Input);
    assert_eq!(store.read(&TRANSACTIONS).await, []);
    assert_eq!(store.read(&ACTS).await, []);
}

/// A flow whose effect appends: each record has its row once.
pub async fn appended_rows_are_replayed_once<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let stream = stream::<Visits>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let letters = vec![dead_letter(0), dead_letter(2)];
    let batch = build::commit(&position, &stream, 0..=2, vec![visit(1, "ann", "/")], letters);
    commit(&sink, batch).await.unwrap();

    let logged_act = replay_act();
    let attempt = |position, page| {
        let identity = identity::<Visits>("file/1", 1, position, 1);
        let flow = flow_named(Visits::NAME);
        Arc::new(ReplayAttempt {
            flow,
            identity,
            result: Attempted::Valid(visit(position, "ann", page)),
            kept: None,
            topics: tally_ports::Topics::default(),
        })
    };
    let (good, bad) = (attempt(2, "/"), attempt(0, ""));
    assert_eq!(sink.replay(&good, Some(&logged_act)).await, Ok(Replayed::Written));
    assert_eq!(sink.replay(&good, Some(&logged_act)).await, Ok(Replayed::NotOpen(State::Replayed)));
    let refused = sink.replay(&bad, Some(&logged_act)).await.unwrap();
    assert_eq!(refused.state(), State::Retried);
    let positions: Vec<_> =
        store.read(&VISITS).await.iter().map(|visit| visit.number("position")).collect();
    assert_eq!(positions, [1, 2]);
}
