//! Versions of rows: which one stays.

use std::sync::Arc;

use tally_ports::publish::default_topics;
use tally_ports::{
    Attempted, Claim, Position, Positions, Refused, Replay as _, ReplayAttempt, Replayed, Row,
    Sink, State, Stream,
};

use super::commits::commit;
use super::replays::{Replays, identity, replay_act};
use super::{ACCOUNTS, PRICES, Record, Store};
use crate::accounts::{Accounts, account, happening, no_account, no_price, price, record};
use crate::build::{self, AGAIN, LONG, TOLERANCE, dead_letter, flow_named, stream};

/// A batch is written together or, when one of its records is refused, row by row: with the same result.
pub(super) const IS_SPOILT: [bool; 2] = [false, true];

/// A reader of a partition of the accounts.
pub(super) struct Reader<'a, S> {
    sink: &'a S,
    pub(super) stream: Arc<Stream>,
    pub(super) position: Position,
    is_spoilt: bool,
}

impl<'a, S: Sink + Positions> Reader<'a, S> {
    pub(super) async fn begin(sink: &'a S, partition: i32, is_spoilt: bool) -> Self {
        let stream = stream::<Accounts>(if is_spoilt { "group/spoilt" } else { "group/topic" });
        let stream = Arc::new(Stream { partition, ..(*stream).clone() });
        let position = claim(sink, &stream).await;
        Self { sink, stream, position, is_spoilt }
    }

    /// Commits the rows; returns how many were written and superseded.
    pub(super) async fn read(&mut self, mut rows: Vec<Row>) -> (i64, i64) {
        let mut last = rows.last().expect("a row").position;
        if self.is_spoilt {
            last += 1;
            rows.push(record(last, [happening("")]));
        }
        let range = self.position.next..=last;
        let batch = build::commit(&self.position, &self.stream, range, rows, vec![]);
        let committed = commit(self.sink, batch).await.unwrap();
        let refused: Vec<i64> =
            committed.refused.iter().map(|Refused { position, .. }| *position).collect();
        assert_eq!(refused, if self.is_spoilt { vec![last] } else { vec![] });
        self.position.next = last + 1;
        (committed.written, committed.superseded)
    }

    /// Begins another pass, from 0.
    pub(super) async fn begin_again(&mut self) {
        let finishing = self.sink.finish(&self.position.lease, self.position.next, TOLERANCE);
        finishing.await.unwrap().expect("nothing is left to publish");
        self.position = claim(self.sink, &self.stream).await;
    }
}

async fn claim(sink: &impl Positions, stream: &Stream) -> Position {
    match sink.claim(stream, "a", LONG, AGAIN).await.unwrap() {
        Claim::Owned(position) => position,
        other => panic!("{other:?}"),
    }
}

/// The names of accounts, and the positions that wrote them; no name where it is gone.
async fn names(store: &impl Store) -> Vec<(i64, String, i64)> {
    let name = |row: &Record| {
        let name = row.get("name").unwrap_or("-").to_owned();
        assert_eq!(row.get("deleted_at").is_some(), name == "-", "{row:?}");
        (row.number("id"), name, row.number("position"))
    };
    store.read(&ACCOUNTS).await.iter().map(name).collect()
}

fn named(id: i64, name: &str, position: i64) -> (i64, String, i64) {
    (id, name.to_owned(), position)
}

/// Within a partition the higher position stays, and of the same one the later reading.
pub async fn the_newest_position_wins_whichever_pass_wrote_it(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let mut reader = Reader::begin(&sink, i32::from(is_spoilt), is_spoilt).await;
        let one = i64::from(is_spoilt) * 10;
        let rows = vec![
            record(0, [account(one, "a")]),
            record(1, [account(one + 1, "b")]),
            record(5, [account(one, "c")]),
        ];
        assert_eq!(reader.read(rows).await, (2, 1));
        reader.begin_again().await;
        let rows = vec![
            record(0, [account(one, "a again")]),
            record(1, [account(one + 1, "b again")]),
            record(2, [account(one + 2, "new")]),
        ];
        assert_eq!(reader.read(rows).await, (2, 1));
        let expected = [named(one, "c", 5), named(one + 1, "b again", 1), named(one + 2, "new", 2)];
        assert_eq!(names(store).await[usize::from(is_spoilt) * 3..], expected);
        let rows = vec![record(5, [account(one, "c again")])];
        assert_eq!(reader.read(rows).await, (1, 0), "the same position");
        let found = &names(store).await[usize::from(is_spoilt) * 3];
        assert_eq!(*found, named(one, "c again", 5));
    }
}

/// The positions of a recreated topic begin again, and are newer than all before.
pub async fn a_position_of_a_later_log_is_newer(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let id = i64::from(is_spoilt);
        assert_eq!(reader.read(vec![record(7, [account(id, "old")])]).await, (1, 0));
        reader.begin_again().await;
        store.restart_logs().await;
        reader.position = claim(&sink, &reader.stream).await;
        assert_eq!(reader.position.log, 2);
        assert_eq!(reader.read(vec![record(3, [account(id, "new")])]).await, (1, 0));
        assert_eq!(names(store).await[usize::from(is_spoilt)], named(id, "new", 3));
        reader.begin_again().await;
        assert_eq!(reader.position.log, 2, "a pass goes on in the log of the one before");
    }
}

/// Positions of different partitions have no order.
pub async fn across_partitions_the_later_write_wins(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let id = i64::from(is_spoilt);
        let mut one = Reader::begin(&sink, 0, is_spoilt).await;
        let mut other = Reader::begin(&sink, 1, is_spoilt).await;
        assert_eq!(one.read(vec![record(9, [account(id, "one")])]).await, (1, 0));
        assert_eq!(other.read(vec![record(2, [account(id, "other")])]).await, (1, 0));
        assert_eq!(names(store).await[usize::from(is_spoilt)], named(id, "other", 2));
        assert_eq!(one.read(vec![record(12, [account(id, "one again")])]).await, (1, 0));
        assert_eq!(names(store).await[usize::from(is_spoilt)], named(id, "one again", 12));
    }
}

/// The price of each item, in order.
async fn prices(store: &impl Store) -> Vec<(String, String)> {
    let price = |row: &Record| (row["item"].to_owned(), row.get("price").unwrap_or("-").to_owned());
    store.read(&PRICES).await.iter().map(price).collect()
}

/// Not the later position but the greater version, within a batch and across batches; of equal ones the later position.
pub async fn the_greater_version_wins(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let name = |item: &str| format!("{item} {is_spoilt}");
        let (tea, rum, gin) = (name("tea"), name("rum"), name("gin"));
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let rows = vec![
            record(0, [price(&tea, "10:00:00", 200)]),
            record(1, [price(&tea, "09:00:00", 100)]),
            record(2, [price(&rum, "09:00:00", 900)]),
            record(3, [price(&rum, "09:00:00", 901)]),
            record(4, [price(&gin, "09:00:00", 500)]),
        ];
        assert_eq!(reader.read(rows).await, (3, 2));
        let rows = vec![
            record(6, [price(&tea, "09:59:59.9", 150)]),
            record(7, [price(&rum, "09:00:00.1", 902)]),
        ];
        assert_eq!(reader.read(rows).await, (1, 1));
        reader.begin_again().await;
        let rows = vec![
            record(0, [price(&tea, "10:00:00", 201)]),
            record(2, [price(&rum, "09:00:00", 900)]),
            record(3, [price(&gin, "09:00:00", 499)]),
        ];
        let found = reader.read(rows).await;
        assert_eq!(found, (1, 2), "of the same version the same position wins, and no earlier one");
        let mut found = prices(store).await;
        found.retain(|(item, _)| item.ends_with(&is_spoilt.to_string()));
        let expected = [(gin, "5.00"), (rum, "9.02"), (tea, "2.01")];
        assert_eq!(found, expected.map(|(item, price)| (item, price.to_owned())));
    }
}

/// By nothing older; something newer brings it back.
pub async fn a_deleted_row_is_not_resurrected(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let id = i64::from(is_spoilt);
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let item = format!("tea {is_spoilt}");
        let rows = vec![
            record(0, [account(id, "a"), price(&item, "09:00:00", 100)]),
            record(3, [no_account(id), no_price(&item, "10:00:00")]),
        ];
        assert_eq!(reader.read(rows).await, (1, 1));
        let place = usize::from(is_spoilt);
        assert_eq!(names(store).await[place], named(id, "-", 3));
        reader.begin_again().await;
        let rows = vec![record(1, [account(id, "older"), price(&item, "09:59:00", 100)])];
        assert_eq!(reader.read(rows).await, (0, 1));
        assert_eq!(names(store).await[place], named(id, "-", 3));
        let marked = &store.read(&PRICES).await[place];
        assert!(marked.get("price").is_none() && marked.get("deleted_at").is_some());
        assert_eq!(&marked["updated_at"], "2024-01-15 10:00:00");
        let rows = vec![
            record(4, [account(id, "back"), price(&item, "10:00:01", 300)]),
            record(9, [account(id + 7, "another")]),
        ];
        assert_eq!(reader.read(rows).await, (2, 0));
        assert_eq!(names(store).await[place], named(id, "back", 4));
        let live = &store.read(&PRICES).await[place];
        assert!(&live["price"] == "3.00" && live.get("deleted_at").is_none());
        sink.release(&reader.position.lease).await.unwrap();
    }
}

/// So nothing older comes after it.
pub async fn a_delete_of_nothing_leaves_a_mark(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let id = i64::from(is_spoilt);
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        assert_eq!(reader.read(vec![record(5, [no_account(id)])]).await, (1, 0));
        assert_eq!(names(store).await[usize::from(is_spoilt)], named(id, "-", 5));
        reader.begin_again().await;
        assert_eq!(reader.read(vec![record(2, [account(id, "older")])]).await, (0, 1));
        assert_eq!(names(store).await[usize::from(is_spoilt)], named(id, "-", 5));
    }
}

/// A dead letter of the accounts at this position, valid now.
pub(super) fn attempt(row: Row) -> Arc<ReplayAttempt> {
    Arc::new(ReplayAttempt {
        flow: flow_named(Accounts::NAME),
        identity: identity::<Accounts>("group/topic", 1, row.position, 1),
        result: Attempted::Valid(row),
        kept: None,
        topics: default_topics(&Accounts::default()),
    })
}

/// A reader whose first positions are dead letters.
pub(super) async fn fail<S: Sink + Positions>(sink: &S, positions: i64) -> Reader<'_, S> {
    let mut reader = Reader::begin(sink, 0, false).await;
    let letters = (0..positions).map(dead_letter).collect();
    let range = 0..=positions - 1;
    let batch = build::commit(&reader.position, &reader.stream, range, vec![], letters);
    commit(sink, batch).await.unwrap();
    reader.position.next = positions;
    reader
}

/// Within its partition also what another pass wrote; nothing of another partition.
pub async fn a_replay_of_a_position_overwrites_what_is_older<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let mut reader = fail(&sink, 6).await;
    assert_eq!(reader.read(vec![record(6, [account(1, "newer")])]).await, (1, 0));
    let mut other = Reader::begin(&sink, 1, false).await;
    assert_eq!(other.read(vec![record(0, [account(2, "elsewhere")])]).await, (1, 0));
    reader.begin_again().await;
    assert_eq!(reader.read(vec![record(2, [account(3, "older")])]).await, (1, 0));

    let logged_act = replay_act();
    for (position, id, expected) in [
        (5, 1, State::Outdated),
        (4, 2, State::Outdated),
        (3, 3, State::Replayed),
        (0, 3, State::Outdated),
        (1, 4, State::Replayed),
    ] {
        let attempt = attempt(record(position, [account(id, "replayed")]));
        let replayed = sink.replay(&attempt, Some(&logged_act)).await.unwrap();
        assert_eq!(replayed.state(), expected, "{position} of {id}");
    }
    let expected = [
        named(1, "newer", 6),
        named(2, "elsewhere", 0),
        named(3, "replayed", 3),
        named(4, "replayed", 1),
    ];
    assert_eq!(names(store).await, expected);
}

/// The greater version wins, wherever it comes from; of equal ones the later position of the same partition.
pub async fn a_replay_of_a_version_overwrites_what_is_older<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let mut reader = fail(&sink, 6).await;
    assert_eq!(reader.read(vec![record(6, [price("tea", "09:00:00", 100)])]).await, (1, 0));
    let mut other = Reader::begin(&sink, 1, false).await;
    assert_eq!(other.read(vec![record(0, [price("rum", "09:00:00", 100)])]).await, (1, 0));

    let logged_act = replay_act();
    for (position, item, since, expected) in [
        (0, "tea", "08:59:59", State::Outdated),
        (1, "tea", "09:00:00", State::Outdated),
        (2, "tea", "09:00:01", State::Replayed),
        (3, "rum", "09:00:00", State::Outdated),
        (4, "rum", "09:00:01", State::Replayed),
    ] {
        let attempt = attempt(record(position, [price(item, since, 500 + position)]));
        let replayed = sink.replay(&attempt, Some(&logged_act)).await.unwrap();
        assert_eq!(replayed.state(), expected, "{position} of {item}");
    }
    let expected = [("rum", "5.04"), ("tea", "5.02")];
    assert_eq!(
        prices(store).await,
        expected.map(|(item, price)| (item.to_owned(), price.to_owned()))
    );
    let nothing = Arc::new(ReplayAttempt {
        identity: identity::<Accounts>("group/topic", 1, 5, 1),
        ..Arc::into_inner(attempt(record(5, [no_price("tea", "08:00:00")]))).unwrap()
    });
    assert_eq!(sink.replay(&nothing, Some(&logged_act)).await, Ok(Replayed::Outdated));
}
