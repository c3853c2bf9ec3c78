//! A source and a model that do what a test says, around the store in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tally_domain::amount::Notation;
use tally_domain::transactions::Transactions;
use tally_domain::{Fields, Flow, Reason, Record, Stage, Value};
use tally_pipeline::{Ended, Gates, Outputs, Partition, Pipeline, Settings, Status, Totals};
use tally_ports::publish::default_topics;
use tally_ports::{
    Answer, Answers, Batch, Begin, Claim, DeliveryGuarantee, Enrich, Fault, Item, OutgoingRecord,
    Passed, Position, Positions, Progress, Publish, Raw, Source, Stop, Stream,
};
use tally_testkit::build;
use tally_testkit::memory::MemoryStore;
use tokio_util::sync::CancellationToken;

/// An item of a valid transaction whose id is its position.
pub fn good(position: i64) -> Item {
    item(position, Ok(build::fields(position.unsigned_abs().into(), "-12.34")))
}

/// An item with that content.
pub fn item(position: i64, content: Result<Fields, Reason>) -> Item {
    let raw = Raw { payload: Some(Bytes::from(position.to_string())), ..Raw::default() };
    Item { position, raw, content }
}

/// An item that could not be decoded.
pub fn undecodable(position: i64) -> Item {
    item(position, Err(Reason::new(Stage::Decode, "fields", "too few fields")))
}

/// Batches of `size` of the items, which stand in order of position from 0.
#[derive(Clone)]
pub struct Scripted {
    items: VecDeque<Item>,
    /// What follows the last item instead of the end.
    pub then: Option<Stop>,
    /// How many batches were read.
    pub read: Arc<AtomicUsize>,
}

impl Scripted {
    /// A source of these items.
    pub fn new(items: impl IntoIterator<Item = Item>) -> Self {
        Self { items: items.into_iter().collect(), then: None, read: Arc::default() }
    }

    /// Those from position `next` on.
    fn from(mut self, next: i64) -> Self {
        self.items.retain(|item| item.position >= next);
        self
    }
}

impl Source for Scripted {
    async fn next_batch(&mut self, limit: usize) -> Result<Option<Batch>, Fault> {
        tokio::task::yield_now().await;
        let items: Vec<_> = self.items.drain(..limit.min(self.items.len())).collect();
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return self.then.take().map_or(Ok(None), |stop| Err(stop.into()));
        };
        self.read.fetch_add(1, Ordering::SeqCst);
        let (first, last) = (first.position, last.position);
        let (notation, cursor) = (Notation::Plain, json!({ "next": last + 1 }));
        let is_last = self.items.is_empty() && self.then.is_none();
        Ok(Some(Batch { first, last, items, notation, cursor, passed: Passed::default(), is_last }))
    }
}

/// What the model does with the records of its `n`th call, from 0.
type Script = dyn Fn(usize, &[Record]) -> (Duration, Result<Answers, Fault>) + Send + Sync;

/// A model that does what a test says.
pub struct Model {
    calls: AtomicUsize,
    script: Box<Script>,
}

impl Model {
    /// A model that does this.
    pub fn new(
        script: impl Fn(usize, &[Record]) -> (Duration, Result<Answers, Fault>) + Send + Sync + 'static,
    ) -> Self {
        Self { calls: AtomicUsize::new(0), script: Box::new(script) }
    }

    /// A model that knows one category.
    pub fn food() -> Self {
        Self::new(|_, records| (Duration::ZERO, Ok(food(records))))
    }
}

/// The same answer to all records.
pub fn food(records: &[Record]) -> Answers {
    records.iter().map(|_| Ok(category("Food"))).collect()
}

/// An answer with that category.
pub fn category(name: &'static str) -> Answer {
    [Value::Text(name.into())].into()
}

/// The id of a transaction.
pub fn id(record: &Record) -> u128 {
    match record.row(0).map(|row| &row[0]) {
        Some(Value::Uuid(id)) => id.as_u128(),
        other => panic!("{other:?}"),
    }
}

impl Enrich for Model {
    type Inquiry = Vec<Record>;

    fn begin(&self, records: &[&Record]) -> Result<Vec<Record>, Stop> {
        Ok(records.iter().map(|&record| record.clone()).collect())
    }

    async fn ask(&self, records: &mut Vec<Record>) -> Result<Option<Answers>, Fault> {
        let (pause, answer) = (self.script)(self.calls.fetch_add(1, Ordering::SeqCst), records);
        tokio::time::sleep(pause).await;
        answer.map(Some)
    }
}

/// Topics that do what a test says.
#[derive(Clone, Default)]
pub struct Topic {
    records: Arc<Mutex<Vec<OutgoingRecord>>>,
    guarantee: DeliveryGuarantee,
    /// What transactions say of the one partition.
    pub progress: Arc<Mutex<Option<Progress>>>,
    /// How often transactions were begun: only the last one who did may commit.
    pub begun: Arc<AtomicUsize>,
    /// How many transactions are committed whose answers are lost.
    pub lost: Arc<AtomicUsize>,
    /// How often records were taken on their way.
    pub sends: Arc<AtomicUsize>,
    /// How many calls fail.
    failing: Arc<AtomicUsize>,
    /// The most bytes of a record; 0 for any number.
    pub limit: Arc<AtomicUsize>,
    rules: Arc<Mutex<Rules>>,
}

type Watch = dyn Fn(&[OutgoingRecord]) + Send;
type Takes = dyn Fn(&OutgoingRecord) -> bool + Send;

#[derive(Default)]
struct Rules {
    watch: Option<Box<Watch>>,
    takes: Option<Box<Takes>>,
}

impl Topic {
    /// One that is published to in transactions.
    pub fn in_transactions() -> Self {
        Self { guarantee: DeliveryGuarantee::ExactlyOnce, ..Self::default() }
    }

    /// The next `calls` fail.
    pub fn fail(&self, calls: usize) {
        self.failing.store(calls, Ordering::SeqCst);
    }

    /// Shows what is published before it is.
    pub fn watch(&self, watch: impl Fn(&[OutgoingRecord]) + Send + 'static) {
        self.rules.lock().unwrap().watch = Some(Box::new(watch));
    }

    /// Only such records are not too large.
    pub fn takes(&self, takes: impl Fn(&OutgoingRecord) -> bool + Send + 'static) {
        self.rules.lock().unwrap().takes = Some(Box::new(takes));
    }

    /// What was published, in order.
    pub fn records(&self) -> Vec<OutgoingRecord> {
        self.records.lock().unwrap().clone()
    }

    /// The ids of what was published, in order.
    pub fn ids(&self) -> Vec<String> {
        let id = |record: &OutgoingRecord| {
            let (_, id) = record.headers.iter().find(|(name, _)| name == "tally.id").unwrap();
            String::from_utf8(id.clone().unwrap().to_vec()).unwrap()
        };
        self.records.lock().unwrap().iter().map(id).collect()
    }
}

impl Publish for Topic {
    type Sending = Vec<OutgoingRecord>;
    type Transactions = usize;

    async fn limit(&self, _: &str) -> Result<usize, Fault> {
        let limit = self.limit.load(Ordering::SeqCst);
        Ok(if limit == 0 { usize::MAX } else { limit })
    }

    async fn send(&self, records: &[OutgoingRecord]) -> Result<Self::Sending, Fault> {
        self.sends.fetch_add(1, Ordering::SeqCst);
        Ok(records.to_vec())
    }

    async fn acknowledged(&self, records: &Self::Sending) -> Result<Vec<usize>, Fault> {
        tokio::task::yield_now().await;
        if one_of(&self.failing) {
            return Err(Fault::outage("the topics are unavailable"));
        }
        let rules = self.rules.lock().unwrap();
        if let Some(watch) = &rules.watch {
            watch(records);
        }
        let takes =
            |record: &OutgoingRecord| rules.takes.as_ref().is_none_or(|takes| takes(record));
        let mut published = self.records.lock().unwrap();
        published.extend(records.iter().filter(|record| takes(record)).cloned());
        Ok((0..records.len()).filter(|&index| !takes(&records[index])).collect())
    }

    async fn prepare_transactions(&self, _: i32) -> Result<(), Fault> {
        Ok(())
    }

    async fn begin_transactions(&self, _: &Stream, _: Duration) -> Result<usize, Fault> {
        Ok(self.begun.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn progress(&self, _: &usize) -> Result<Option<Progress>, Fault> {
        Ok(self.progress.lock().unwrap().clone())
    }

    async fn transact(
        &self,
        begun: &mut usize,
        records: &[OutgoingRecord],
        progress: &Progress,
    ) -> Result<Vec<usize>, Fault> {
        if *begun != self.begun.load(Ordering::SeqCst) {
            return Err(Fault::outage("fenced"));
        }
        let too_large = {
            let rules = self.rules.lock().unwrap();
            let takes =
                |record: &OutgoingRecord| rules.takes.as_ref().is_none_or(|takes| takes(record));
            (0..records.len()).filter(|&index| !takes(&records[index])).collect::<Vec<_>>()
        };
        if !too_large.is_empty() {
            return Ok(too_large);
        }
        self.acknowledged(&records.to_vec()).await?;
        *self.progress.lock().unwrap() = Some(progress.clone());
        if one_of(&self.lost) { Err(Fault::outage("no answer")) } else { Ok(Vec::new()) }
    }
}

/// Takes one of them, if there is one.
fn one_of(left: &AtomicUsize) -> bool {
    let less = |left: usize| left.checked_sub(1);
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
}

/// Everything around one run.
pub struct Bench {
    pub flow: Arc<dyn Flow>,
    /// Where the flow publishes to.
    pub topic: Option<Topic>,
    pub store: MemoryStore,
    pub stream: Arc<Stream>,
    pub status: Arc<Status>,
    pub stop: CancellationToken,
    pub settings: Settings,
    pub max_outage: Option<Duration>,
    pub totals: Totals,
}

impl Bench {
    /// Batches of ten, two ahead.
    pub fn new() -> Self {
        Self::of(build::flow_named(Transactions::NAME), "file/x")
    }

    /// The same for a stream of another flow.
    pub fn of(flow: Arc<dyn Flow>, name: &str) -> Self {
        let stream = Stream {
            flow: flow.name().to_owned(),
            ..(*build::stream::<Transactions>(name)).clone()
        };
        Self {
            flow,
            topic: None,
            store: MemoryStore::default(),
            stream: Arc::new(stream),
            status: Arc::default(),
            stop: CancellationToken::new(),
            settings: Settings { batch_size: 10, ahead: 2, ..Settings::default() },
            max_outage: None,
            totals: Totals::default(),
        }
    }

    /// The partition as its next owner finds it.
    pub async fn claim(&self) -> Position {
        match self.store.claim(&self.stream, "me", build::LONG, Begin::default()).await {
            Ok(Claim::Owned(position)) => position,
            other => panic!("{other:?}"),
        }
    }

    /// One run from the partition's position on.
    pub async fn run(&mut self, source: Scripted, model: impl Enrich) -> Result<Ended, Stop> {
        let position = self.claim().await;
        self.run_at(position, source, model).await
    }

    /// One run as the owner of `position`.
    pub async fn run_at(
        &mut self,
        position: Position,
        source: Scripted,
        model: impl Enrich,
    ) -> Result<Ended, Stop> {
        let gates = Gates::new(&self.status, "file", self.max_outage);
        let (model, store) = (Arc::new(model), Arc::new(self.store.clone()));
        let outputs = self.topic.clone();
        let outputs = outputs.map(|topic| {
            let guarantee = topic.guarantee;
            Outputs::new(topic, default_topics(&*self.flow), guarantee)
        });
        let pipeline = Arc::new(Pipeline::new(
            Arc::clone(&self.flow),
            self.flow.model().map(|_| model),
            outputs,
            store,
            gates,
            Arc::clone(&self.status),
            self.settings.clone(),
        ));
        let partition =
            Partition { stream: Arc::clone(&self.stream), worker: "me".into(), position };
        let stop = &self.stop;
        let open = |_: &Position| std::future::ready(Ok(source.clone()));
        let settling = pipeline.settle(partition, open, stop, &mut self.totals, |_, _| {});
        let partition = settling.await?;
        let source = source.from(partition.position.next);
        pipeline.run(source, partition, &self.stop, &mut self.totals, |_, _| {}).await
    }

    /// The ledger's ranges, in order of the commits.
    pub fn ranges(&self) -> Vec<(i64, i64)> {
        self.store.batches().iter().map(|entry| (entry.first, entry.last)).collect()
    }
}
