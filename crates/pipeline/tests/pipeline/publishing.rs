//! Records that are published, directly and through the outbox, on fakes and tokio's clock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tally_domain::{
    Action, Column, Decimal, Field, Flow, Incoming, Kind, Output, Publication, Reason, Record,
    Table, TableColumn, TableKind, Type, Value, Write,
};
use tally_pipeline::Ended;
use tally_ports::{Begin, Claim, Item, Outbox, Positions, Stop, StopKind};
use tally_testkit::build;

use crate::support::{Bench, Model, Scripted, Topic, item};

const COLUMNS: &[Column] = &[Column::new("text", Kind::Text)];
const OUTPUTS: &[Output] = &[Output::new("out", "out"), Output::new("other", "other")];

/// Publishes the text of each record and counts it, or keeps it.
#[derive(Debug)]
pub struct Texts {
    table: [Table; 1],
}

impl Texts {
    pub fn counting() -> Arc<dyn Flow> {
        let amount = Type::Decimal { precision: 4, scale: 0 };
        let columns = vec![
            TableColumn::new("text", Type::Text { limit: Some(1_000) }),
            TableColumn::new("amount", amount),
        ];
        let kind = TableKind::Counters { key: vec![0] };
        Arc::new(Self { table: [Table { name: "sums".into(), columns, kind }] })
    }

    pub fn keeping() -> Arc<dyn Flow> {
        let columns = vec![TableColumn::new("text", Type::Text { limit: None })];
        let kind = TableKind::Appended;
        Arc::new(Self { table: [Table { name: "texts".into(), columns, kind }] })
    }
}

impl Flow for Texts {
    fn name(&self) -> &'static str {
        "texts"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        &self.table
    }

    fn outputs(&self) -> &[Output] {
        OUTPUTS
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let text = incoming.fields.into_iter().find_map(Field::into_text).unwrap();
        let unscaled = if text.starts_with("sum") { 10_000 } else { 1 };
        let amount = Value::Decimal(Decimal { unscaled, scale: 0 });
        let (action, values) = match self.table[0].kind {
            TableKind::Appended => (Action::Append, vec![Value::Text(text.clone())]),
            _ => (Action::Add, vec![Value::Text(text.clone()), amount]),
        };
        let name = if text.starts_with("reserved") { "tally.id" } else { "own" };
        let publication = Publication {
            output: usize::from(text.starts_with("other")),
            value: Some(Bytes::copy_from_slice(text.as_bytes())),
            headers: vec![(name.to_owned(), Some(Bytes::from_static(b"x")))],
            ..Publication::default()
        };
        let writes = vec![Write { table: 0, action, values }];
        Ok(Record { writes, publications: vec![publication], ..Record::default() })
    }
}

pub fn text(position: i64, text: &str) -> Item {
    item(position, Ok(vec![Field::Text(text.into())]))
}

pub fn texts(count: i64) -> Vec<Item> {
    (0..count).map(|position| text(position, &format!("text {position}"))).collect()
}

fn bench(flow: Arc<dyn Flow>) -> (Bench, Topic) {
    let topic = Topic::default();
    let mut bench = Bench::of(flow, "group/texts");
    bench.topic = Some(topic.clone());
    (bench, topic)
}

pub fn id(position: i64) -> String {
    format!("group/texts/0/1/{position}/0")
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_published_before_it_is_committed() {
    let (mut bench, topic) = bench(Texts::counting());
    let (store, seen) = (bench.store.clone(), Arc::new(Mutex::new(Vec::new())));
    let committed = Arc::clone(&seen);
    topic.watch(move |_| committed.lock().unwrap().push(store.batches().len()));
    let mut items = texts(25);
    items[3] = text(3, "other 3");
    assert_eq!(bench.run(Scripted::new(items), Model::food()).await, Ok(Ended::AtEnd { next: 25 }));
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
    assert_eq!(topic.ids(), (0..25).map(id).collect::<Vec<_>>());
    let records = topic.records();
    let topics: Vec<&str> = records.iter().map(|record| &*record.topic).collect();
    assert_eq!((topics[2], topics[3], topics[4]), ("out", "other", "out"));
    let names: Vec<&str> = records[0].headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["own", "tally.flow", "tally.id"]);
    assert_eq!(bench.totals.written, 25);
    assert_eq!(bench.store.unpublished("texts").await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn without_a_model_one_batch_is_read_ahead() {
    let (mut bench, _) = bench(Texts::counting());
    bench.settings.ahead = 4;
    bench.max_outage = Some(Duration::from_mins(1));
    bench.store.fail_commits(usize::MAX);
    let source = Scripted::new(texts(100));
    let read = Arc::clone(&source.read);
    let stop = bench.run(source, Model::food()).await.unwrap_err();
    assert_eq!((stop.kind, read.load(Ordering::SeqCst)), (StopKind::Unavailable, 2));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_topics_holds_the_batch_and_costs_no_record() {
    let (mut bench, topic) = bench(Texts::counting());
    topic.fail(12);
    let status = Arc::clone(&bench.status);
    let run = bench.run(Scripted::new(texts(5)), Model::food());
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(!status.snapshot().is_ready());
    };
    assert_eq!(tokio::join!(run, meanwhile).0, Ok(Ended::AtEnd { next: 5 }));
    assert_eq!((bench.totals.written, bench.totals.dead_lettered), (5, 0));
    assert_eq!(topic.ids(), (0..5).map(id).collect::<Vec<_>>());
    assert_eq!(topic.sends.load(Ordering::SeqCst), 1, "an outage sends nothing again");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_its_topic_is_a_dead_letter() {
    for is_known in [true, false] {
        for flow in [Texts::counting(), Texts::keeping()] {
            let is_direct = matches!(flow.tables()[0].kind, TableKind::Counters { .. });
            let (mut bench, topic) = bench(flow);
            if is_known {
                topic.limit.store(500, Ordering::SeqCst);
            } else if is_direct {
                topic.takes(|record| record.value.as_ref().unwrap().len() < 90);
            } else {
                continue; // such a record is in the outbox for good
            }
            let mut items = texts(4);
            items[1] = text(1, &"x".repeat(if is_known { 500 } else { 95 }));
            let ended = bench.run(Scripted::new(items), Model::food()).await;
            assert_eq!(ended, Ok(Ended::AtEnd { next: 4 }));
            assert_eq!(topic.ids(), [0, 2, 3].map(id));
            let [letter] = bench.store.dead_letters().try_into().unwrap();
            let reason = letter.dead_letter.reason;
            assert_eq!((letter.dead_letter.position, &*reason.code), (1, "publish_too_large"));
            let totals = &bench.totals;
            assert_eq!((totals.read, totals.written, totals.dead_lettered), (4, 3, 1));
            assert_eq!(bench.store.batches()[0].dead_lettered, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_counters_refuse_is_not_published() {
    let (mut bench, topic) = bench(Texts::counting());
    let items =
        [text(0, "a"), text(1, "sum"), text(2, &"k".repeat(1_001)), text(3, "a\0"), text(4, "b")];
    assert_eq!(bench.run(Scripted::new(items), Model::food()).await, Ok(Ended::AtEnd { next: 5 }));
    assert_eq!(topic.ids(), [0, 4].map(id));
    let letters = bench.store.dead_letters();
    let codes: Vec<_> = letters.iter().map(|stored| &*stored.dead_letter.reason.code).collect();
    assert_eq!(codes, ["counter_refused"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_re_read_publishes_what_was_never_published() {
    let (mut bench, topic) = bench(Texts::counting());
    let mut items = texts(3);
    items[1] = text(1, "sum");
    let ended = bench.run(Scripted::new(items), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 3 }));
    let lease = bench.claim().await.lease;
    bench.store.finish(&lease, 3, build::TOLERANCE).await.unwrap().unwrap();
    let again = Begin { at: 0, again: true };
    let claim = bench.store.claim(&bench.stream, "me", build::LONG, again).await.unwrap();
    let Claim::Owned(position) = claim else { panic!("{claim:?}") };
    let ended = bench.run_at(position, Scripted::new(texts(5)), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 5 }));
    assert_eq!(topic.ids(), [0, 2, 1, 3, 4].map(id));
}

#[tokio::test(start_paused = true)]
async fn the_outbox_is_empty_at_the_end_and_in_order() {
    let (mut bench, topic) = bench(Texts::keeping());
    let ended = bench.run(Scripted::new(texts(1_234)), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 1_234 }));
    assert_eq!(topic.ids(), (0..1_234).map(id).collect::<Vec<_>>());
    assert_eq!(bench.store.unpublished("texts").await, Ok(0));
}

/// Commits go on; a run ends once all is published.
#[tokio::test(start_paused = true)]
async fn while_the_topics_are_away_the_outbox_grows() {
    let (mut bench, topic) = bench(Texts::keeping());
    topic.fail(12);
    let store = bench.store.clone();
    let run = bench.run(Scripted::new(texts(1_200)), Model::food());
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(store.batches().len(), 120);
        assert_eq!(store.unpublished("texts").await, Ok(1_200));
    };
    assert_eq!(tokio::join!(run, meanwhile).0, Ok(Ended::AtEnd { next: 1_200 }));
    assert_eq!(topic.ids(), (0..1_200).map(id).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_published_is_by_the_next_run() {
    let (mut bench, topic) = bench(Texts::keeping());
    bench.max_outage = Some(Duration::from_mins(1));
    topic.fail(usize::MAX);
    let ended = bench.run(Scripted::new(texts(3)), Model::food()).await;
    assert!(matches!(ended, Err(Stop { kind: StopKind::Unavailable, .. })), "{ended:?}");
    assert_eq!(bench.store.unpublished("texts").await, Ok(3));
    topic.fail(0);
    let ended = bench.run(Scripted::new([]), Model::food()).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 3 }));
    assert_eq!(topic.ids(), (0..3).map(id).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_header_of_the_engine_is_refused() {
    for flow in [Texts::counting(), Texts::keeping()] {
        let (mut bench, topic) = bench(flow);
        let items = [text(0, "a"), text(1, "reserved")];
        let ended = bench.run(Scripted::new(items), Model::food()).await.unwrap_err();
        assert_eq!(ended.kind, StopKind::Data);
        assert!(ended.message.contains("texts publishes a header \"tally.id\""), "{ended}");
        assert!(topic.ids().is_empty() && bench.store.batches().is_empty());
    }
}
