//! The relay of committed dead letters.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tally_domain::transactions::Transactions;
use tally_ports::{DeadLetter, DeadLetterRelay, Fault, PublishDeadLetters, Raw, RelayedDeadLetter};
use tokio::sync::Notify;

use super::claims::own;
use super::commits::commit;
use super::{DEAD_LETTERS, Store};
use crate::build::{self, LONG, dead_letter, row, stream};
use crate::eventually;
use crate::visits::{Visits, visit};

const FLOW: &str = "transactions";
const PATIENCE: Duration = Duration::from_secs(20);

/// A topic in memory; it can refuse or hold up everything.
#[derive(Default)]
pub struct Topic {
    dead_letters: Mutex<Vec<RelayedDeadLetter>>,
    calls: Mutex<usize>,
    fault: Option<Fault>,
    hold: Option<Hold>,
}

/// Two ends of a call that is held up.
#[derive(Clone, Default)]
pub struct Hold {
    arrived: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Hold {
    /// Waits until dead letters have arrived.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Accepts them.
    pub fn go_on(&self) {
        self.go_on.notify_one();
    }
}

impl Topic {
    /// Refuses everything.
    pub fn refusing(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// Accepts nothing before it is told to go on.
    pub fn holding(hold: &Hold) -> Self {
        Self { hold: Some(hold.clone()), ..Self::default() }
    }

    /// What it accepted.
    pub fn dead_letters(&self) -> Vec<RelayedDeadLetter> {
        self.dead_letters.lock().unwrap().clone()
    }

    /// The positions of what it accepted.
    pub fn positions(&self) -> Vec<i64> {
        self.dead_letters.lock().unwrap().iter().map(|letter| letter.position).collect()
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }
}

impl PublishDeadLetters for Topic {
    async fn publish(&self, dead_letters: &[RelayedDeadLetter]) -> Result<(), Fault> {
        *self.calls.lock().unwrap() += 1;
        if let Some(Hold { arrived, go_on }) = &self.hold {
            arrived.notify_one();
            go_on.notified().await;
        }
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.dead_letters.lock().unwrap().extend_from_slice(dead_letters);
        Ok(())
    }
}

/// Commits dead letters of each of these sizes, in batches of their own, so that they failed one after the other.
async fn fail(store: &impl Store, name: &str, payloads: &[usize]) {
    let sink = store.open().await;
    let stream = stream::<Transactions>(name);
    for &size in payloads {
        let next = own(&sink, &stream, "a", LONG).await;
        let raw = Raw { payload: Some(vec![b'x'; size].into()), ..Raw::default() };
        let letter = DeadLetter { raw, ..dead_letter(next.next) };
        let positions = next.next..=next.next;
        commit(&sink, build::commit(&next, &stream, positions, vec![], vec![letter]))
            .await
            .unwrap();
        let before = Utc::now();
        eventually(PATIENCE, async || Utc::now() > before + TimeDelta::milliseconds(2)).await;
    }
}

/// With every column as it was committed, the oldest first, and each one once.
pub async fn dead_letters_are_relayed_once_and_whole(store: &impl Store) {
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    let stream = stream::<Transactions>("group/topic");
    let position = own(&sink, &stream, "a", LONG).await;
    let refused = row(1, 1, "500");
    let raw = refused.raw.clone();
    let batch = build::commit(&position, &stream, 0..=1, vec![refused], vec![dead_letter(0)]);
    let name = &batch.stream;
    let ids = [0, 1].map(|position| dead_letter(position).id(name, 1));
    commit(&sink, batch).await.unwrap();
    let tombstone = DeadLetter { raw: Raw::default(), ..dead_letter(2) };
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, build::commit(&position, &stream, 2..=2, vec![], vec![tombstone])).await.unwrap();
    assert_eq!(sink.backlog(FLOW).await, Ok(3));

    let topic = Topic::default();
    assert_eq!(sink.relay(FLOW, 2, &topic).await, Ok(2));
    assert_eq!(sink.backlog(FLOW).await, Ok(1));
    assert_eq!(sink.relay(FLOW, 2, &topic).await, Ok(1));
    assert_eq!(sink.relay(FLOW, 2, &topic).await, Ok(0));
    assert_eq!((topic.calls(), sink.backlog(FLOW).await), (2, Ok(0)));

    let mut letters = topic.dead_letters();
    let now = DateTime::<Utc>::from(std::time::SystemTime::now()).naive_utc();
    for letter in &mut letters {
        let age = now - letter.failed_at;
        assert!(age.abs() < TimeDelta::minutes(5), "failed at {} in UTC", letter.failed_at);
        letter.failed_at = now;
    }
    letters.sort_by_key(|letter| letter.position);
    let expected = RelayedDeadLetter {
        id: ids[0],
        flow: FLOW.to_owned(),
        stream: "group/topic".to_owned(),
        partition: 0,
        pass: 1,
        position: 0,
        attempt: 1,
        raw: dead_letter(0).raw,
        stage: "decode".to_owned(),
        code: "fields".to_owned(),
        message: "the record has too few fields".to_owned(),
        failed_at: now,
    };
    // One `assert` each: a letter's `Debug` shows hardly anything.
    assert!(letters[0] == expected, "{:?}", letters[0]);
    let (stage, code) = (&*letters[1].stage, &*letters[1].code);
    assert_eq!((letters[1].id, stage, code), (ids[1], "write", store.refusal_code()));
    assert!(letters[1].raw == raw, "the bytes of the refused row");
    assert!(letters[2].raw == Raw::default(), "a tombstone has no payload, not an empty one");
    for row in store.read(&DEAD_LETTERS).await {
        assert!(row.get("published_at").is_some() && &row["state"] == "open", "{row:?}");
    }
}

/// Each flow has its own topic.
pub async fn dead_letters_of_other_flows_are_not_relayed(store: &impl Store) {
    fail(store, "group/topic", &[1]).await;
    let sink = store.open().await;
    let stream = stream::<Visits>("group/visits");
    let position = own(&sink, &stream, "a", LONG).await;
    commit(&sink, build::commit(&position, &stream, 0..=0, vec![visit(0, "ann", "")], vec![]))
        .await
        .unwrap();

    let topic = Topic::default();
    assert_eq!(sink.relay("visits", 10, &topic).await, Ok(1));
    assert_eq!(topic.dead_letters()[0].flow, "visits");
    assert_eq!((sink.backlog("visits").await, sink.backlog(FLOW).await), (Ok(0), Ok(1)));
}

/// The topic's fault is the answer, and what it did not accept is relayed again.
pub async fn what_was_not_published_is_relayed_again(store: &impl Store) {
    fail(store, "group/topic", &[1, 2, 3]).await;
    let sink = store.open().await;
    let away = Topic::refusing(Fault::outage("the topic is unavailable"));
    for _ in 0..2 {
        assert_eq!(
            sink.relay(FLOW, 2, &away).await,
            Err(Fault::outage("the topic is unavailable"))
        );
        assert_eq!(sink.backlog(FLOW).await, Ok(3));
    }
    let topic = Topic::default();
    assert_eq!(sink.relay(FLOW, 2, &topic).await, Ok(2));
    assert_eq!(topic.positions(), [0, 1], "the oldest ones first");
}

/// Purged dead letters are left out.
pub async fn purged_dead_letters_are_not_relayed(store: &impl Store) {
    fail(store, "group/topic", &[1, 2, 3]).await;
    let sink = store.open().await;
    store.purge(1).await;
    let topic = Topic::default();
    assert_eq!(sink.backlog(FLOW).await, Ok(2));
    assert_eq!(sink.relay(FLOW, 10, &topic).await, Ok(2));
    assert_eq!(topic.positions(), [0, 2]);
}

/// Few when they are large; one that is larger goes alone.
pub async fn no_more_than_4_mib_are_relayed_at_once(store: &impl Store) {
    const MIB: usize = 1024 * 1024;
    let mib = MIB - 100; // what else a letter has counts too
    fail(store, "group/topic", &[mib, mib, mib, mib, mib, 5 * MIB, 1]).await;
    let sink = store.open().await;
    for expected in [vec![0, 1, 2, 3], vec![4], vec![5], vec![6]] {
        let topic = Topic::default();
        assert_eq!(sink.relay(FLOW, 100, &topic).await, Ok(expected.len()));
        assert_eq!(topic.positions(), expected);
    }
}

/// While a topic is slow, batches are committed, dead letters among them.
pub async fn nothing_waits_for_a_relay(store: &impl Store) {
    fail(store, "group/topic", &[1, 2]).await;
    let sink = store.open().await;
    let hold = Hold::default();
    let topic = Topic::holding(&hold);
    let meanwhile = async {
        hold.arrived().await;
        fail(store, "group/topic", &[3]).await;
        assert_eq!(sink.backlog(FLOW).await, Ok(3));
        hold.go_on();
    };
    assert_eq!(tokio::join!(sink.relay(FLOW, 10, &topic), meanwhile).0, Ok(2));
    assert_eq!(topic.positions(), [0, 1]);
    assert_eq!(sink.backlog(FLOW).await, Ok(1));
}

/// When the caller's future is dropped, its dead letters are soon free again.
pub async fn a_relay_without_its_caller_is_repeated(store: &impl Store) {
    fail(store, "group/topic", &[1, 2]).await;
    let sink = store.open().await;
    let hold = Hold::default();
    let never = Topic::holding(&hold);
    tokio::select! {
        result = sink.relay(FLOW, 10, &never) => panic!("{result:?}"),
        () = hold.arrived() => {}
    }
    let topic = Topic::default();
    eventually(PATIENCE, async || sink.relay(FLOW, 10, &topic).await == Ok(2)).await;
    assert_eq!(topic.positions(), [0, 1]);
}

/// Neither waits for the other, and together they publish each one once.
pub async fn two_relays_at_once_hand_out_different_ones(store: &impl Store) {
    fail(store, "group/topic", &[1; 10]).await;
    let (ours, theirs) = (store.open().await, store.open().await);
    let hold = Hold::default();
    let (slow, fast) = (Topic::holding(&hold), Topic::default());
    let meanwhile = async {
        hold.arrived().await;
        assert_eq!(theirs.relay(FLOW, 3, &fast).await, Ok(3));
        assert_eq!(ours.relay(FLOW, 100, &fast).await, Ok(3));
        assert_eq!(theirs.relay(FLOW, 100, &fast).await, Ok(0));
        hold.go_on();
    };
    assert_eq!(tokio::join!(ours.relay(FLOW, 4, &slow), meanwhile).0, Ok(4));
    assert_eq!((slow.positions(), fast.positions()), (vec![0, 1, 2, 3], vec![4, 5, 6, 7, 8, 9]));
    assert_eq!(ours.backlog(FLOW).await, Ok(0));
}
