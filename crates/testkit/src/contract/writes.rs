//! Writes other than upserts, and records with several writes.

use tally_domain::{Action, Value, Write};
use tally_ports::{
    Change, Committed, DeadLetters as _, Fault, Replay as _, Replayed, State, StopKind,
};
use uuid::Uuid;

use super::claims::own;
use super::commits::commit;
use super::replays::{Replays, identity, replay_act};
use super::versions::{IS_SPOILT, Reader, attempt, fail};
use super::{ACCOUNTS, BATCHES, DEAD_LETTERS, HAPPENINGS, Record, Store, TOTALS};
use crate::accounts::{Accounts, account, happening, happening_with, record, total};
use crate::build::{self, LONG, dead_letter, stream};

/// The happenings of a stream: log, position, number and name.
async fn happened(store: &impl Store, stream: &str) -> Vec<(i64, i64, i64, String)> {
    let happening = |row: &Record| {
        (row.number("log"), row.number("position"), row.number("n"), row["what"].to_owned())
    };
    let rows = store.read(&HAPPENINGS).await;
    rows.iter().filter(|row| &row["stream"] == stream).map(happening).collect()
}

fn happenings(expected: &[(i64, i64, i64, &str)]) -> Vec<(i64, i64, i64, String)> {
    let happening =
        |&(log, position, n, what): &(_, _, _, &str)| (log, position, n, what.to_owned());
    expected.iter().map(happening).collect()
}

/// Values of every type, written together and row by row.
pub async fn all_kinds_of_values_are_stored(store: &impl Store) {
    let sink = store.open().await;
    let moment = "2024-01-15T08:30:00.25Z".parse().unwrap();
    let details = r#"{"a": [1, "é\"'\\"], "b": null}"#;
    let id = Uuid::from_u128(7);
    for is_spoilt in IS_SPOILT {
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let values = [
            Value::Json(details.into()),
            Value::Instant(moment),
            Value::Boolean(true),
            Value::Uuid(id),
        ];
        let text = "it's \"quoted\", \\ and ? and $1 and {} and é";
        let rows = vec![
            record(0, [happening_with(text, values)]),
            record(1, [happening("nothing known")]),
        ];
        assert_eq!(reader.read(rows).await, (2, 0));
        let rows = store.read(&HAPPENINGS).await;
        let [known, unknown] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(&known["what"], text);
        assert_eq!(
            known.json("details"),
            serde_json::from_str::<serde_json::Value>(details).unwrap()
        );
        assert!(known["at"].starts_with("2024-01-15 08:30:00.25"), "{}", &known["at"]);
        assert!(["true", "1"].contains(&&known["was_seen"]), "{}", &known["was_seen"]);
        assert_eq!(&known["by"], id.to_string());
        let nulls = ["details", "at", "was_seen", "by"].map(|column| unknown.get(column));
        assert_eq!(nulls, [None; 4]);
        // So that the next ones are alone.
        reader.begin_again().await;
        let batch = build::commit(&reader.position, &reader.stream, 0..=1, vec![], vec![]);
        commit(&sink, batch).await.unwrap();
    }
}

/// Of the positions that it read, whatever was there before; of no others.
pub async fn a_reading_again_leaves_exactly_its_own_rows(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let stream = reader.stream.name.clone();
        let rows = vec![
            record(0, [happening("a"), account(1, "x"), happening("b")]),
            record(1, [happening("c")]),
            record(7, [happening("d")]),
        ];
        assert_eq!(reader.read(rows).await, (3, 0));
        let first = happenings(&[(1, 0, 0, "a"), (1, 0, 1, "b"), (1, 1, 0, "c"), (1, 7, 0, "d")]);
        assert_eq!(happened(store, &stream).await, first);

        reader.begin_again().await;
        assert_eq!(reader.read(vec![record(0, [happening("b")])]).await, (1, 0));
        let left = if is_spoilt {
            happenings(&[(1, 0, 0, "b"), (1, 7, 0, "d")]) // the refused one was at 1
        } else {
            happenings(&[(1, 0, 0, "b"), (1, 1, 0, "c"), (1, 7, 0, "d")])
        };
        assert_eq!(happened(store, &stream).await, left);
        let next = reader.position.next;
        let letters = vec![dead_letter(next)];
        let batch = build::commit(&reader.position, &reader.stream, next..=7, vec![], letters);
        commit(&sink, batch).await.unwrap();
        assert_eq!(happened(store, &stream).await, happenings(&[(1, 0, 0, "b")]));

        reader.position.next = 8;
        reader.begin_again().await;
        store.restart_logs().await;
        reader.position = own(&sink, &reader.stream, "a", LONG).await;
        assert_eq!(reader.read(vec![record(0, [happening("e")])]).await, (1, 0));
        let both = happenings(&[(1, 0, 0, "b"), (2, 0, 0, "e")]);
        assert_eq!(happened(store, &stream).await, both, "another log's are others");
    }
}

async fn totals(store: &impl Store) -> Vec<(String, i64, String)> {
    let total =
        |row: &Record| (row["day"].to_owned(), row.number("count"), row["amount"].to_owned());
    store.read(&TOTALS).await.iter().map(total).collect()
}

/// Exactly, below zero too, within a record, a batch and across batches.
pub async fn counters_add_up(store: &impl Store) {
    let sink = store.open().await;
    let mut expected = Vec::new();
    for is_spoilt in IS_SPOILT {
        let day = |name: &str| format!("{name} {is_spoilt}");
        let (monday, tuesday) = (day("monday"), day("tuesday"));
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let rows = vec![
            record(0, [total(&monday, 10), total(&tuesday, -300)]),
            record(1, [total(&monday, 20), total(&monday, -34)]),
        ];
        assert_eq!(reader.read(rows).await, (2, 0));
        let mut found = totals(store).await;
        found.retain(|(day, ..)| day.ends_with(&is_spoilt.to_string()));
        let sums =
            [(monday.clone(), 3, "-0.04".to_owned()), (tuesday.clone(), 1, "-3.00".to_owned())];
        assert_eq!(found, sums);
        let rows = vec![record(5, [total(&monday, 999), total(&tuesday, 300)])];
        assert_eq!(reader.read(rows).await, (1, 0));
        expected.extend([(monday, 4, "9.95".to_owned()), (tuesday, 2, "0.00".to_owned())]);
        expected.sort();
        assert_eq!(totals(store).await, expected);
    }
}

/// A record of which one write is refused leaves nothing, its neighbours all.
pub async fn the_writes_of_a_record_stand_or_fall_together(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Accounts>("group/topic");
    let position = own(&sink, &stream, "a", LONG).await;
    let rows = vec![
        record(0, [account(1, "a"), happening("a"), total("monday", 100)]),
        record(1, [account(1, "b"), total("monday", 1), happening("b"), happening("")]),
        record(2, [happening(""), account(2, "c"), total("tuesday", 1)]),
        record(3, [account(3, "d"), happening("d"), total("monday", 100)]),
    ];
    let batch = build::commit(&position, &stream, 0..=3, rows, vec![]);
    let committed = commit(&sink, batch).await.unwrap();
    let refused: Vec<_> =
        committed.refused.iter().map(|refused| (refused.position, refused.code.as_str())).collect();
    assert_eq!(refused, [(1, store.refusal_code()), (2, store.refusal_code())]);
    assert_eq!((committed.written, committed.superseded), (2, 0));

    let accounts = store.read(&ACCOUNTS).await;
    let names: Vec<_> = accounts.iter().map(|row| (row.number("id"), &row["name"])).collect();
    assert_eq!(names, [(1, "a"), (3, "d")]);
    let expected = happenings(&[(1, 0, 0, "a"), (1, 3, 0, "d")]);
    assert_eq!(happened(store, "group/topic").await, expected);
    assert_eq!(totals(store).await, [("monday".to_owned(), 2, "2.00".to_owned())]);
}

/// With something else written it is not, nor with one of two rows.
pub async fn a_record_is_superseded_when_nothing_of_it_was_written(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let ids = i64::from(is_spoilt) * 10;
        let (one, two) = (|name| account(ids + 1, name), |name| account(ids + 2, name));
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        assert_eq!(reader.read(vec![record(9, [one("a"), two("a")])]).await, (1, 0));
        reader.begin_again().await;
        let rows = vec![
            record(0, [one("b"), two("b")]),
            record(1, [one("c"), happening("c")]),
            record(2, [one("d"), account(ids + 3, "d")]),
            record(3, [account(ids + 3, "e")]),
            record(4, [two("f"), account(ids + 4, "f")]),
        ];
        assert_eq!(reader.read(rows).await, (3, 2), "those at 0 and 2");
        let accounts = store.read(&ACCOUNTS).await;
        let names: Vec<_> = accounts.iter().map(|row| (row.number("id"), &row["name"])).collect();
        let expected = [(ids + 1, "a"), (ids + 2, "a"), (ids + 3, "e"), (ids + 4, "f")];
        assert_eq!(names[usize::from(is_spoilt) * 4..], expected);
    }
}

/// By the flow's rule it has no effect.
pub async fn a_record_without_writes_is_skipped(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Accounts>("group/topic");
    let position = own(&sink, &stream, "a", LONG).await;
    for (at, spoiler) in [(0, "fine"), (3, "")] {
        let rows = vec![
            record(at, []),
            record(at + 1, [account(at, "a")]),
            record(at + 2, [happening(spoiler)]),
        ];
        let batch = build::commit(&position, &stream, at..=at + 2, rows, vec![]);
        let committed = commit(&sink, batch).await.unwrap();
        assert_eq!((committed.skipped, committed.superseded), (1, 0));
        assert_eq!(committed.written, if spoiler.is_empty() { 1 } else { 2 });
    }
    assert_eq!(&store.read(&BATCHES).await[1]["skipped"], "1");
}

/// A fault of the flow, which no dead letter hides.
pub async fn a_write_that_is_not_described_stops(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Accounts>("group/topic");
    let position = own(&sink, &stream, "a", LONG).await;
    let mut wrong =
        [account(1, "a"), account(1, "a"), account(1, "a"), account(1, "a"), account(1, "a")];
    wrong[0].table = 99;
    wrong[1].action = Action::Append;
    wrong[2].values.pop();
    wrong[3].values[1] = Value::Boolean(true);
    wrong[4].action = Action::Delete; // and keeps its name
    for write in wrong {
        let batch = build::commit(&position, &stream, 0..=0, vec![record(0, [write])], vec![]);
        match commit(&sink, batch).await {
            Err(Fault::Stop(stop)) => assert_eq!(stop.kind, StopKind::Data, "{stop}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(store.read(&BATCHES).await.is_empty() && store.read(&ACCOUNTS).await.is_empty());
    let nothing: [Write; 0] = [];
    let batch = build::commit(&position, &stream, 0..=0, vec![record(0, nothing)], vec![]);
    assert_eq!(commit(&sink, batch).await, Ok(Committed { skipped: 1, ..Committed::default() }));
}

/// Refused, it leaves nothing.
pub async fn a_replay_appends_its_rows<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    fail(&sink, 3).await;
    let logged_act = replay_act();
    let refused = attempt(record(0, [happening("e"), total("monday", 1), happening("")]));
    assert_eq!(sink.replay(&refused, Some(&logged_act)).await.unwrap().state(), State::Retried);
    let replayed = attempt(record(1, [account(1, "f"), happening("f"), total("monday", 1)]));
    assert_eq!(sink.replay(&replayed, Some(&logged_act)).await, Ok(Replayed::Written));
    assert_eq!(happened(store, "group/topic").await, happenings(&[(1, 1, 0, "f")]));
    assert_eq!(totals(store).await, [("monday".to_owned(), 1, "0.01".to_owned())]);
}

/// A replay counts what the pass that read its record first left out, once.
pub async fn a_replay_counts_once<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let mut reader = fail(&sink, 2).await;
    let logged_act = replay_act();
    let first = attempt(record(0, [total("monday", 1)]));
    assert_eq!(sink.replay(&first, Some(&logged_act)).await, Ok(Replayed::Written));
    reader.begin_again().await;
    assert_eq!(reader.read(vec![record(0, [total("monday", 1)])]).await, (1, 0));
    assert_eq!(totals(store).await, [("monday".to_owned(), 1, "0.01".to_owned())]);

    // The re-read closes the dead letter: nothing is left to replay.
    assert_eq!(reader.read(vec![record(1, [total("monday", 5)])]).await, (1, 0));
    let second = attempt(record(1, [total("monday", 5)]));
    let found = sink.replay(&second, Some(&logged_act)).await;
    assert_eq!(found, Ok(Replayed::NotOpen(State::Outdated)));
    assert_eq!(totals(store).await, [("monday".to_owned(), 2, "0.06".to_owned())]);
}

/// A record that is refused again takes over the state of its earlier dead letter.
pub async fn a_re_read_keeps_what_was_decided<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let mut reader = fail(&sink, 2).await;
    let discarded = identity::<Accounts>("group/topic", 1, 0, 1).id();
    assert_eq!(sink.change(&[discarded], Change::Discard, &replay_act()).await, Ok(1));
    reader.begin_again().await;
    let letters = vec![dead_letter(0), dead_letter(1)];
    let batch = build::commit(&reader.position, &reader.stream, 0..=1, vec![], letters);
    commit(&sink, batch).await.unwrap();
    let letters = store.read(&DEAD_LETTERS).await;
    let found: Vec<_> = letters
        .iter()
        .map(|letter| (letter.number("pass"), letter.number("position"), &letter["state"]))
        .collect();
    let expected = [(1, 0, "discarded"), (1, 1, "open"), (2, 0, "discarded"), (2, 1, "open")];
    assert_eq!(found, expected);
}

/// Whatever pass reads them, records of a log are counted once; those of a dead letter when they are read well.
pub async fn a_re_read_counts_nothing_twice(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let day = if is_spoilt { "spoilt" } else { "good" };
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let rows = |good: &[i64]| -> Vec<_> {
            good.iter().map(|&position| record(position, [total(day, 100)])).collect()
        };
        let batch = build::commit(
            &reader.position,
            &reader.stream,
            0..=2,
            rows(&[0, 2]),
            vec![dead_letter(1)],
        );
        commit(&sink, batch).await.unwrap();
        reader.position.next = 3;
        let counted = async || {
            let found = totals(store).await;
            found.into_iter().find(|(name, ..)| name == day).map(|(_, count, _)| count)
        };
        assert_eq!(counted().await, Some(2));

        reader.begin_again().await;
        assert_eq!(reader.read(rows(&[0, 1, 2])).await, (3, 0));
        assert_eq!(counted().await, Some(3), "the dead letter of the first pass is counted now");
        let states: Vec<_> = store.read(&DEAD_LETTERS).await;
        let first = states.iter().find(|letter| {
            letter.number("position") == 1 && letter["stream"] == reader.stream.name
        });
        let first = first.unwrap();
        assert_eq!((&first["state"], &first["outdated_by"]), ("outdated", "position"));

        reader.begin_again().await;
        assert_eq!(reader.read(rows(&[0, 1, 2, 3])).await, (4, 0));
        assert_eq!(counted().await, Some(4), "only what is read well for the first time");
    }
}
