//! Reads ahead of the source.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tally_kafka_client::{Fetch, Fetched, Passed, Piece, RecordBatch, Why};
use tally_ports::{Fault, Stop, metric, passed};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::log_position::{Halt, LogPosition};
use crate::{Gap, PartitionProgress};

/// How long a fetch waits for new records.
const WAIT: Duration = Duration::from_millis(500);

/// An event of the log, in order.
pub(super) enum Event {
    /// The log is the one that was read before.
    Opened { topic_id: Option<Uuid> },
    /// Records, at least one.
    Records(RecordBatch),
    /// There are no records up to this offset, and why.
    Passed { last: i64, why: &'static str },
    /// The source's end is reached.
    End,
    /// The partition is blocked.
    Blocked(Box<(Gap, Stop)>),
    /// A fault; a later fetch may succeed.
    Fault(Fault),
}

/// A task that reads ahead: one batch of the log is in the channel and one waits to be sent.
pub(super) struct Reader {
    pub(super) events: mpsc::Receiver<Event>,
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    /// Reads from `log_position` up to `until`, until the first fault.
    pub(super) fn start(
        log_position: LogPosition,
        until: Option<i64>,
        progress: Arc<PartitionProgress>,
    ) -> Self {
        let (sender, events) = mpsc::channel(1);
        let until = until.unwrap_or(i64::MAX);
        let task = Task { log_position, until, progress, events: sender };
        Self { events, _task: AbortOnDropHandle::new(tokio::spawn(task.run())) }
    }
}

struct Task {
    log_position: LogPosition,
    until: i64,
    progress: Arc<PartitionProgress>,
    events: mpsc::Sender<Event>,
}

impl Task {
    async fn run(mut self) {
        let event = match self.read().await {
            Ok(()) => Event::End,
            Err(Halt::Blocked(why)) => Event::Blocked(why),
            Err(Halt::Fault(fault)) => Event::Fault(fault),
            Err(Halt::Abandoned) => return,
        };
        let _nobody_listens = self.events.send(event).await;
    }

    async fn read(&mut self) -> Result<(), Halt> {
        let log = self.log_position.open().await?;
        self.log_position.was_there = true;
        self.send(Event::Opened { topic_id: log.topic_id() }).await?;
        let settings = self.log_position.cluster.settings().clone();
        while self.log_position.next < self.until {
            let fetch = Fetch {
                max_wait: WAIT.min(settings.timeout / 2),
                max_bytes: settings.fetch_bytes,
                max_batch_bytes: settings.max_batch_bytes,
                ..Fetch::from(self.log_position.next)
            };
            let mut answer = match log.fetch(fetch).await {
                Ok(Fetched::Answer(answer)) => answer,
                Ok(Fetched::Throttled(_)) => continue,
                Err(error) => return Err(self.log_position.halt(error).await),
            };
            let (end, before) = (answer.last_stable_offset, self.log_position.next);
            while self.log_position.next < self.until && !answer.batches.is_at_end() {
                // A batch has its place in memory before it is unpacked.
                let place = self.log_position.place().await?;
                let Some(piece) = answer.batches.next() else { break };
                let last = piece.last();
                self.progress.fetched(last + 1, end);
                match piece {
                    Piece::Passed(Passed { first, why: Why::Undecodable(broken), .. }) => {
                        return Err(self.log_position.undecodable(first..=last, &broken, &log));
                    }
                    Piece::Passed(Passed { why, .. }) => {
                        drop(place);
                        let why = passed_by(&why);
                        self.send(Event::Passed { last, why }).await?;
                    }
                    Piece::Records(batch) => {
                        let batch = keep(batch, place);
                        self.send(Event::Records(batch)).await?;
                    }
                }
                self.log_position.next = last + 1;
            }
            if self.log_position.next == before {
                counter!(metric::KAFKA_POLL_EMPTY).increment(1);
                self.progress.fetched(before, end);
            }
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), Halt> {
        self.events.send(event).await.map_err(|_| Halt::Abandoned)
    }
}

/// Its records keep as much of `place` as they take, until the last of them is dropped.
fn keep(batch: RecordBatch, mut place: OwnedSemaphorePermit) -> RecordBatch {
    let kept = place.split(batch.size());
    batch.guarded(kept)
}

fn passed_by(why: &Why) -> &'static str {
    match why {
        Why::Marker(_) => passed::MARKER,
        Why::Aborted => passed::ABORTED,
        Why::Empty => passed::EMPTY,
        Why::Hole => passed::HOLE,
        Why::Undecodable(_) => passed::GAP,
    }
}
