//! The outage gate: the only place that retries.

use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use metrics::{counter, gauge};
use tally_ports::{Fault, Stop, StopKind, metric};
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::Status;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// An outage is logged at once and then this often.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Guards the calls to one dependency. It is shared by all calls in flight: once one of them meets an outage the
/// gate is closed, all others wait, and one at a time probes with its own call until it succeeds.
pub struct Gate {
    dependency: &'static str,
    stage: &'static str,
    max_outage: Option<Duration>,
    status: Arc<Status>,
    /// Held by the prober; the other calls wait for it.
    outage: Mutex<Option<Outage>>,
    /// When a call that was no probe was last answered.
    answered: std::sync::Mutex<Instant>,
}

/// The gates of a pipeline.
#[derive(Clone)]
pub struct Gates {
    /// The source's. One for all partitions of a topic.
    pub source: Arc<Gate>,
    /// The model's.
    pub model: Arc<Gate>,
    /// The database's.
    pub database: Arc<Gate>,
    /// That of the topics that the flow publishes to.
    pub publish: Arc<Gate>,
}

impl Gates {
    /// Open gates that give up after `max_outage`, if any. `source` is the label of the source.
    pub fn new(status: &Arc<Status>, source: &'static str, max_outage: Option<Duration>) -> Self {
        let gate = |dependency, stage| {
            Arc::new(Gate::new(dependency, stage, max_outage, Arc::clone(status)))
        };
        Self {
            source: gate(source, "read"),
            model: gate("model", "enrich"),
            database: gate("database", "commit"),
            publish: gate("output topics", "publish"),
        }
    }
}

struct Outage {
    began: Instant,
    /// When to log it again.
    said: Interval,
    pauses: ExponentialBackoff,
    message: String,
}

impl Gate {
    /// An open gate. `stage` is where its faults are counted; without `max_outage` it never gives up.
    pub fn new(
        dependency: &'static str,
        stage: &'static str,
        max_outage: Option<Duration>,
        status: Arc<Status>,
    ) -> Self {
        gauge!(metric::GATE_OPEN, "dependency" => dependency).set(1.0);
        let (outage, answered) = (Mutex::new(None), std::sync::Mutex::new(Instant::now()));
        Self { dependency, stage, max_outage, status, outage, answered }
    }

    /// Calls until the dependency answers.
    ///
    /// An outage lasts from the failure that closes the gate, or from the last answer to a call that was in flight
    /// then, to the probe's success.
    ///
    /// # Errors
    /// The call's own [`Stop`], or [`StopKind::Unavailable`] when the outage lasts longer than allowed.
    pub async fn pass<T, Call>(&self, mut call: impl FnMut() -> Call) -> Result<T, Stop>
    where
        Call: Future<Output = Result<T, Fault>>,
    {
        let mut given_up = GivenUp { gate: self, is_answered: false };
        let result = loop {
            let mut retry_after = None;
            if self.status.has_no_outage_of(self.dependency) {
                match call().await {
                    Ok(value) => {
                        *self.lock_answered() = Instant::now();
                        break Ok(value);
                    }
                    Err(Fault::Stop(stop)) => break Err(stop),
                    Err(Fault::Outage { message, retry_after: asked }) => {
                        self.close(&message);
                        retry_after = asked;
                    }
                }
            }

            let mut outage = self.outage.lock().await;
            if self.status.has_no_outage_of(self.dependency) {
                continue; // another call's probe succeeded while this one waited
            }
            break self.probe(&mut outage, retry_after, call).await;
        };
        given_up.is_answered = true;
        result
    }

    async fn probe<T, Call>(
        &self,
        outage: &mut Option<Outage>,
        mut retry_after: Option<Duration>,
        mut call: impl FnMut() -> Call,
    ) -> Result<T, Stop>
    where
        Call: Future<Output = Result<T, Fault>>,
    {
        let current = outage.get_or_insert_with(|| {
            Outage::begin(self.status.outage_of(self.dependency).unwrap_or_default())
        });
        loop {
            let asked = retry_after.take().map(|asked| asked.max(FIRST_PAUSE));
            let own = || current.pauses.next().map(|pause| pause.min(LONGEST_PAUSE));
            let pause = asked.or_else(own).unwrap_or(LONGEST_PAUSE);
            let attempt = async {
                sleep(pause).await;
                call().await
            };
            match self.said_while(attempt, current).await? {
                Ok(value) => {
                    let lasted = self.since(current.began).elapsed();
                    *outage = None;
                    self.open(lasted);
                    return Ok(value);
                }
                Err(Fault::Stop(stop)) => return Err(stop),
                Err(Fault::Outage { message, retry_after: asked }) => {
                    self.close(&message);
                    current.message = message;
                    retry_after = asked;
                }
            }
        }
    }

    /// Awaits `attempt`, logging every ten seconds what is unavailable, until the outage has lasted too long.
    async fn said_while<T>(
        &self,
        attempt: impl Future<Output = T>,
        outage: &mut Outage,
    ) -> Result<T, Stop> {
        let Outage { began, said, message, .. } = outage;
        let began = *began;
        let give_up = async {
            let Some(longest) = self.max_outage else { return std::future::pending().await };
            while self.since(began).elapsed() < longest {
                sleep_until(self.since(began) + longest).await;
            }
        };
        tokio::pin!(attempt, give_up);
        loop {
            tokio::select! {
                result = &mut attempt => return Ok(result),
                _ = said.tick() => {
                    let seconds = self.since(began).elapsed().as_secs();
                    tracing::warn!(dependency = self.dependency, seconds, "still unavailable: {}", message);
                }
                () = &mut give_up => {
                    let seconds = self.since(began).elapsed().as_secs();
                    let message = format!("{} stayed unavailable for {seconds} s: {}", self.dependency, message);
                    return Err(Stop { kind: StopKind::Unavailable, message });
                }
            }
        }
    }

    /// The later of the outage's start and the last answer.
    fn since(&self, began: Instant) -> Instant {
        began.max(*self.lock_answered())
    }

    fn lock_answered(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the gate, unless it is closed, and records the fault.
    fn close(&self, message: &str) {
        counter!(metric::ERRORS, "source" => self.dependency, "stage" => self.stage).increment(1);
        let was_open = self.status.outage_began(self.dependency, message);
        if was_open {
            gauge!(metric::GATE_OPEN, "dependency" => self.dependency).set(0.0);
            tracing::warn!(dependency = self.dependency, "unavailable, retrying: {message}");
        }
    }

    fn open(&self, lasted: Duration) {
        gauge!(metric::GATE_OPEN, "dependency" => self.dependency).set(1.0);
        self.status.outage_ended(self.dependency);
        tracing::info!(dependency = self.dependency, seconds = lasted.as_secs(), "available again");
    }
}

/// Resets the gate when the caller drops a call that was not answered.
struct GivenUp<'a> {
    gate: &'a Gate,
    is_answered: bool,
}

/// When no other call waits, nobody probes any more: the old outage says nothing about the present.
impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let Self { gate, is_answered } = self;
        if !*is_answered && let Ok(mut outage) = gate.outage.try_lock() {
            *outage = None;
            gauge!(metric::GATE_OPEN, "dependency" => gate.dependency).set(1.0);
            gate.status.outage_ended(gate.dependency);
        }
    }
}

impl Outage {
    fn begin(message: String) -> Self {
        let began = Instant::now();
        let mut said = interval_at(began + SAID_EVERY, SAID_EVERY);
        said.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { began, said, pauses: pauses(), message }
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests;
