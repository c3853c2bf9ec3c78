//! Records to publish.

use std::sync::Arc;

use serde_json::json;
use tally_ports::{
    Attempted, Begin, Claim, Earlier, OpenDeadLetter, Outbox as _, OutgoingRecord, Positions as _,
    Replay as _, ReplayAttempt, Replayed, Row, Sink as _, State,
};

use super::claims::{assert_taken, own};
use super::commits::commit;
use super::replays::{Replays, identity, replay_act};
use super::versions::{IS_SPOILT, Reader, attempt, fail};
use super::{DEAD_LETTERS, OUTBOX, Record, Store};
use crate::accounts::{account, happening, record};
use crate::alerts::{Alerts, alert, publication};
use crate::build::{self, AGAIN, LONG, TOLERANCE, dead_letter, flow_named, stream};

/// A row that names an account and publishes these values.
fn publishing(position: i64, values: &[&str]) -> Row {
    let mut row = record(position, [account(position, "a")]);
    row.record.publications = values.iter().map(|value| publication("k", value)).collect();
    row
}

/// The outbox of a stream: number, value and id.
async fn waiting(store: &impl Store, stream: &str) -> Vec<(i64, String, String)> {
    let waiting = |row: &Record| {
        let value = String::from_utf8(row.bytes("value").unwrap()).unwrap();
        (row.number("number"), value, header(row, "tally.id").unwrap())
    };
    let rows = store.read(&OUTBOX).await;
    rows.iter().filter(|row| &row["stream"] == stream).map(waiting).collect()
}

fn expected(stream: &str, rows: &[(i64, &str, &str)]) -> Vec<(i64, String, String)> {
    let expected = |&(number, value, id): &(i64, &str, &str)| {
        (number, value.to_owned(), format!("{stream}/{id}"))
    };
    rows.iter().map(expected).collect()
}

/// The text of a header.
fn header(row: &Record, name: &str) -> Option<String> {
    let headers = tally_ports::dead_letter::headers_from_json(&row.json("headers")).unwrap();
    let (_, value) = headers.iter().find(|(found, _)| found == name)?;
    Some(String::from_utf8(value.as_ref()?.to_vec()).unwrap())
}

/// With its rows, numbered on from batch to batch and from pass to pass; nothing of a record that the database refused.
pub async fn records_to_publish_are_numbered_through_all_passes(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let name = reader.stream.name.clone();
        let mut refused = record(2, [happening("")]);
        refused.record.publications = vec![publication("k", "never")];
        let mut rows = vec![publishing(0, &["a", "b"]), publishing(1, &["c"])];
        if is_spoilt {
            rows.push(refused);
            rows.push(publishing(3, &["d"]));
            let batch = build::commit(&reader.position, &reader.stream, 0..=3, rows, vec![]);
            assert_eq!(commit(&sink, batch).await.unwrap().written, 3);
            reader.position.next = 4;
        } else {
            rows.push(publishing(3, &["d"]));
            assert_eq!(reader.read(rows).await, (3, 0));
        }
        let first =
            [(0, "a", "0/1/0/0"), (1, "b", "0/1/0/1"), (2, "c", "0/1/1/0"), (3, "d", "0/1/3/0")];
        assert_eq!(waiting(store, &name).await, expected(&name, &first));
        let rows = store.read(&OUTBOX).await;
        let row = rows.iter().find(|row| row["stream"] == name).unwrap();
        assert_eq!((&row["flow"], &row["topic"]), ("accounts", "account-changes"));
        assert_eq!(row.bytes("key").unwrap(), b"k");
        let headers = row.json("headers");
        assert_eq!(headers[0], json!(["kind", "dGVzdA=="]));
        assert_eq!(headers[1], json!(["empty", null]));
        assert_eq!(header(row, "tally.flow").as_deref(), Some("accounts"));
        assert_eq!(header(row, "tally.replay"), None);

        sink.published(&reader.position.lease, 2).await.unwrap();
        assert_eq!(waiting(store, &name).await, expected(&name, &first[3..]));
        sink.published(&reader.position.lease, 3).await.unwrap();
        reader.begin_again().await;
        reader.position.next = 0;
        assert_eq!(reader.read(vec![publishing(9, &["e"])]).await, (1, 0));
        assert_eq!(waiting(store, &name).await, expected(&name, &[(4, "e", "0/1/9/0")]));
    }
}

/// What was read once is not published again, but for what was a dead letter then.
pub async fn a_re_read_publishes_nothing_twice(store: &impl Store) {
    let sink = store.open().await;
    for is_spoilt in IS_SPOILT {
        let mut reader = Reader::begin(&sink, 0, is_spoilt).await;
        let name = reader.stream.name.clone();
        let rows = vec![publishing(0, &["a"]), publishing(2, &["c"])];
        let batch =
            build::commit(&reader.position, &reader.stream, 0..=2, rows, vec![dead_letter(1)]);
        let batch = Arc::new(batch);
        for _ in 0..2 {
            assert_eq!(sink.commit(&batch).await.unwrap().written, 2, "the same batch");
        }
        reader.position.next = 3;
        let first = expected(&name, &[(0, "a", "0/1/0/0"), (1, "c", "0/1/2/0")]);
        assert_eq!(waiting(store, &name).await, first);
        sink.published(&reader.position.lease, 1).await.unwrap();

        reader.begin_again().await;
        let rows = vec![
            publishing(0, &["a"]),
            publishing(1, &["b"]),
            publishing(2, &["c"]),
            publishing(3, &["d"]),
        ];
        assert_eq!(reader.read(rows).await, (4, 0));
        let new = expected(&name, &[(2, "b", "0/1/1/0"), (3, "d", "0/1/3/0")]);
        assert_eq!(waiting(store, &name).await, new);
    }
}

/// In order, no more than asked for and about 4 MiB, and nothing of another partition.
pub async fn an_outbox_is_handed_out_in_order(store: &impl Store) {
    let sink = store.open().await;
    let mut reader = Reader::begin(&sink, 0, false).await;
    let mut other = Reader::begin(&sink, 1, false).await;
    let large = "x".repeat(3 * 1024 * 1024);
    let rows = vec![publishing(0, &["a", "b"]), publishing(1, &[&large, &large])];
    reader.read(rows).await;
    other.read(vec![publishing(100, &["other"])]).await;
    assert_eq!(sink.unpublished("accounts").await, Ok(5));

    let (ours, theirs) = (&reader.position.lease, &other.position.lease);
    let numbers = async |limit| {
        let records = sink.outbox(ours, limit).await.unwrap();
        records.iter().map(|record| record.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(1).await, [0]);
    assert_eq!(numbers(10).await, [0, 1, 2], "another one would be over 4 MiB");
    sink.published(ours, 2).await.unwrap();
    assert_eq!(numbers(10).await, [3]);
    let [only] = sink.outbox(theirs, 10).await.unwrap().try_into().unwrap();
    assert_eq!((only.number, only.record.value.as_deref()), (0, Some(&b"other"[..])));
    sink.published(theirs, 0).await.unwrap();
    assert_eq!(sink.unpublished("accounts").await, Ok(1));
    assert_eq!(sink.unpublished("visits").await, Ok(0));
}

/// Neither after a takeover nor after the next pass has begun.
pub async fn a_former_owner_relays_nothing(store: &impl Store) {
    let sink = store.open().await;
    let mut reader = Reader::begin(&sink, 0, false).await;
    reader.read(vec![publishing(0, &["a"])]).await;
    let former = reader.position.lease;
    sink.release(&former).await.unwrap();
    let new = own(&sink, &reader.stream, "b", LONG).await.lease;
    assert_taken(sink.outbox(&former, 10).await);
    assert_taken(sink.published(&former, 0).await);
    assert_eq!(sink.outbox(&new, 10).await.unwrap().len(), 1);
    sink.published(&new, 0).await.unwrap();

    sink.finish(&new, 1, TOLERANCE).await.unwrap();
    assert_eq!(sink.outbox(&new, 10).await, Ok(vec![]), "the pass is the last one");
    let Ok(Claim::Owned(_)) = sink.claim(&reader.stream, "b", LONG, AGAIN).await else {
        panic!("not owned")
    };
    assert_taken(sink.outbox(&new, 10).await);
    assert_taken(sink.published(&new, 0).await);
}

/// A pass is not over before all is published.
pub async fn a_pass_ends_with_an_empty_outbox(store: &impl Store) {
    let sink = store.open().await;
    let mut reader = Reader::begin(&sink, 0, false).await;
    reader.read(vec![publishing(0, &["a"])]).await;
    let lease = reader.position.lease;
    assert_eq!(sink.finish(&lease, 1, TOLERANCE).await, Ok(None));
    sink.published(&lease, 0).await.unwrap();
    assert!(sink.finish(&lease, 1, TOLERANCE).await.unwrap().is_some());
}

/// Not from a live owner; who has claimed it keeps others away.
pub async fn an_outbox_without_an_owner_is_claimed(store: &impl Store) {
    let sink = store.open().await;
    let mut reader = Reader::begin(&sink, 0, false).await;
    reader.read(vec![publishing(0, &["a"])]).await;
    let claim = async || sink.claim_outbox("accounts", "relay", LONG).await.unwrap();
    assert_eq!(claim().await, None);
    let lost = reader.position.lease;
    sink.release(&lost).await.unwrap();
    assert_eq!(sink.claim_outbox("visits", "relay", LONG).await, Ok(None));
    let (stream, lease) = claim().await.unwrap();
    assert_eq!(stream, *reader.stream);
    assert_eq!(claim().await, None, "it is owned now");
    assert_taken(sink.published(&lost, 0).await);
    let late = build::commit(&reader.position, &reader.stream, 1..=1, vec![], vec![]);
    assert_taken(commit(&sink, late).await);
    let held = sink.claim(&reader.stream, "b", LONG, Begin::default()).await.unwrap();
    assert!(matches!(held, Claim::Held { .. }), "{held:?}");
    sink.renew(&lease).await.unwrap();
    sink.published(&lease, 0).await.unwrap();
    sink.release(&lease).await.unwrap();
    assert_eq!(claim().await, None, "nothing is left");
    assert_eq!(own(&sink, &reader.stream, "b", LONG).await.next, 1);
}

/// What is published before its transaction does not stand in the outbox, and a re-read knows of it.
pub async fn what_was_published_directly_is_known(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Alerts>("group/topic");
    let first = own(&sink, &stream, "a", LONG).await;
    let rows = vec![alert(0, &["a"]), alert(2, &["c"])];
    let batch = build::commit(&first, &stream, 0..=2, rows, vec![dead_letter(1)]);
    assert_eq!(commit(&sink, batch).await.unwrap().written, 2);
    assert_eq!(sink.unpublished("alerts").await, Ok(0));
    sink.finish(&first.lease, 3, TOLERANCE).await.unwrap();

    let Ok(Claim::Owned(second)) = sink.claim(&stream, "a", LONG, AGAIN).await else {
        panic!("not owned")
    };
    let rows: Vec<Row> = (0..4).map(|position| alert(position, &["again"])).collect();
    let batch = Arc::new(build::commit(&second, &stream, 0..=3, rows, vec![]));
    let earlier = sink.earlier(&batch.range()).await.unwrap();
    let open = vec![OpenDeadLetter { position: 1, is_uncounted: true }];
    assert_eq!(earlier, Earlier { counted: vec![(0, 2)], open });
    let published = |row: &Row| !row.record.publications.is_empty();
    let left: Vec<i64> = earlier
        .without_counted(&batch.rows)
        .iter()
        .filter(|row| published(row))
        .map(|row| row.position)
        .collect();
    assert_eq!(left, [1, 3]);
    assert_eq!(sink.commit(&batch).await.unwrap().written, 4);
    assert_eq!(sink.unpublished("alerts").await, Ok(0));
}

/// Into the outbox, whichever way the flow publishes, once, and marked as a replay.
pub async fn a_replay_publishes_once<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let mut reader = fail(&sink, 2).await;
    let logged_act = replay_act();
    let again = attempt(publishing(0, &["a", "b"]));
    assert_eq!(sink.replay(&again, None).await, Ok(Replayed::Written));
    assert_eq!(sink.unpublished("accounts").await, Ok(0), "a dry run");
    let mut refused = record(1, [happening("")]);
    refused.record.publications = vec![publication("k", "never")];
    assert_eq!(
        sink.replay(&attempt(refused), Some(&logged_act)).await.unwrap().state(),
        State::Retried
    );
    assert_eq!(sink.replay(&again, Some(&logged_act)).await, Ok(Replayed::Written));
    let found = sink.replay(&again, Some(&logged_act)).await;
    assert_eq!(found, Ok(Replayed::NotOpen(State::Replayed)));
    let name = reader.stream.name.clone();
    let both = [(0, "a", "0/1/0/0"), (1, "b", "0/1/0/1")];
    assert_eq!(waiting(store, &name).await, expected(&name, &both));
    let rows = store.read(&OUTBOX).await;
    assert!(rows.iter().all(|row| header(row, "tally.replay").as_deref() == Some("true")));

    sink.published(&reader.position.lease, 1).await.unwrap();
    reader.begin_again().await;
    assert_eq!(reader.read(vec![publishing(0, &["a", "b"])]).await, (1, 0));
    assert_eq!(sink.unpublished("accounts").await, Ok(0), "a re-read");
}

/// What a later pass over the log may have published without a commit by now is not published by a replay.
pub async fn a_replay_leaves_to_a_later_pass_what_that_may_have_published<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let stream = stream::<Alerts>("group/topic");
    let first = own(&sink, &stream, "a", LONG).await;
    let both = vec![dead_letter(0), dead_letter(1)];
    commit(&sink, build::commit(&first, &stream, 0..=1, vec![], both)).await.unwrap();
    sink.finish(&first.lease, 2, TOLERANCE).await.unwrap();
    let Ok(Claim::Owned(second)) = sink.claim(&stream, "a", LONG, AGAIN).await else {
        panic!("not owned")
    };

    let replay = async |pass, position| {
        let attempt = Arc::new(ReplayAttempt {
            flow: flow_named(Alerts::NAME),
            identity: identity::<Alerts>("group/topic", pass, position, 1),
            result: Attempted::Valid(alert(position, &["a"])),
            kept: None,
            topics: tally_ports::publish::default_topics(&Alerts),
        });
        sink.replay(&attempt, Some(&replay_act())).await
    };
    assert_eq!(replay(1, 0).await, Ok(Replayed::ReadAgain));
    assert_eq!(sink.unpublished("alerts").await, Ok(0));
    let again = build::commit(&second, &stream, 0..=0, vec![], vec![dead_letter(0)]);
    commit(&sink, again).await.unwrap();
    assert_eq!(replay(1, 1).await, Ok(Replayed::ReadAgain));
    assert_eq!(replay(2, 0).await, Ok(Replayed::Written));
    assert_eq!(sink.unpublished("alerts").await, Ok(1));
    let last = build::commit(&second, &stream, 1..=1, vec![alert(1, &["a"])], vec![]);
    commit(&sink, last).await.unwrap();
    assert_eq!(replay(1, 1).await, Ok(Replayed::NotOpen(State::Outdated)));
}

/// The corrected record of the dead letter of this attempt.
fn repair(before: &ReplayAttempt) -> Arc<ReplayAttempt> {
    let headers = [("from", "app"), ("tally.id", "of another engine")];
    let headers = headers.map(|(name, value)| (name.into(), Some(value.into())));
    let corrected = OutgoingRecord {
        topic: "topic".into(),
        key: None,
        value: Some("corrected".into()),
        headers: headers.into(),
    };
    Arc::new(ReplayAttempt {
        flow: Arc::clone(&before.flow),
        identity: before.identity.clone(),
        result: Attempted::Repaired(corrected),
        kept: None,
        topics: Arc::default(),
    })
}

/// With the dead letter's id, once; nothing is written, and a re-read that refuses the record leaves it so.
pub async fn a_repaired_record_goes_into_the_outbox<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let mut reader = fail(&sink, 2).await;
    let first = repair(&attempt(record(0, [])));
    assert_eq!(sink.replay(&first, None).await, Ok(Replayed::Repaired));
    assert_eq!(sink.unpublished("accounts").await, Ok(0), "a dry run");
    let logged_act = replay_act();
    assert_eq!(sink.replay(&first, Some(&logged_act)).await, Ok(Replayed::Repaired));
    let found = sink.replay(&first, Some(&logged_act)).await;
    assert_eq!(found, Ok(Replayed::NotOpen(State::Repaired)));

    let rows = store.read(&OUTBOX).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((&row["topic"], row.bytes("value").as_deref()), ("topic", Some(&b"corrected"[..])));
    let id = first.identity.id().to_string();
    for (name, value) in [
        ("from", "app"),
        ("tally.flow", "accounts"),
        ("tally.id", &*format!("{}/0/1/0/0", reader.stream.name)),
        ("tally.replay", "true"),
        ("tally.repaired-from", &*id),
    ] {
        assert_eq!(header(row, name).as_deref(), Some(value), "{name}");
    }
    sink.published(&reader.position.lease, 0).await.unwrap();
    reader.begin_again().await;
    let letters = vec![dead_letter(0), dead_letter(1)];
    let refused = build::commit(&reader.position, &reader.stream, 0..=1, vec![], letters);
    commit(&sink, refused).await.unwrap();
    let states = async || -> Vec<(i64, String)> {
        let state = |row: &Record| (row.number("position"), row["state"].to_owned());
        store.read(&DEAD_LETTERS).await.iter().map(state).collect()
    };
    let both = |position, state: &str| [(position, state.to_owned()), (position, state.to_owned())];
    let mut found = states().await;
    found.sort();
    assert_eq!(found, [both(0, "repaired"), both(1, "open")].concat());

    // All that passes have left of one record is one record.
    let second = repair(&attempt(record(1, [])));
    assert_eq!(sink.replay(&second, Some(&logged_act)).await, Ok(Replayed::Repaired));
    assert!(states().await.iter().all(|(_, state)| state == "repaired"));
    assert_eq!(sink.unpublished("accounts").await, Ok(1));
}

/// It would count and be published once more.
pub async fn a_record_that_an_earlier_pass_has_counted_is_not_repaired<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let stream = stream::<Alerts>("group/topic");
    let first = own(&sink, &stream, "a", LONG).await;
    let batch = build::commit(&first, &stream, 0..=0, vec![alert(0, &["a"])], vec![]);
    commit(&sink, batch).await.unwrap();
    sink.finish(&first.lease, 1, TOLERANCE).await.unwrap();
    let Ok(Claim::Owned(second)) = sink.claim(&stream, "a", LONG, AGAIN).await else {
        panic!("not owned")
    };
    let refused = build::commit(&second, &stream, 0..=0, vec![], vec![dead_letter(0)]);
    commit(&sink, refused).await.unwrap();
    let letter = ReplayAttempt {
        flow: flow_named(Alerts::NAME),
        identity: identity::<Alerts>("group/topic", 2, 0, 1),
        result: Attempted::Valid(alert(0, &["a"])),
        kept: None,
        topics: Arc::default(),
    };
    let logged_act = replay_act();
    let found = sink.replay(&repair(&letter), Some(&logged_act)).await;
    assert_eq!(found, Ok(Replayed::Counted));
    assert_eq!(sink.unpublished("alerts").await, Ok(0));
    let states = store.read(&DEAD_LETTERS).await;
    assert!(states.iter().all(|row| &row["state"] == "open"), "{states:?}");
}

/// Also where its pass has ended, which it stays.
pub async fn a_replay_of_an_ended_pass_is_relayed<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let stream = stream::<Alerts>("file/1");
    let first = own(&sink, &stream, "a", LONG).await;
    let batch = build::commit(&first, &stream, 0..=0, vec![], vec![dead_letter(0)]);
    commit(&sink, batch).await.unwrap();
    sink.finish(&first.lease, 1, TOLERANCE).await.unwrap();
    let attempt = Arc::new(ReplayAttempt {
        flow: flow_named(Alerts::NAME),
        identity: identity::<Alerts>("file/1", 1, 0, 1),
        result: Attempted::Valid(alert(0, &["a"])),
        kept: None,
        topics: tally_ports::publish::default_topics(&Alerts),
    });
    assert_eq!(sink.replay(&attempt, Some(&replay_act())).await, Ok(Replayed::Written));
    assert_eq!(waiting(store, "file/1").await, expected("file/1", &[(0, "a", "0/1/0/0")]));

    let (claimed, lease) = sink.claim_outbox("alerts", "relay", LONG).await.unwrap().unwrap();
    assert_eq!(claimed, *stream);
    assert_eq!(sink.outbox(&lease, 10).await.unwrap().len(), 1);
    sink.published(&lease, 0).await.unwrap();
    sink.release(&lease).await.unwrap();
    let claim = sink.claim(&stream, "a", LONG, Begin::default()).await.unwrap();
    assert!(matches!(claim, Claim::Finished(_)), "{claim:?}");
}
