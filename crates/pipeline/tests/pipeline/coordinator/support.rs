//! Workers of one stream, and partitions on which they work as a test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tally_domain::transactions::Transactions;
use tally_pipeline::{CancellationToken, Coordinator, Ended, Gates, Partition, Partitions, Status};
use tally_ports::{
    Act, Begin, Claim, Fault, PartitionState, PositionAdmin, Positions, Stop, StopKind, Stream,
    Worker,
};
use tally_testkit::memory::MemoryStore;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub const LEASE: Duration = Duration::from_secs(3);

/// Who works on which partition, over all workers of a test.
type Board = Arc<watch::Sender<BTreeMap<i32, String>>>;

/// Partitions on which work never ends by itself, unless a test says so.
#[derive(Default)]
pub struct Fake {
    pub count: AtomicUsize,
    board: Board,
    /// How often work began.
    pub begun: AtomicUsize,
    /// What work on a partition ends with at once.
    pub outcomes: Mutex<BTreeMap<i32, Result<Ended, Stop>>>,
    pub ends: Mutex<Option<BTreeMap<i32, i64>>>,
    /// Once notified, work on a partition moves its position to 100 and ends.
    pub finish: Option<(Arc<Notify>, Arc<MemoryStore>)>,
}

impl Partitions for Fake {
    async fn list(&self) -> Result<Vec<i32>, Fault> {
        Ok((0..i32::try_from(self.count.load(Ordering::SeqCst)).unwrap()).collect())
    }

    async fn start(&self, _: i32) -> Result<i64, Fault> {
        Ok(7)
    }

    async fn first(&self, _: i32) -> Result<i64, Fault> {
        Ok(3)
    }

    fn end(&self, partition: i32) -> Option<i64> {
        self.ends.lock().unwrap().as_ref().map(|ends| ends[&partition])
    }

    async fn work(&self, partition: Partition, stop: CancellationToken) -> Result<Ended, Stop> {
        let number = partition.stream.partition;
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut other = None;
        let worker = partition.worker.to_string();
        self.board.send_modify(|board| other = board.insert(number, worker));
        assert_eq!(other, None, "two work on {number}");
        let _at_work = AtWork { board: Arc::clone(&self.board), number };
        let outcome = self.outcomes.lock().unwrap().get(&number).cloned();
        match &self.finish {
            _ if outcome.is_some() => {}
            Some((finish, store)) => {
                finish.notified().await;
                let lease = Some(&partition.position.lease);
                store.set(&partition.stream, 100.into(), lease, &act()).await.unwrap();
            }
            None => {
                stop.cancelled().await;
                sleep(Duration::from_millis(100)).await; // what is in flight
            }
        }
        outcome.unwrap_or(Ok(Ended::Interrupted))
    }

    fn let_go(&self, _: i32) {}
}

/// Takes a partition off the board when work on it ends, in whichever way.
struct AtWork {
    board: Board,
    number: i32,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.board.send_modify(|board| drop(board.remove(&self.number)));
    }
}

/// Workers of one stream.
pub struct Stage {
    pub store: Arc<MemoryStore>,
    board: Board,
}

/// A worker that runs.
pub struct Running {
    pub partitions: Arc<Fake>,
    pub status: Arc<Status>,
    stop: CancellationToken,
    pub run: JoinHandle<Result<Ended, Stop>>,
}

impl Stage {
    pub fn new() -> Self {
        Self { store: Arc::default(), board: Board::default() }
    }

    pub fn fake(&self, count: usize) -> Fake {
        Fake { count: count.into(), board: Arc::clone(&self.board), ..Fake::default() }
    }

    pub fn start(&self, name: &str, partitions: Fake) -> Running {
        let (partitions, status) = (Arc::new(partitions), Arc::new(Status::default()));
        let coordinator = Coordinator {
            store: Arc::clone(&self.store),
            partitions: Arc::clone(&partitions),
            worker: worker(name),
            label: "topic".into(),
            lease: LEASE,
            gates: Gates::new(&status, "kafka", None),
            status: Arc::clone(&status),
        };
        status.set_in_progress(true);
        let stop = CancellationToken::new();
        let token = stop.clone();
        Running {
            partitions,
            status,
            stop,
            run: tokio::spawn(async move { coordinator.run(&token).await }),
        }
    }

    pub fn shares(&self) -> BTreeMap<String, usize> {
        shares(&self.board.borrow())
    }

    pub async fn until_shares(&self, wanted: &[(&str, usize)]) {
        let wanted: BTreeMap<String, usize> =
            wanted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let mut board = self.board.subscribe();
        let is_so = board.wait_for(|board| shares(board) == wanted);
        let has_come = timeout(20 * LEASE, is_so).await.is_ok();
        assert!(has_come, "{:?} instead of {wanted:?}", self.shares());
    }

    pub async fn partition_state(&self, partition: i32) -> Option<PartitionState> {
        let partition_states =
            self.store.partition_states(Transactions::NAME, "group/topic").await.unwrap();
        partition_states.into_iter().find(|state| state.partition == partition)
    }

    pub async fn owner(&self, partition: i32) -> Option<String> {
        self.partition_state(partition).await.and_then(|state| state.owner)
    }

    pub async fn claim(&self, partition: i32, owner: &str) {
        let claim = self.store.claim(&stream(partition), owner, LEASE, Begin::default()).await;
        assert!(matches!(claim, Ok(Claim::Owned(_))), "{claim:?}");
    }
}

impl Running {
    pub async fn end(self) -> Result<Ended, Stop> {
        self.stop.cancel();
        self.run.await.unwrap()
    }
}

fn shares(board: &BTreeMap<i32, String>) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for worker in board.values() {
        *shares.entry(worker.clone()).or_default() += 1;
    }
    shares
}

pub fn worker(name: &str) -> Worker {
    Worker {
        id: name.into(),
        flow: Transactions::NAME.to_owned(),
        stream: "group/topic".into(),
        host: "here".into(),
        pid: 1,
    }
}

pub fn stream(partition: i32) -> Stream {
    let (name, label) = ("group/topic".to_owned(), "topic".to_owned());
    Stream { flow: Transactions::NAME.to_owned(), name, partition, label }
}

fn act() -> Act {
    Act {
        who: "a test".into(),
        verb: "positions set",
        flow: Transactions::NAME.into(),
        target: "topic".into(),
        reason: "none".into(),
        result: Value::Null,
    }
}

pub fn stop(kind: StopKind) -> Stop {
    Stop { kind, message: "as the test wants it".into() }
}
