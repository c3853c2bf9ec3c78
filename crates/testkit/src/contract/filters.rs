//! Listing, discarding and purging dead letters.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use tally_domain::transactions::Transactions;
use tally_domain::{Reason, Stage};
use tally_ports::{
    Act, Attempted, Change, DeadLetter, DeadLetterRelay, DeadLetterSummary, DeadLetters, Filter,
    Headers, LoggedAct, Raw, Replay, State, StoredDeadLetter,
};
use uuid::Uuid;

use super::claims::own;
use super::commits::{commit, everything};
use super::relays::Topic;
use super::replays::{Replays, identity, replay_act};
use super::{ACTS, DEAD_LETTERS, Store};
use crate::build::{self, LONG, act, dead_letter, flow_named, stream};
use crate::visits::Visits;

fn refused(position: i64, code: &'static str, key: &'static str) -> DeadLetter {
    let raw = Raw { key: Some(Bytes::from_static(key.as_bytes())), ..dead_letter(position).raw };
    DeadLetter::first(position, Reason::new(Stage::Validate, code, "told"), raw)
}

/// Two streams of transactions and one of visits, 5, 2 and 1 dead letters.
async fn fail<S: Store>(store: &S) -> S::Sink {
    let sink = store.open().await;
    let file = stream::<Transactions>("file/1");
    let position = own(&sink, &file, "a", LONG).await;
    let letters = vec![
        dead_letter(0),
        refused(2, "side_missing", "ann"),
        refused(3, "id_missing", "bob"),
        refused(30, "side_missing", "bob"),
        DeadLetter { raw: Raw::default(), ..dead_letter(31) },
    ];
    let batch = build::commit(&position, &file, 0..=31, vec![], letters);
    commit(&sink, batch).await.unwrap();

    let topic = stream::<Transactions>("group/topic");
    let position = own(&sink, &topic, "a", LONG).await;
    let letters = vec![refused(7, "side_missing", "ann"), dead_letter(8)];
    let batch = build::commit(&position, &topic, 0..=8, vec![], letters);
    commit(&sink, batch).await.unwrap();

    let visits = stream::<Visits>("file/1");
    let position = own(&sink, &visits, "a", LONG).await;
    let batch = build::commit(&position, &visits, 0..=0, vec![], vec![dead_letter(0)]);
    commit(&sink, batch).await.unwrap();
    sink
}

fn chosen(listed: &[DeadLetterSummary]) -> Vec<(&str, &str, i64)> {
    listed
        .iter()
        .map(|letter| (&*letter.identity.flow, &*letter.identity.stream, letter.identity.position))
        .collect()
}

const ALL: [(&str, &str, i64); 8] = [
    ("transactions", "file/1", 0),
    ("transactions", "file/1", 2),
    ("transactions", "file/1", 3),
    ("transactions", "file/1", 30),
    ("transactions", "file/1", 31),
    ("transactions", "group/topic", 7),
    ("transactions", "group/topic", 8),
    ("visits", "file/1", 0),
];

/// Each filter by itself, and together.
pub async fn filters_choose_dead_letters<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = fail(store).await;
    let (all, text) = (Filter::default, |text: &str| Some(text.to_owned()));
    let key = |key: &'static str| Some(Bytes::from_static(key.as_bytes()));
    let of_bob = [identity::<Transactions>("file/1", 1, 3, 1).id(), Uuid::nil()];
    let now = Utc::now().naive_utc();
    let (past, future) = (now - TimeDelta::hours(1), now + TimeDelta::hours(1));
    for (filter, expected) in [
        (all(), vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter { ids: Some(of_bob.to_vec()), ..all() }, vec![2]),
        (Filter { ids: Some(vec![]), ..all() }, vec![]),
        (Filter { flow: text("visits"), ..all() }, vec![7]),
        (Filter { stream: text("file/1"), ..all() }, vec![0, 1, 2, 3, 4, 7]),
        (Filter { label: text("group/topic.csv"), ..all() }, vec![5, 6]),
        (Filter { partition: Some(0), pass: Some(1), ..all() }, vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter { partition: Some(1), ..all() }, vec![]),
        (Filter { pass: Some(2), ..all() }, vec![]),
        (Filter { position: Some(0), ..all() }, vec![0, 7]),
        (Filter { stage: text("decode"), ..all() }, vec![0, 4, 6, 7]),
        (Filter { code: text("side_missing"), ..all() }, vec![1, 3, 5]),
        (Filter { state: Some(State::Open), ..all() }, vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter { state: Some(State::Replayed), ..all() }, vec![]),
        (Filter { since: Some(past), until: Some(future), ..all() }, vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter { since: Some(future), ..all() }, vec![]),
        (Filter { until: Some(past), ..all() }, vec![]),
        (Filter { key: key("bob"), ..all() }, vec![2, 3]),
        (Filter { key: key("bo"), ..all() }, vec![]),
        (Filter { key: key("ann"), stream: text("file/1"), ..all() }, vec![1]),
    ] {
        let listed = sink.list(&filter, None, 100).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(|index: usize| ALL[index]).collect();
        assert_eq!(chosen(&listed), expected, "{filter:?}");
        let counted: i64 = sink.count(&filter).await.unwrap().iter().map(|count| count.count).sum();
        assert_eq!(usize::try_from(counted), Ok(expected.len()), "{filter:?}");
    }
}

/// `since` is inclusive, `until` exclusive.
pub async fn moments_choose_dead_letters_exactly<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = fail(store).await;
    let all = sink.list(&Filter::default(), None, 100).await.unwrap();
    for letter in &all {
        let since = Filter { since: Some(letter.failed_at), ..Filter::default() };
        let until = Filter { until: Some(letter.failed_at), ..Filter::default() };
        let later = |other: &&DeadLetterSummary| other.failed_at >= letter.failed_at;
        assert_eq!(
            sink.list(&since, None, 100).await.unwrap().len(),
            all.iter().filter(later).count()
        );
        assert_eq!(
            sink.list(&until, None, 100).await.unwrap().len(),
            all.len() - all.iter().filter(later).count()
        );
    }
}

/// However small the pages are.
pub async fn pages_list_each_dead_letter_once<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = fail(store).await;
    for filter in
        [Filter::default(), Filter { code: Some("side_missing".to_owned()), ..Filter::default() }]
    {
        let whole = sink.list(&filter, None, 100).await.unwrap();
        for limit in 1..=9 {
            let mut found: Vec<DeadLetterSummary> = Vec::new();
            loop {
                let after = found.last().map(|letter| letter.identity.clone());
                let page = sink.list(&filter, after.as_ref(), limit).await.unwrap();
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            assert_eq!(found, whole, "pages of {limit}");
        }
    }
}

/// With every byte, in the order asked for.
pub async fn dead_letters_are_fetched_whole<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = fail(store).await;
    let listed = sink.list(&Filter::default(), None, 100).await.unwrap();
    let ids: Vec<Uuid> =
        [6, 0, 4].map(|index: usize| listed[index].id).into_iter().chain([Uuid::nil()]).collect();
    let found: Vec<StoredDeadLetter> = sink.fetch(&ids).await.unwrap();
    assert_eq!(found.len(), 3);
    let raws = [dead_letter(8).raw, dead_letter(0).raw, Raw::default()];
    for ((stored, index), raw) in found.iter().zip([6, 0, 4]).zip(raws) {
        assert_eq!(stored.summary, listed[index]);
        assert!(stored.raw == raw, "the bytes at {index}");
    }

    let letter = &listed[0];
    assert_eq!(letter.identity, identity::<Transactions>("file/1", 1, 0, 1));
    assert_eq!(letter.id, letter.identity.id());
    assert_eq!(letter.label.as_deref(), Some("file/1.csv"));
    assert_eq!((&*letter.stage, &*letter.code), ("decode", "fields"));
    assert_eq!(letter.message, "the record has too few fields");
    assert_eq!(letter.key.as_deref(), Some(&b"\0key"[..]));
    assert_eq!((letter.payload_bytes, letter.state), (Some(6), State::Open));
    assert!(letter.bytes > 10 && letter.bytes < 200, "{}", letter.bytes);
    assert!((Utc::now().naive_utc() - letter.failed_at).abs() < TimeDelta::minutes(5));
    assert_eq!(letter.published_at, None);
    assert_eq!((&listed[4].key, listed[4].payload_bytes), (&None, None), "a tombstone");
    let row = &store.read(&DEAD_LETTERS).await[0];
    assert_eq!(&row["batch_id"], &*letter.batch_id.to_string());
}

/// The hour in UTC, the first one first.
pub async fn dead_letters_are_counted_by_hour_and_code<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = fail(store).await;
    let of_transactions = Filter { flow: Some("transactions".to_owned()), ..Filter::default() };
    let counts = sink.count(&of_transactions).await.unwrap();
    let mut sums = std::collections::BTreeMap::new();
    for count in &counts {
        *sums.entry((&*count.stage, &*count.code)).or_insert(0) += count.count;
        let age = Utc::now().naive_utc() - count.hour;
        assert!(age >= TimeDelta::zero() && age < TimeDelta::minutes(65), "{age}");
        assert_eq!(count.hour.format("%M:%S%.f").to_string(), "00:00");
    }
    let expected = [
        (("decode", "fields"), 3),
        (("validate", "id_missing"), 1),
        (("validate", "side_missing"), 3),
    ];
    assert_eq!(sums.into_iter().collect::<Vec<_>>(), expected);
}

fn logged_act(verb: &'static str) -> LoggedAct {
    LoggedAct::new(Act { verb, ..act("because") })
}

/// Only open ones; the act counts them.
pub async fn open_dead_letters_are_discarded<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = fail(store).await;
    let listed = sink.list(&Filter::default(), None, 100).await.unwrap();
    let ids: Vec<Uuid> = listed[..3].iter().map(|letter| letter.id).collect();
    let mut logged_act = logged_act("discard");
    assert_eq!(sink.change(&ids[..2], Change::Discard, &logged_act).await, Ok(2));
    let again = sink.change(&ids[..2], Change::Discard, &logged_act).await;
    assert_eq!(again, Ok(2), "who did not hear the answer asks again and hears the same");
    logged_act.add("discarded", 2);
    assert_eq!(sink.change(&ids, Change::Discard, &logged_act).await, Ok(1));

    let states: Vec<_> = store
        .read(&DEAD_LETTERS)
        .await
        .iter()
        .map(|row| (row.number("position"), row["state"].to_owned()))
        .filter(|(_, state)| state == "discarded")
        .collect();
    assert_eq!(states, [0, 2, 3].map(|position| (position, "discarded".to_owned())));
    let [act] = store.read(&ACTS).await.try_into().unwrap();
    assert_eq!((&act["verb"], &act["target"]), ("discard", "group/topic/0"));
    assert_eq!(act.json("result"), json!({"discarded": 3}));

    let whole = sink.fetch(&ids[..1]).await.unwrap();
    assert!(whole[0].raw == dead_letter(0).raw, "its bytes are kept");
}

/// Key, payload and headers, whatever the state; everything else stays, and nothing is published.
pub async fn purging_blanks_the_record<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = fail(store).await;
    let before = everything(store).await;
    let listed = sink.list(&Filter::default(), None, 100).await.unwrap();
    let ids: Vec<Uuid> = listed[..2].iter().map(|letter| letter.id).collect();
    assert_eq!(sink.change(&ids[..1], Change::Discard, &logged_act("discard")).await, Ok(1));
    let mut logged_act = logged_act("purge");
    assert_eq!(sink.change(&ids, Change::Purge, &logged_act).await, Ok(2));
    logged_act.add("purged", 2);
    assert_eq!(sink.change(&ids, Change::Purge, &logged_act).await, Ok(0));

    let rows = store.read(&DEAD_LETTERS).await;
    for (row, old) in rows.iter().zip(&before[1]).take(2) {
        assert_eq!((row.get("key"), row.get("payload")), (None, None));
        assert_eq!((row.json("headers"), &row["state"]), (json!([]), "purged"));
        for column in ["id", "position", "attempt", "batch_id", "stage", "code", "message"] {
            assert_eq!(row.get(column), old.get(column), "{column}");
        }
    }
    assert_eq!(rows[2..], before[1][2..]);
    let stored = sink.fetch(&ids).await.unwrap();
    assert!(stored.iter().all(|stored| stored.raw == Raw::default()));

    let topic = Topic::default();
    assert_eq!(sink.relay("transactions", 100, &topic).await, Ok(5));
    assert_eq!(
        topic.positions().into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([3, 7, 8, 30, 31])
    );
}

/// A purged record is gone for good.
pub async fn a_purged_dead_letter_is_not_replayed<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    use tally_ports::{ReplayAttempt, Replayed};
    let sink = fail(store).await;
    let identity = identity::<Transactions>("file/1", 1, 2, 1);
    sink.change(&[identity.id()], Change::Purge, &logged_act("purge")).await.unwrap();
    let attempt = std::sync::Arc::new(ReplayAttempt {
        flow: flow_named(Transactions::NAME),
        identity,
        result: Attempted::Valid(build::row(2, 2, "5")),
        kept: None,
        topics: tally_ports::Topics::default(),
    });
    let replayed = sink.replay(&attempt, Some(&replay_act())).await;
    assert_eq!(replayed, Ok(Replayed::NotOpen(State::Purged)));
}

/// Large keys are shown in part, and headers count.
pub async fn a_list_shows_the_start_of_a_key<S: Store>(store: &S)
where
    S::Sink: Replays,
{
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let headers: Headers = [("x".to_owned(), Some(Bytes::from(vec![7; 3_000])))].into();
    let (key, payload) = (Some(vec![b'k'; 5_000].into()), Some(vec![1; 9_000].into()));
    let raw = Raw { key, payload, headers, ..Raw::default() };
    let letter = DeadLetter { raw: raw.clone(), ..dead_letter(0) };
    let batch = build::commit(&position, &stream, 0..=0, vec![], vec![letter]);
    commit(&sink, batch).await.unwrap();
    let [listed] = sink.list(&Filter::default(), None, 10).await.unwrap().try_into().unwrap();
    assert_eq!(listed.key, Some(vec![b'k'; 256].into()));
    assert_eq!(listed.payload_bytes, Some(9_000));
    assert!((17_000..20_000).contains(&listed.bytes), "{}", listed.bytes);
    assert!(sink.fetch(&[listed.id]).await.unwrap()[0].raw == raw);
}
