//! Counters by size.

use tally_domain::{CounterTable, Flow, Value};
use tally_ports::{Counters, Greatest};

use super::Store;
use super::versions::Reader;
use crate::accounts::{Accounts, VOTES, VOTES_BY_HOUR, record, vote, vote_in_hour};

async fn greatest(
    sink: &impl Counters,
    table: usize,
    limit: Option<usize>,
) -> (Vec<(String, i64)>, i64) {
    let flow = Accounts::default();
    let table = CounterTable::of(&flow.tables()[table]).expect("one number by one key");
    let Greatest { counts, total } = sink.greatest(table, limit).await.unwrap();
    (counts.into_iter().map(|counted| (counted.key, counted.count)).collect(), total)
}

fn expected(counts: &[(&str, i64)], total: i64) -> (Vec<(String, i64)>, i64) {
    (counts.iter().map(|&(key, count)| (key.to_owned(), count)).collect(), total)
}

/// Beside the sum of all; equal ones byte by byte, whatever the language of the database.
pub async fn the_greatest_counters_come_first(store: &impl Store) {
    let sink = store.open().await;
    assert_eq!(greatest(&sink, VOTES, None).await, expected(&[], 0));
    assert_eq!(greatest(&sink, VOTES, Some(3)).await, expected(&[], 0));

    let mut reader = Reader::begin(&sink, 0, false).await;
    let many = 5_000_000_000;
    let votes = [
        ("z", 2),
        ("a", 2),
        ("é", 2),
        ("Z", 2),
        ("a b", 2),
        ("ab", 2),
        ("10", 3),
        ("9", 3),
        ("", 2),
        ("many", many),
        ("none", 0),
        ("less", -1),
        ("a\u{1}\"\\\n", 1),
        ("a", 1),
    ];
    let rows = (0..).zip(votes).map(|(at, (choice, votes))| record(at, [vote(choice, votes)]));
    assert_eq!(reader.read(rows.collect()).await, (14, 0));
    let all = [
        ("many", many),
        ("10", 3),
        ("9", 3),
        ("a", 3),
        ("", 2),
        ("Z", 2),
        ("a b", 2),
        ("ab", 2),
        ("z", 2),
        ("é", 2),
        ("a\u{1}\"\\\n", 1),
        ("none", 0),
        ("less", -1),
    ];
    let total = many + 21;
    for limit in [None, Some(13), Some(usize::MAX)] {
        assert_eq!(greatest(&sink, VOTES, limit).await, expected(&all, total));
    }
    assert_eq!(greatest(&sink, VOTES, Some(6)).await, expected(&all[..6], total));
    assert_eq!(greatest(&sink, VOTES, Some(1)).await, expected(&all[..1], total));
}

/// In UTC, in their order.
pub async fn counters_of_hours_are_in_utc(store: &impl Store) {
    let sink = store.open().await;
    let mut reader = Reader::begin(&sink, 0, false).await;
    let rows =
        (0..).zip(["2024-03-31T09:00:00+02:00", "2024-03-31T06:00:00Z", "2024-03-31T08:00:00Z"]);
    let rows =
        rows.map(|(at, hour)| record(at, [vote_in_hour(Value::Instant(hour.parse().unwrap()))]));
    assert_eq!(reader.read(rows.collect()).await, (3, 0));
    let hours =
        [("2024-03-31 06:00:00", 1), ("2024-03-31 07:00:00", 1), ("2024-03-31 08:00:00", 1)];
    assert_eq!(greatest(&sink, VOTES_BY_HOUR, None).await, expected(&hours, 3));
}
