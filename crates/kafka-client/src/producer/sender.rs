//! The task behind a producer: batches out to the leaders, answers in.

mod answers;
mod calls;
mod leaders;
mod link;

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::ProduceRequest;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::answers::Answered;
use self::calls::Calls;
use self::link::Link;
use super::lane::{Entry, Lane};
use super::pack::Packing;
use super::{Identity, Kind, ProducerSettings, Undelivered, requests};
use crate::client::Client;
use crate::connection::Connection;
use crate::error::Error;
use crate::metadata::Topic;

/// A request holds about so many bytes, or one batch.
const REQUEST_BYTES: usize = 4 << 20;

/// The indices of the records that are too large, or why the call has not ended yet, or failed.
pub(super) type Outcome = Result<Vec<usize>, Undelivered>;

/// Records of one topic.
pub(super) struct Call {
    pub(super) topic: Arc<str>,
    pub(super) max_batch_bytes: usize,
    pub(super) delivery: u64,
    pub(super) entries: Vec<(i32, Entry)>,
    pub(super) outcomes: watch::Sender<Option<Outcome>>,
    /// Those that come together share it.
    pub(super) permit: Option<Arc<OwnedSemaphorePermit>>,
}

pub(super) enum Command {
    Send(Vec<Call>),
    /// With another identity; what is on its way is forgotten.
    Begin {
        identity: Identity,
        produce_version: i16,
    },
    /// Waits for all calls; answers the first failure since the producer began.
    Flush(oneshot::Sender<Result<(), Error>>),
}

/// What was waited for.
enum Done {
    Identity(Result<Identity, Error>),
    Leaders(Arc<str>, Result<Topic, Error>),
    Connected(Arc<str>, Result<Connection, Error>),
}

pub(super) struct Sender {
    client: Client,
    settings: ProducerSettings,
    kind: Kind,
    packing: Packing,
    produce_version: i16,
    identity: Option<Identity>,
    commands: mpsc::UnboundedReceiver<Command>,
    is_closing: bool,
    calls: Calls,
    lanes: Vec<Lane>,
    lane_of: HashMap<(Arc<str>, i32), usize>,
    /// None while it is opened.
    links: HashMap<Arc<str>, Option<Link>>,
    link_count: u64,
    answers: (mpsc::UnboundedSender<Answered>, mpsc::UnboundedReceiver<Answered>),
    jobs: JoinSet<Done>,
    is_asking_identity: bool,
    topics_asked: Vec<Arc<str>>,
}

/// From version 12 on a batch adds its partition to the transaction by itself (KIP-890).
pub(super) const PRODUCE_BEFORE_KIP_890: i16 = 11;

impl Sender {
    pub(super) fn new(
        client: Client,
        settings: ProducerSettings,
        kind: Kind,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let is_transactional = matches!(kind, Kind::Transactional(_));
        Self {
            client,
            kind,
            packing: Packing { codec: settings.codec, is_transactional },
            settings,
            produce_version: PRODUCE_BEFORE_KIP_890,
            identity: None,
            commands,
            is_closing: false,
            calls: Calls::default(),
            lanes: Vec::new(),
            lane_of: HashMap::new(),
            links: HashMap::new(),
            link_count: 0,
            answers: mpsc::unbounded_channel(),
            jobs: JoinSet::new(),
            is_asking_identity: false,
            topics_asked: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        // A transaction that nobody can end needs none of its records.
        while !self.is_closing || !(self.calls.is_empty() || self.packing.is_transactional) {
            let wake = self.start_what_is_due();
            let sleep = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = self.commands.recv(), if !self.is_closing => match command {
                    Some(command) => self.take(command),
                    None => self.is_closing = true,
                },
                Some(answered) = self.answers.1.recv() => self.answered(answered),
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = sleep => self.expire(),
            }
            self.forget_unwanted();
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Send(calls) => {
                let lingers_until = Instant::now() + self.settings.linger;
                for Call { topic, max_batch_bytes, delivery, entries, outcomes, permit } in calls {
                    self.calls.open(delivery, entries.len(), outcomes, permit);
                    for (partition, entry) in entries {
                        let lane = self.lane(&topic, partition, max_batch_bytes);
                        self.lanes[lane].set_limit(max_batch_bytes);
                        self.lanes[lane].push(entry, lingers_until);
                    }
                }
            }
            Command::Flush(flushed) => self.calls.flush(flushed),
            Command::Begin { identity, produce_version } => {
                // What is on its way in a link belongs to the former identity.
                let is_idle = self.lanes.iter().all(Lane::is_idle);
                if !is_idle || produce_version != self.produce_version {
                    self.links.retain(|_, link| link.is_none());
                }
                for lane in &mut self.lanes {
                    lane.reset(identity);
                }
                self.calls.begin();
                self.identity = Some(identity);
                self.produce_version = produce_version;
            }
        }
    }

    fn lane(&mut self, topic: &Arc<str>, partition: i32, max_batch_bytes: usize) -> usize {
        let lanes = &mut self.lanes;
        let epoch = self.identity.map_or(0, |identity| identity.epoch);
        *self.lane_of.entry((topic.clone(), partition)).or_insert_with(|| {
            lanes.push(Lane::new(topic.clone(), partition, max_batch_bytes, epoch));
            lanes.len() - 1
        })
    }

    /// Starts all that can be; tells when to look again.
    fn start_what_is_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut wake: Option<Instant> = None;
        let mut wait_until = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        let mut ready: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        let mut unled = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            match lane.is_ready(now, self.settings.batch_bytes) {
                Ok(()) => match &lane.leader {
                    Some(leader) => ready.entry(leader.clone()).or_default().push(index),
                    None => unled.push(lane.topic.clone()),
                },
                Err(Some(at)) => wait_until(at),
                Err(None) => {}
            }
        }
        if !(unled.is_empty() && ready.is_empty()) && self.identity.is_none() {
            self.ask_identity();
        }
        for topic in unled {
            self.ask_leaders(topic);
        }
        if let Some(identity) = self.identity {
            for (broker, mut lanes) in ready {
                self.send(&broker, identity, &mut lanes, now);
            }
        }
        for link in self.links.values().flatten() {
            link.wakes_at().into_iter().for_each(&mut wait_until);
        }
        wake
    }

    fn ask_identity(&mut self) {
        if matches!(self.kind, Kind::Transactional(_)) || self.is_asking_identity {
            return;
        }
        self.is_asking_identity = true;
        let client = self.client.clone();
        self.jobs.spawn(async move {
            let answer = client.ask_anyone(|_| requests::init_producer_id()).await;
            Done::Identity(answer.and_then(|(broker, answer)| requests::identity(&broker, &answer)))
        });
    }

    fn ask_leaders(&mut self, topic: Arc<str>) {
        if self.topics_asked.contains(&topic) {
            return;
        }
        self.topics_asked.push(topic.clone());
        let client = self.client.clone();
        self.jobs.spawn(async move {
            let found = client.topic(&topic).await;
            Done::Leaders(topic, found)
        });
    }

    fn connect(&mut self, broker: &Arc<str>) {
        self.links.insert(broker.clone(), None);
        let (client, broker) = (self.client.clone(), broker.clone());
        self.jobs.spawn(async move {
            let connection = client.pool().open(&broker).await;
            Done::Connected(broker, connection)
        });
    }

    /// Requests to one broker, each with a batch of each lane that has one, as many as may be in flight.
    fn send(
        &mut self,
        broker: &Arc<str>,
        identity: Identity,
        lanes: &mut Vec<usize>,
        now: Instant,
    ) {
        let link = match self.links.get_mut(broker) {
            Some(Some(link)) => link,
            Some(None) => return,
            None => return self.connect(broker),
        };
        if link.is_worn_out() {
            self.links.remove(broker);
            return self.connect(broker);
        }
        let mut settled = Vec::new();
        let batch_bytes = self.settings.batch_bytes;
        while link.has_room(now) && !lanes.is_empty() {
            let (mut batches, mut sent, mut bytes) = (Vec::new(), Vec::new(), 0);
            lanes.retain(|&index| {
                if bytes >= REQUEST_BYTES {
                    return true;
                }
                let lane = &mut self.lanes[index];
                let taken = lane.take(self.packing, identity.id, batch_bytes, &mut settled);
                let Some((batch, packed)) = taken else { return false };
                bytes += packed.len();
                batches.push((lane.topic.clone(), lane.partition, packed));
                sent.push((index, batch));
                lane.is_ready(now, batch_bytes).is_ok()
            });
            if batches.is_empty() {
                break;
            }
            let id = match &self.kind {
                Kind::Idempotent => None,
                Kind::Transactional(id) => Some(&**id),
            };
            let batches = batches
                .iter()
                .map(|(topic, partition, packed)| (topic, *partition, packed.clone()));
            let request = requests::produce(id, link.limit() / 2, batches);
            link.send(&request, sent, now);
        }
        self.calls.settle(settled);
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Identity(Ok(identity)) => {
                self.is_asking_identity = false;
                self.identity = Some(identity);
                for lane in &mut self.lanes {
                    lane.set_epoch(identity.epoch);
                }
            }
            Done::Identity(Err(error)) => {
                self.is_asking_identity = false;
                self.back_off(|_| true, &error);
            }
            Done::Leaders(topic, found) => {
                self.topics_asked.retain(|asked| *asked != topic);
                match found {
                    Ok(found) => self.learn_leaders(&topic, &found),
                    Err(error) => self.back_off_unled(&topic, &error),
                }
            }
            Done::Connected(broker, connection) => {
                if !matches!(self.links.get(&broker), Some(None)) {
                    return;
                }
                self.link_count += 1;
                let (number, limit) =
                    (self.link_count, self.client.pool().settings().request_timeout);
                let answers = self.answers.0.clone();
                let answered = move |answer| {
                    // Where the sender is gone, nobody wants it.
                    let _ = answers.send(Answered { link: number, answer });
                };
                let pipeline = connection.and_then(|connection| {
                    connection.into_pipeline::<ProduceRequest>(self.produce_version, answered)
                });
                match pipeline {
                    Ok(pipeline) => {
                        let link = Link::new(number, pipeline, broker.clone(), limit);
                        self.links.insert(broker, Some(link));
                    }
                    Err(error) => {
                        self.links.remove(&broker);
                        self.lose_broker(&broker, &error);
                    }
                }
            }
        }
    }

    /// Nobody waits for them any more. A transaction misses none of its records.
    fn forget_unwanted(&mut self) {
        if !self.packing.is_transactional && self.calls.forget_dropped() {
            for lane in &mut self.lanes {
                lane.drop_unwanted(|delivery| self.calls.is_open(delivery));
            }
        }
    }
}
