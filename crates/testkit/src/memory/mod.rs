//! A store in memory: what a run needs of a store (`Sink`, `Positions`, `Workers`, `PositionAdmin`, `Outbox`,
//! `DeadLetterRelay`, `Counters`) with the same
//! contract as the databases, and faults at will. It has none of the tools' ports.

mod contract;
mod counters;
mod dead_letter_relay;
mod earlier;
mod effect;
mod outbox;
mod position_admin;
mod positions;
mod sink;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::Value;
use tally_domain::quality::Report;
use tally_ports::{
    Act, Committed, DeadLetter, Fault, OutboxRecord, OutdatedBy, Passed, State as DeadLetterState,
    Stream, Worker,
};
use tokio::time::Instant;
use uuid::Uuid;

use self::effect::Tables;
use self::outbox::OutboxRow;
use crate::contract::Record;

/// A store in memory. A clone is the same store, opened once more. Its clock is tokio's, so a test may pause it.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    began: (NaiveDateTime, Instant),
}

#[derive(Default)]
struct State {
    tables: Tables,
    positions: Vec<PositionRow>,
    batches: Vec<Entry>,
    /// The ranges that were counted, by log.
    counted: BTreeMap<Log, Vec<(i64, i64)>>,
    dead_letters: Vec<DeadLetterRow>,
    outbox: Vec<OutboxRow>,
    acts: Vec<StoredAct>,
    workers: Vec<WorkerRow>,
    serves_one: bool,
    /// How far the clock went back.
    turned_back: Duration,
    /// The dead letters that are being published.
    locked: BTreeSet<Uuid>,
    refusals: Vec<RefusalRule>,
    failing_commits: usize,
    failing_positions: usize,
    failing_workers: usize,
    lost_marks: usize,
    failing_deletes: usize,
    lost_answers: usize,
}

/// Flow, stream, partition and log.
type Log = (String, String, i32, i64);

/// The code with which a row of a flow is refused.
type RefusalRule = Box<dyn Fn(&str, &Record) -> Option<String> + Send>;

/// A row of `positions`; its id is its index, from 1.
struct PositionRow {
    stream: Stream,
    pass: i32,
    log: i64,
    next: i64,
    cursor: Value,
    stats: Value,
    epoch: i64,
    outbox_next: i64,
    owner: Option<String>,
    lease_until: Option<NaiveDateTime>,
    ended_at: Option<NaiveDateTime>,
    rejected_at: Option<NaiveDateTime>,
    updated_at: NaiveDateTime,
}

/// A row of the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The batch's id.
    pub id: Uuid,
    /// What was read.
    pub stream: Arc<Stream>,
    /// In which reading of it.
    pub pass: i32,
    /// The first position.
    pub first: i64,
    /// The last position passed.
    pub last: i64,
    /// How many records were read.
    pub read: i64,
    /// What became of the rows.
    pub committed: Committed,
    /// How many records became dead letters, those that the store refused among them.
    pub dead_lettered: usize,
    /// What the quality rules found.
    pub quality: Report,
    /// The positions without a record.
    pub passed: Passed,
    /// The flow's own split of what was written and skipped.
    pub detail: Option<Value>,
    /// Why a range without records was passed.
    pub gap: Option<String>,
    /// Who committed.
    pub worker: Arc<str>,
    pub committed_at: NaiveDateTime,
}

/// A dead letter and its batch.
#[derive(Clone, Debug)]
pub struct DeadLetterRow {
    /// What was read.
    pub stream: Arc<Stream>,
    /// In which reading of it.
    pub pass: i32,
    /// The batch.
    pub batch_id: Uuid,
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// What became of it.
    pub state: DeadLetterState,
    /// Which rule outdated it, where one did.
    pub outdated_by: Option<OutdatedBy>,
    /// When it was committed.
    pub failed_at: NaiveDateTime,
    /// When a topic had it.
    pub published_at: Option<NaiveDateTime>,
}

/// An act.
#[derive(Clone, Debug)]
pub struct StoredAct {
    pub id: Uuid,
    pub at: NaiveDateTime,
    pub act: Act,
}

/// A row of `workers`.
struct WorkerRow {
    worker: Worker,
    seen_at: NaiveDateTime,
    seen_until: NaiveDateTime,
}

impl Default for MemoryStore {
    fn default() -> Self {
        let now = DateTime::<Utc>::from(SystemTime::now()).naive_utc();
        Self { state: Arc::default(), began: (now, Instant::now()) }
    }
}

impl MemoryStore {
    /// From now on rows are refused for which `refusal`, given the flow's name and the row, has a code.
    pub fn refuse(&self, refusal: impl Fn(&str, &Record) -> Option<String> + Send + 'static) {
        self.state().refusals.push(Box::new(refusal));
    }

    /// The next `calls` of commit do nothing and answer with an outage.
    pub fn fail_commits(&self, calls: usize) {
        self.state().failing_commits = calls;
    }

    /// The next `calls` of claim, renew, release and finish do nothing and answer with an outage.
    pub fn fail_positions(&self, calls: usize) {
        self.state().failing_positions = calls;
    }

    /// The next `calls` of commit that succeed are done, but answer with an outage.
    pub fn lose_answers(&self, calls: usize) {
        self.state().lost_answers = calls;
    }

    /// The next `calls` of `join_stream` and `leave` do nothing and answer with an outage.
    pub fn fail_workers(&self, calls: usize) {
        self.state().failing_workers = calls;
    }

    /// The next `calls` of relay publish, but mark nothing and answer with an outage.
    pub fn lose_marks(&self, calls: usize) {
        self.state().lost_marks = calls;
    }

    /// The next `calls` that delete published records do nothing and answer with an outage.
    pub fn fail_deletes(&self, calls: usize) {
        self.state().failing_deletes = calls;
    }

    /// From now on it serves one worker, as a file does.
    pub fn serve_one_worker(&self) {
        self.state().serves_one = true;
    }

    /// Another owner, called `thief`, takes over the stream's partition, even from a live lease.
    pub fn steal(&self, stream: &Stream) {
        for row in self.state().positions.iter_mut().filter(|row| is_same(&row.stream, stream)) {
            row.epoch += 1;
            row.owner = Some("thief".to_owned());
            row.lease_until = Some(NaiveDateTime::MAX);
        }
    }

    /// The clock goes back.
    pub fn turn_clock_back(&self, by: Duration) {
        self.state().turned_back += by;
    }

    /// The rows of a table, in order of their keys.
    pub fn rows(&self, table: &str) -> Vec<Record> {
        let state = self.state();
        let rows = state.tables.get(table).into_iter().flat_map(BTreeMap::values);
        rows.map(|stored| stored.record.clone()).collect()
    }

    /// The ledger, in order of the commits.
    pub fn batches(&self) -> Vec<Entry> {
        self.state().batches.clone()
    }

    /// The dead letters, in order of the commits.
    pub fn dead_letters(&self) -> Vec<DeadLetterRow> {
        self.state().dead_letters.clone()
    }

    /// The records that are not published yet, in order of the commits.
    pub fn outbox_records(&self) -> Vec<OutboxRecord> {
        self.state().outbox.iter().map(|row| row.record.clone()).collect()
    }

    /// The acts, in order.
    pub fn acts(&self) -> Vec<StoredAct> {
        self.state().acts.clone()
    }

    /// The ids of the live workers, in the order in which they joined.
    pub fn live_workers(&self) -> Vec<Arc<str>> {
        let now = self.now();
        let state = self.state();
        let live_workers = state.workers.iter().filter(|present| present.seen_until > now);
        live_workers.map(|present| Arc::clone(&present.worker.id)).collect()
    }

    /// The last pass of a stream: its next position, and whether it was finished.
    pub fn next(&self, stream: &Stream) -> Option<(i64, bool)> {
        let state = self.state();
        let row = state.positions.iter().rfind(|row| is_same(&row.stream, stream))?;
        Some((row.next, row.ended_at.is_some()))
    }

    /// The owner of the last pass of a stream.
    pub fn owner(&self, stream: &Stream) -> Option<String> {
        self.state().positions.iter().rfind(|row| is_same(&row.stream, stream))?.owner.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> NaiveDateTime {
        let (began, at) = self.began;
        began + TimeDelta::from_std(at.elapsed()).expect("a short test") - self.state().turned_back
    }
}

/// Whether one of `calls` that fail is left, and takes it.
fn takes_one(calls: &mut usize) -> bool {
    let is_left = *calls > 0;
    *calls = calls.saturating_sub(1);
    is_left
}

fn outage() -> Fault {
    Fault::outage("the store in memory is unavailable, as the test wants")
}

fn is_same(one: &Stream, other: &Stream) -> bool {
    (&one.flow, &one.name, one.partition) == (&other.flow, &other.name, other.partition)
}
