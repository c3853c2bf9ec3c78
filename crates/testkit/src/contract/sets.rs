//! Setting positions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, Lease, Position, PositionAdmin, Positions, SetTo, Stream};

use super::claims::{assert_setting, assert_taken, own};
use super::commits::{commit, everything};
use super::{ACTS, BATCHES, POSITIONS, Record, Store};
use crate::build::{LONG, TOLERANCE, act, plain_commit, stream};
use crate::eventually;

const NAME: &str = "group/topic";

/// Reads 0 to 9 and releases the lease.
async fn read_ten<S: Store>(store: &S) -> (S::Sink, Stream, Position) {
    let sink = store.open().await;
    let stream = stream::<Transactions>(NAME);
    let position = own(&sink, &stream, "a", LONG).await;
    let mut batch = plain_commit(&position, &stream, 0..=9);
    batch.stats = json!({ "seen": 10 });
    commit(&sink, batch).await.unwrap();
    sink.release(&position.lease).await.unwrap();
    (sink, (*stream).clone(), position)
}

/// Pass, range and reason of the ledger's entries that only pass a range.
async fn passed(store: &impl Store) -> Vec<(String, String, String, String)> {
    let entries = store.read(&BATCHES).await;
    let text = |entry: &Record, column| entry[column].to_owned();
    let gaps = entries.iter().filter(|entry| entry.get("gap").is_some());
    gaps.map(|entry| {
        (text(entry, "pass"), text(entry, "first"), text(entry, "last"), text(entry, "gap"))
    })
    .collect()
}

fn entry(pass: i32, first: i64, last: i64, gap: &str) -> (String, String, String, String) {
    (pass.to_string(), first.to_string(), last.to_string(), gap.to_owned())
}

/// Pass and next position of the one partition, which has no owner.
async fn pass_and_next(sink: &impl PositionAdmin) -> (i32, i64) {
    let [state] = sink.partition_states("transactions", NAME).await.unwrap().try_into().unwrap();
    assert_eq!((state.partition, state.owner.as_deref()), (0, None));
    (state.pass, state.next)
}

/// The range is passed with an entry that says who and why; statistics stay, the cursor is forgotten.
pub async fn setting_forward_passes_a_range(store: &impl Store) {
    let (sink, stream, before) = read_ten(store).await;
    assert_eq!(sink.partition_states("transactions", "group/other").await.unwrap(), []);
    sink.set(&stream, 25.into(), None, &act("too old")).await.unwrap();

    assert_eq!(pass_and_next(&sink).await, (1, 25));
    let [_, entry] = store.read(&BATCHES).await.try_into().unwrap();
    let place = ["flow", "stream", "partition", "pass", "first", "last"].map(|name| &entry[name]);
    assert_eq!(place, ["transactions", NAME, "0", "1", "10", "24"]);
    let counts = ["read", "written", "superseded", "skipped", "dead_lettered"];
    assert_eq!(counts.map(|name| entry.number(name)), [0; 5]);
    assert_eq!(
        (&entry["gap"], &entry["worker"], entry.json("quality")),
        ("too old", "ann", json!({}))
    );
    assert_eq!(entry["id"].parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    assert!(entry.get("started_at").is_some() && entry.get("committed_at").is_some());

    let [row] = store.read(&ACTS).await.try_into().unwrap();
    let expected = act("too old");
    assert_eq!((&row["who"], &row["verb"], &row["flow"]), ("ann", "positions set", "transactions"));
    assert_eq!((&row["target"], &row["reason"]), (&*expected.target, "too old"));
    assert_eq!(row.json("result"), expected.result);
    assert!(row.get("at").is_some());

    let position = own(&sink, &stream, "b", LONG).await;
    assert_eq!((position.lease.position_id, position.next), (before.lease.position_id, 25));
    assert!(position.cursor.is_null(), "{position:?}");
    assert_eq!(position.stats, json!({ "seen": 10 }));
    commit(&sink, plain_commit(&position, &stream.into(), 25..=29)).await.unwrap();
}

/// A lease that was renewed while the clock was a day ahead is spared for its duration, and no longer.
pub async fn a_lease_of_a_clock_that_was_ahead_is_spared_for_its_length(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>(NAME);
    own(&sink, &stream, "a", Duration::from_secs(1)).await;
    store.turn_clock_back_a_day().await;
    assert_taken(sink.set(&stream, 7.into(), None, &act("too early")).await);
    eventually(Duration::from_secs(20), async || {
        sink.set(&stream, 7.into(), None, &act("its owner is gone")).await.is_ok()
    })
    .await;
    assert_eq!(pass_and_next(&sink).await, (1, 7));
    let reasons: Vec<_> =
        store.read(&ACTS).await.iter().map(|act| act["reason"].to_owned()).collect();
    assert_eq!(reasons, ["its owner is gone"]);
}

/// What was read stays in the ledger; the next pass begins there, as one that passed what is before it.
pub async fn setting_back_begins_another_pass(store: &impl Store) {
    let (sink, stream, before) = read_ten(store).await;
    sink.set(&stream, 4.into(), None, &act("once more")).await.unwrap();
    assert_eq!(pass_and_next(&sink).await, (2, 4));
    let position = own(&sink, &stream, "b", LONG).await;
    assert_eq!((position.pass, position.next), (2, 4));
    assert_ne!(position.lease.position_id, before.lease.position_id, "an origin of its own");
    assert!(position.cursor.is_null() && position.stats.is_null(), "{position:?}");
    commit(&sink, plain_commit(&position, &stream.clone().into(), 4..=5)).await.unwrap();
    sink.release(&position.lease).await.unwrap();

    sink.set(&stream, 6.into(), None, &act("where it stands")).await.unwrap();
    assert_eq!(pass_and_next(&sink).await, (3, 6));
    sink.set(&stream, 0.into(), None, &act("all of it")).await.unwrap();
    assert_eq!(pass_and_next(&sink).await, (4, 0));
    assert_eq!(
        passed(store).await,
        [entry(2, 0, 3, "once more"), entry(3, 0, 5, "where it stands")]
    );
    let reasons: Vec<_> =
        store.read(&ACTS).await.iter().map(|act| act["reason"].to_owned()).collect();
    assert_eq!(reasons, ["once more", "where it stands", "all of it"]);
    let [first, ..] = &store.read(&POSITIONS).await[..] else { panic!("no positions") };
    assert_eq!((&first["pass"], &first["next"]), ("1", "10"));
}

/// Its first pass is the one that begins there.
pub async fn a_partition_never_read_is_set_by_its_first_pass(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>(NAME);
    sink.set(&stream, 7.into(), None, &act("not needed")).await.unwrap();
    assert_eq!(pass_and_next(&sink).await, (1, 7));
    assert_eq!(passed(store).await, [entry(1, 0, 6, "not needed")]);

    let elsewhere = Begin { at: 99, again: false };
    let claim = sink.claim(&stream, "a", LONG, elsewhere).await.unwrap();
    let Claim::Owned(position) = claim else { panic!("{claim:?}") };
    assert_eq!((position.pass, position.next), (1, 7));
    assert_eq!(&store.read(&POSITIONS).await[0]["label"], stream.label);

    let other = Stream { partition: 1, ..(*stream).clone() };
    sink.set(&other, 0.into(), None, &act("from its start")).await.unwrap();
    assert_eq!(passed(store).await.len(), 1, "nothing was passed");
    assert_eq!(own(&sink, &other, "a", LONG).await.next, 0);
}

/// What follows is another log of the same name, in a pass of its own, wherever it is set.
pub async fn a_recreated_topic_raises_the_log(store: &impl Store) {
    let (sink, stream, _) = read_ten(store).await;
    for (next, pass, log) in [(4, 2, 2), (25, 3, 3)] {
        let cursor = json!({ "topic": log });
        let to = SetTo { next, is_recreated: true, cursor: cursor.clone(), seen: None };
        sink.set(&stream, to, None, &act("recreated")).await.unwrap();
        let position = own(&sink, &stream, "a", LONG).await;
        assert_eq!((position.pass, position.next, position.log), (pass, next, log));
        assert_eq!(position.cursor, cursor);
        sink.release(&position.lease).await.unwrap();
    }
    sink.set(&stream, 0.into(), None, &act("once more")).await.unwrap();
    assert_eq!(own(&sink, &stream, "a", LONG).await.log, 3);
}

/// What was decided upon a position holds for that one only.
pub async fn a_position_that_has_moved_since_it_was_seen_is_not_set(store: &impl Store) {
    let (sink, stream, _) = read_ten(store).await;
    let before = everything(store).await;
    let at = |pass, next| SetTo { seen: Some((pass, next)), ..SetTo::from(25) };
    for to in [at(0, 0), at(1, 9), at(2, 10)] {
        assert_taken(sink.set(&stream, to, None, &act("no")).await);
    }
    assert_eq!(everything(store).await, before);
    assert_eq!(store.read(&ACTS).await, []);
    sink.set(&stream, at(1, 10), None, &act("too old")).await.unwrap();
    assert_eq!(pass_and_next(&sink).await, (1, 25));
}

/// Only without an owner; an owner is not disturbed.
pub async fn without_a_lease_a_live_one_is_spared(store: &impl Store) {
    let (sink, stream, _) = read_ten(store).await;
    let position = own(&sink, &stream, "a", LONG).await;
    let before = everything(store).await;
    for to in [0, 4, 10, 25] {
        assert_taken(store.open().await.set(&stream, to.into(), None, &act("no")).await);
    }
    assert_eq!(everything(store).await, before);
    assert_eq!(store.read(&ACTS).await, []);
    sink.renew(&position.lease).await.unwrap();
    commit(&sink, plain_commit(&position, &stream.into(), 10..=19)).await.unwrap();
}

/// The owner itself may; it has no lease afterwards.
pub async fn setting_with_its_lease_gives_it_back(store: &impl Store) {
    let (sink, stream, _) = read_ten(store).await;
    for to in [25, 3] {
        let position = own(&sink, &stream, "a", LONG).await;
        sink.set(&stream, to.into(), Some(&position.lease), &act("a hole")).await.unwrap();
        assert_eq!(pass_and_next(&sink).await.1, to);
        assert_taken(sink.renew(&position.lease).await);
        assert_taken(
            sink.set(&stream, (to + 9).into(), Some(&position.lease), &act("again")).await,
        );
        let theirs = own(&store.open().await, &stream, "b", LONG).await;
        assert_eq!(theirs.next, to);
        sink.release(&theirs.lease).await.unwrap();
    }
    assert_eq!(store.read(&ACTS).await.len(), 2);
}

/// A lease of an earlier epoch, of another partition, or of none.
pub async fn setting_with_a_lost_lease_changes_nothing(store: &impl Store) {
    let (sink, stream, lost) = read_ten(store).await;
    let other = Stream { partition: 1, ..stream.clone() };
    let others = own(&sink, &other, "a", LONG).await.lease;
    own(&sink, &stream, "b", LONG).await;
    let before = everything(store).await;
    let nowhere = Lease { position_id: 4_711, ..lost.lease };
    for lease in [lost.lease, others, nowhere] {
        for to in [3, 25] {
            assert_taken(sink.set(&stream, to.into(), Some(&lease), &act("no")).await);
        }
    }
    let never_read = Stream { partition: 2, ..stream };
    assert_taken(sink.set(&never_read, 5.into(), Some(&lost.lease), &act("no")).await);
    assert_eq!(everything(store).await, before);
    assert_eq!(store.read(&ACTS).await, []);
}

/// A late commit of an earlier owner writes nothing, wherever its batch begins.
pub async fn a_late_commit_after_setting_is_refused(store: &impl Store) {
    let sink = store.open().await;
    for (partition, to) in [(0, 25), (1, 3)] {
        let stream = Arc::new(Stream { partition, ..(*stream::<Transactions>(NAME)).clone() });
        let late = own(&sink, &stream, "a", LONG).await;
        commit(&sink, plain_commit(&late, &stream, 0..=9)).await.unwrap();
        sink.release(&late.lease).await.unwrap();
        sink.set(&stream, to.into(), None, &act("moved")).await.unwrap();
        let before = everything(store).await;
        for first in [10, to] {
            assert_taken(commit(&sink, plain_commit(&late, &stream, first..=first + 4)).await);
        }
        assert_taken(sink.finish(&late.lease, 10, TOLERANCE).await);
        assert_eq!(everything(store).await, before);
    }
}

/// Nothing is before the first position, and nothing after the end of a pass that has ended.
pub async fn a_position_that_cannot_be_is_a_wrong_setting(store: &impl Store) {
    let (sink, stream, _) = read_ten(store).await;
    assert_setting(sink.set(&stream, (-1).into(), None, &act("no")).await);
    let position = own(&sink, &stream, "a", LONG).await;
    sink.finish(&position.lease, 10, TOLERANCE).await.unwrap();
    let before = everything(store).await;
    assert_setting(sink.set(&stream, 11.into(), None, &act("no")).await);
    assert_eq!(everything(store).await, before);
    assert_eq!(store.read(&ACTS).await, []);

    sink.set(&stream, 8.into(), None, &act("the last two once more")).await.unwrap();
    let position = own(&sink, &stream, "a", LONG).await;
    assert_eq!((position.pass, position.next), (2, 8));
}

/// A claim that waited while another pass was begun gets that one.
pub async fn a_claim_beside_a_set_never_owns_an_earlier_pass(store: &impl Store) {
    let (ours, stream, _) = read_ten(store).await;
    let theirs = store.open().await;
    for _ in 0..30 {
        let act = act("once more");
        let (claim, set) = tokio::join!(
            theirs.claim(&stream, "b", LONG, Begin::default()),
            ours.set(&stream, 0.into(), None, &act)
        );
        let Ok(Claim::Owned(position)) = claim else { panic!("{claim:?}") };
        let [last] = ours.partition_states("transactions", NAME).await.unwrap().try_into().unwrap();
        assert_eq!((last.pass, last.owner.as_deref()), (position.pass, Some("b")));
        if set.is_err() {
            assert_taken(set);
        }
        theirs.release(&position.lease).await.unwrap();
    }
}
