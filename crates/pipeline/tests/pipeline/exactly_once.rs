//! What is published in transactions, on fakes and tokio's clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tally_domain::Flow;
use tally_pipeline::Ended;
use tally_ports::{Begin, Outbox, Positions, Stop, StopKind};
use tally_testkit::build;

use crate::publishing::{Texts, id, text, texts};
use crate::support::{Bench, Model, Scripted, Topic};

fn bench(flow: Arc<dyn Flow>) -> (Bench, Topic) {
    let topic = Topic::in_transactions();
    let mut bench = Bench::of(flow, "group/texts");
    bench.max_outage = Some(Duration::from_secs(5));
    bench.topic = Some(topic.clone());
    (bench, topic)
}

fn ids(positions: std::ops::Range<i64>) -> Vec<String> {
    positions.map(id).collect()
}

/// What is counted of a text.
fn sum(bench: &Bench, text: &str) -> Option<String> {
    let rows = bench.store.rows("sums");
    let row = rows.iter().find(|row| row.get("text") == Some(text))?;
    row.get("amount").map(str::to_owned)
}

/// The database is away once the first `batches` are published: the run ends with the last of them uncommitted.
async fn published_and_not_committed(bench: &mut Bench, topic: &Topic, source: Scripted) {
    let store = bench.store.clone();
    topic.watch(move |_| store.fail_commits(usize::MAX));
    let ended = bench.run(source, Model::food()).await;
    assert!(matches!(ended, Err(Stop { kind: StopKind::Unavailable, .. })), "{ended:?}");
    bench.store.fail_commits(0);
    topic.watch(|_| {});
}

#[tokio::test(start_paused = true)]
async fn each_batch_is_a_transaction_with_its_progress() {
    let (mut bench, topic) = bench(Texts::counting());
    let ended = bench.run(Scripted::new(texts(25)), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 25 }));
    assert_eq!(topic.ids(), ids(0..25));
    assert_eq!(topic.begun.load(Ordering::SeqCst), 2, "once to settle, once to publish");
    let progress = topic.progress.lock().unwrap().clone().unwrap();
    let last = progress.batch.unwrap();
    assert_eq!((progress.epoch, last.pass, last.log), (1, 1, 1));
    assert_eq!((last.first, last.last, last.read, last.added.len()), (20, 24, 5, 5));
    assert_eq!(bench.store.batches().last().unwrap().id, last.id);
}

#[tokio::test(start_paused = true)]
async fn what_was_published_and_not_committed_is_committed_as_it_was() {
    let (mut bench, topic) = bench(Texts::counting());
    let items = || {
        let mut items = texts(25);
        items[1] = text(1, "sum");
        items[2] = text(2, "text 0");
        items
    };
    published_and_not_committed(&mut bench, &topic, Scripted::new(items())).await;
    assert!(bench.store.batches().is_empty());
    let published = topic.progress.lock().unwrap().clone().unwrap().batch.unwrap();

    bench.settings.batch_size = 3;
    let asked = Model::new(|_, records| {
        assert!(records.iter().all(|record| !record.is_asked), "it has no model");
        (Duration::ZERO, Ok(Vec::new()))
    });
    let ended = bench.run(Scripted::new(items()), asked).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 25 }));
    let first = bench.store.batches()[0].clone();
    assert_eq!((first.id, first.first, first.last), (published.id, 0, 9));
    assert_eq!((first.read, first.committed.written, first.dead_lettered), (10, 9, 1));
    let [letter] = bench.store.dead_letters().try_into().unwrap();
    let reason = &letter.dead_letter.reason;
    assert_eq!((letter.dead_letter.position, &*reason.code), (1, "counter_refused"));
    assert!(letter.dead_letter.raw.payload.is_some());
    assert_eq!(bench.ranges()[1], (10, 12));
    let expected = (0..25).filter(|position| *position != 1).map(id).collect::<Vec<_>>();
    assert_eq!(topic.ids(), expected);
    assert_eq!((bench.totals.read, bench.totals.written), (25, 24));
    assert_eq!(sum(&bench, "text 0").as_deref(), Some("2"));
    assert_eq!(sum(&bench, "text 9").as_deref(), Some("1"));
    assert_eq!(sum(&bench, "sum"), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_publishes_nothing_twice() {
    for flow in [Texts::counting(), Texts::keeping()] {
        let (mut bench, topic) = bench(flow);
        topic.lost.store(2, Ordering::SeqCst);
        let ended = bench.run(Scripted::new(texts(25)), Model::food()).await;
        assert_eq!(ended, Ok(Ended::AtEnd { next: 25 }));
        assert_eq!(topic.ids(), ids(0..25));
        assert_eq!(bench.store.unpublished("texts").await, Ok(0));
        assert_eq!(topic.lost.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_fenced_goes_on_while_the_lease_is_its_own() {
    let (mut bench, topic) = bench(Texts::counting());
    let begun = Arc::clone(&topic.begun);
    topic.watch(move |records| {
        if records.iter().any(|record| record.id() == id(3).as_bytes()) {
            begun.fetch_add(1, Ordering::SeqCst);
        }
    });
    let ended = bench.run(Scripted::new(texts(25)), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 25 }));
    assert_eq!(topic.ids(), ids(0..25));
}

#[tokio::test(start_paused = true)]
async fn whoever_lost_the_lease_publishes_nothing() {
    for flow in [Texts::counting(), Texts::keeping()] {
        let (mut bench, topic) = bench(flow);
        let position = bench.claim().await;
        bench.store.steal(&bench.stream);
        let ended = bench.run_at(position, Scripted::new(texts(5)), Model::food()).await;
        assert!(matches!(ended, Err(Stop { kind: StopKind::Taken, .. })), "{ended:?}");
        assert_eq!((topic.ids().len(), topic.begun.load(Ordering::SeqCst)), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_after_all_is_left_out_of_the_transaction() {
    let (mut bench, topic) = bench(Texts::counting());
    topic.takes(|record| record.value.as_ref().unwrap().len() < 90);
    let mut items = texts(4);
    items[1] = text(1, &"x".repeat(95));
    let ended = bench.run(Scripted::new(items), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 4 }));
    assert_eq!(topic.ids(), [0, 2, 3].map(id));
    let last = topic.progress.lock().unwrap().clone().unwrap().batch.unwrap();
    assert_eq!((last.dead_letters[0].0, &*last.dead_letters[0].1.code), (1, "publish_too_large"));
    assert_eq!((bench.totals.written, bench.totals.dead_lettered), (3, 1));
}

/// Only the marks failed.
#[tokio::test(start_paused = true)]
async fn what_the_outbox_published_is_only_marked() {
    let (mut bench, topic) = bench(Texts::keeping());
    bench.settings.batch_size = 100;
    bench.store.fail_deletes(usize::MAX);
    let ended = bench.run(Scripted::new(texts(700)), Model::food()).await;
    assert!(matches!(ended, Err(Stop { kind: StopKind::Unavailable, .. })), "{ended:?}");
    bench.store.fail_deletes(0);
    let before = topic.ids().len();
    assert!((1..=500).contains(&before), "{before}");
    let ended = bench.run(Scripted::new(texts(700)), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 700 }));
    assert_eq!(topic.ids(), ids(0..700));
    assert_eq!(bench.store.unpublished("texts").await, Ok(0));
}

/// As after a restore of the database, or with a new one.
#[tokio::test(start_paused = true)]
async fn a_database_that_is_behind_the_topics_stops() {
    for flow in [Texts::counting(), Texts::keeping()] {
        let (mut first, topic) = bench(Arc::clone(&flow));
        for _ in 0..3 {
            first.claim().await;
        }
        let ended = first.run(Scripted::new(texts(25)), Model::food()).await;
        assert_eq!(ended, Ok(Ended::AtEnd { next: 25 }));

        for (claims, epoch) in [(0, "owns it in epoch 1"), (5, "the database ")] {
            let (mut second, _) = bench(Arc::clone(&flow));
            second.topic = Some(topic.clone());
            for _ in 0..claims {
                second.claim().await;
            }
            let ended = second.run(Scripted::new(texts(25)), Model::food()).await.unwrap_err();
            assert_eq!(ended.kind, StopKind::Setting, "{ended}");
            assert!(ended.message.contains("says of texts/group/texts/0 that"), "{ended}");
            assert!(ended.message.contains(epoch), "{ended}");
            assert_eq!(topic.ids(), ids(0..25));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_are_gone_are_told() {
    let (mut bench, topic) = bench(Texts::counting());
    published_and_not_committed(&mut bench, &topic, Scripted::new(texts(10))).await;
    let items = texts(10).into_iter().filter(|item| item.position != 4);
    let ended = bench.run(Scripted::new(items), Model::food()).await.unwrap_err();
    assert_eq!(ended.kind, StopKind::Data);
    let gone = "positions 0 to 9 are published and cannot be committed: 9 records are there now instead of 10";
    assert!(ended.message.contains(gone), "{ended}");

    let mut items = texts(10);
    items[4].raw.payload = Some(Bytes::from_static(b"another"));
    let ended = bench.run(Scripted::new(items), Model::food()).await.unwrap_err();
    assert!(ended.message.contains("other records are there now"), "{ended}");
    assert!(bench.store.batches().is_empty());
}

/// It would be a dead letter that is published.
#[tokio::test(start_paused = true)]
async fn a_row_that_is_refused_once_it_is_published_stops() {
    let (mut bench, topic) = bench(Texts::counting());
    published_and_not_committed(&mut bench, &topic, Scripted::new(texts(10))).await;
    bench.store.refuse(|_, row| (row.get("text") == Some("text 3")).then(|| "23514".to_owned()));
    for _ in 0..2 {
        let ended = bench.run(Scripted::new(texts(10)), Model::food()).await.unwrap_err();
        assert_eq!(ended.kind, StopKind::Data);
        assert!(ended.message.contains("the database refuses with 23514"), "{ended}");
    }
    assert_eq!(topic.ids(), ids(0..10));

    let (mut bench, topic) = self::bench(Texts::counting());
    bench.store.refuse(|_, row| (row.get("text") == Some("text 3")).then(|| "23514".to_owned()));
    let ended = bench.run(Scripted::new(texts(10)), Model::food()).await.unwrap_err();
    assert!(ended.message.contains("its batch is published"), "{ended}");
    assert!(bench.store.batches().is_empty() && bench.store.dead_letters().is_empty());
    assert_eq!(topic.ids(), ids(0..10));
}

/// The first pass has published and counted all but one.
#[tokio::test(start_paused = true)]
async fn a_re_read_that_was_published_counts_what_it_published() {
    let (mut bench, topic) = bench(Texts::counting());
    let mut items = texts(3);
    items[1] = text(1, "sum");
    let ended = bench.run(Scripted::new(items), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 3 }));
    let lease = bench.claim().await.lease;
    bench.store.finish(&lease, 3, build::TOLERANCE).await.unwrap().unwrap();
    let again = Begin { at: 0, again: true };
    bench.store.claim(&bench.stream, "me", build::LONG, again).await.unwrap();
    published_and_not_committed(&mut bench, &topic, Scripted::new(texts(5))).await;
    assert_eq!(topic.ids(), [0, 2, 1, 3, 4].map(id));

    let ended = bench.run(Scripted::new(texts(5)), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 5 }));
    assert_eq!(topic.ids(), [0, 2, 1, 3, 4].map(id));
    for position in 0..5 {
        let counted = sum(&bench, &format!("text {position}"));
        assert_eq!(counted.as_deref(), Some("1"), "{position}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_topics_is_waited_for() {
    for flow in [Texts::counting(), Texts::keeping()] {
        let (mut bench, topic) = bench(flow);
        bench.max_outage = None;
        topic.fail(12);
        let ended = bench.run(Scripted::new(texts(25)), Model::food()).await;
        assert_eq!(ended, Ok(Ended::AtEnd { next: 25 }));
        assert_eq!(topic.ids(), ids(0..25));
        assert_eq!((bench.totals.written, bench.totals.dead_lettered), (25, 0));
    }
}
