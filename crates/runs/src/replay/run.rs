//! The run over all selected dead letters.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tally_adapter_csv::Overrides;
use tally_adapter_kafka::wire::{self, Registry};
use tally_domain::{Flow, Incoming, Reason};
use tally_pipeline::{Outputs, Replayer};
use tally_ports::dead_letter::TRUNCATED;
use tally_ports::privacy::MASKED;
use tally_ports::publish::Outgoing;
use tally_ports::{
    Acts, Attempted, DeadLetterSummary, DeadLetters, Enrich, Filter, KnownFlow, LoggedAct, Origin,
    Outbox, OutgoingRecord, Positions, Publish, Raw, Replay, ReplayAttempt, Replayed, State, Stop,
    StopKind, StoredDeadLetter, Topics,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::decode::Decoder;
use super::pages::{Pages, parts};
use super::repair::Correction;
use super::{Ended, Outcome, ask, wait};
use crate::Process;
use crate::unowned::publish_unowned;

/// How a replay works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most records per second.
    pub rate: Option<NonZeroU32>,
    /// The most records to replay.
    pub limit: Option<usize>,
    /// A record with this many failed attempts is left alone.
    pub max_attempts: i32,
    /// Whether it is a dry run.
    pub is_dry: bool,
    /// How long the owner of a partition whose outbox it publishes may be silent before another takes over.
    pub lease: Duration,
}

/// How stored records are read.
pub struct Reading<'a> {
    /// Those of topics.
    pub topics: wire::Decoder,
    /// Those of files: what replaces the settings that they were read with.
    pub overrides: Overrides,
    /// The fields of these names are not kept of records that fail again.
    pub masked: &'a [String],
    /// By which records of topics are masked.
    pub registry: Option<Registry>,
}

/// The stages of one flow.
pub struct Stages<E, P, S> {
    flow: Arc<dyn Flow>,
    decoder: Decoder,
    replayer: Replayer<E, P, S>,
    outputs: Option<Outputs<P>>,
    store: Arc<S>,
    batch_size: usize,
    /// Where records are repaired instead of replayed.
    correction: Option<Correction>,
    /// The limits of the topics that they go back into.
    limits: Mutex<BTreeMap<Arc<str>, Result<usize, String>>>,
}

impl<E: Enrich, P: Publish, S: Replay + Outbox + Positions> Stages<E, P, S> {
    /// Takes records of `flow` through `model`, if it has one, into `store`, at most `batch_size` of them to the model at once,
    /// and what they publish to `outputs`.
    pub fn new(
        process: &Process,
        flow: &Arc<dyn Flow>,
        model: Option<E>,
        outputs: Option<Outputs<P>>,
        store: Arc<S>,
        reading: Reading<'_>,
        batch_size: usize,
    ) -> Self {
        let (decoder, gates) = (Decoder::new(flow, reading), process.gates.clone());
        let (model, of_replayer) = (model.map(Arc::new), Arc::clone(&store));
        let replayer = Replayer::new(Arc::clone(flow), model, outputs.clone(), of_replayer, gates);
        Self {
            flow: Arc::clone(flow),
            decoder,
            replayer,
            outputs,
            store,
            batch_size,
            correction: None,
            limits: Mutex::default(),
        }
    }

    /// The same, where records are corrected so and put back into their topics.
    #[must_use]
    pub fn repairing(self, correction: Correction) -> Self {
        Self { correction: Some(correction), ..self }
    }

    /// The corrected record, or why the dead letter cannot be repaired.
    async fn repair(
        &self,
        process: &Process,
        stored: &StoredDeadLetter,
        correction: &Correction,
    ) -> Result<Result<OutgoingRecord, String>, Ended> {
        let record = match correction.record(&*self.flow, stored) {
            Ok(record) => record,
            Err(why) => return Ok(Err(why)),
        };
        let identity = &stored.summary.identity;
        let raw = Raw { payload: record.value.clone(), ..stored.raw.clone() };
        let corrected = StoredDeadLetter { summary: stored.summary.clone(), raw };
        let decoding = process.gates.source.pass(|| self.decoder.decode(&corrected));
        let read = wait(process, decoding).await?.and_then(|(fields, notation)| {
            self.flow.read(Incoming { fields, notation, raw: &corrected.raw })
        });
        let refused = match read {
            Ok(read) => wait(process, self.replayer.refusal(identity, read)).await?,
            Err(reason) => Some(reason),
        };
        if let Some(Reason { code, message, .. }) = refused {
            return Ok(Err(format!("it would not be valid: {code}: {message}")));
        }
        let limit = match self.limit_of(process, &record.topic).await? {
            Ok(limit) => limit,
            Err(why) => return Ok(Err(why)),
        };
        let origin = Origin {
            flow: &*self.flow,
            id: 0,
            stream: &identity.stream,
            partition: identity.partition,
            log: i64::MAX,
        };
        let topics = Topics::default();
        let whole = Outgoing::new(origin, &topics, true).repaired(&record, identity);
        if whole.size() > limit {
            return Ok(Err(format!("it would be larger than {} takes", record.topic)));
        }
        Ok(Ok(record))
    }

    /// The greatest size of a record that the topic takes, or why it takes none: it does not exist. Looked up once.
    async fn limit_of(
        &self,
        process: &Process,
        topic: &Arc<str>,
    ) -> Result<Result<usize, String>, Ended> {
        let Some(outputs) = &self.outputs else {
            return Ok(Err("this program does not publish".to_owned()));
        };
        let mut limits = self.limits.lock().await;
        if let Some(known) = limits.get(topic) {
            return Ok(known.clone());
        }
        let asking = outputs.limit_of(&process.gates.publish, topic);
        let limit = match wait(process, asking).await {
            Err(Ended::Stopped(stop)) if stop.kind == StopKind::Setting => Err(stop.message),
            limit => Ok(limit?),
        };
        limits.insert(Arc::clone(topic), limit.clone());
        Ok(limit)
    }

    async fn publish(&self, process: &Process, duration: Duration) -> Result<(), Ended> {
        let Some(outputs) = &self.outputs else { return Ok(()) };
        let name = self.flow.name();
        wait(process, publish_unowned(process, name, &self.store, outputs, duration)).await
    }
}

/// Those of the `known` flows that have dead letters matching `filter`, and those that it does not leave out whose outboxes hold
/// something: a run that was killed has left that.
///
/// # Errors
/// When it matches some of a flow that is not known.
pub async fn flows(
    process: &Process,
    store: &(impl DeadLetters + Outbox),
    filter: &Filter,
    known: &[KnownFlow],
) -> Result<Vec<KnownFlow>, Ended> {
    let mut chosen: Vec<KnownFlow> = Vec::new();
    let counts = ask(process, || store.count(filter)).await?;
    let mut names: Vec<&str> = counts.iter().map(|count| &*count.flow).collect();
    for name in known.iter().map(|known| known.flow.name()) {
        let is_chosen = filter.flow.as_deref().is_none_or(|chosen| chosen == name);
        if is_chosen && ask(process, || store.unpublished(name)).await? > 0 {
            names.push(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        let found = known.iter().find(|known| known.flow.name() == name);
        chosen.push(found.ok_or_else(|| unknown(name, known))?.clone());
    }
    Ok(chosen)
}

fn unknown(name: &str, known: &[KnownFlow]) -> Stop {
    let names: Vec<&str> = known.iter().map(|known| known.flow.name()).collect();
    let names = names.join(", ");
    let message = format!(
        "there are dead letters of the flow {name}, which this program does not know; it knows {names}: \
         nothing was changed, choose others by --flow"
    );
    Stop { kind: StopKind::Setting, message }
}

/// What happens during a run, for whoever watches.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A record is about to be put back with this payload.
    Corrected(&'a StoredDeadLetter, &'a OutgoingRecord),
    /// What became of it.
    Done(&'a DeadLetterSummary, &'a Outcome),
}

/// Replays or repairs the dead letters of each flow that `filter` matches, and records the counts in `store`; passes to
/// `watch` what happens.
///
/// # Errors
/// What ended the run early, which may be an error of `watch`: the counts until then are recorded anyway.
pub async fn run<E, P, S, X>(
    process: &Process,
    store: &S,
    stages: &[Stages<E, P, S>],
    mut filter: Filter,
    logged_act: LoggedAct,
    settings: Settings,
    watch: impl FnMut(Seen<'_>) -> Result<(), X>,
) -> Result<LoggedAct, X>
where
    E: Enrich,
    P: Publish,
    S: DeadLetters + Acts + Replay + Outbox + Positions,
    X: From<Ended>,
{
    let rate_limiter = RateLimiter::new(settings.rate);
    let left = settings.limit.unwrap_or(usize::MAX);
    let mut run = Run { process, store, settings, logged_act, rate_limiter, left, watch };
    process.status.set_in_progress(true);
    let mut replayed = Ok(());
    for of_flow in stages {
        filter.flow = Some(of_flow.flow.name().to_owned());
        replayed = run.all(of_flow, &filter).await;
        if replayed.is_ok() && !run.settings.is_dry {
            replayed = of_flow.publish(process, run.settings.lease).await.map_err(X::from);
        }
        if replayed.is_err() {
            break;
        }
    }
    process.status.set_in_progress(false);
    let noted = run.note().await;
    replayed.and(noted.map_err(X::from))?;
    Ok(run.logged_act)
}

struct Run<'a, S, W> {
    process: &'a Process,
    store: &'a S,
    settings: Settings,
    logged_act: LoggedAct,
    rate_limiter: RateLimiter,
    /// How many more may be replayed.
    left: usize,
    watch: W,
}

impl<S, W> Run<'_, S, W>
where
    S: DeadLetters + Acts + Replay + Outbox + Positions,
{
    async fn all<E: Enrich, P: Publish, X: From<Ended>>(
        &mut self,
        stages: &Stages<E, P, S>,
        filter: &Filter,
    ) -> Result<(), X>
    where
        W: FnMut(Seen<'_>) -> Result<(), X>,
    {
        let at_once = self.settings.rate.map_or(stages.batch_size, |rate| {
            stages.batch_size.min(usize::try_from(rate.get()).unwrap_or(usize::MAX))
        });
        let mut pages = Pages::new(self.process, self.store, filter);
        loop {
            let page = pages.next(at_once.min(self.left)).await?;
            if page.is_empty() || self.process.stop.is_cancelled() {
                return Ok(());
            }
            if filter.ids.is_none() {
                pages.skip_attempts();
            }
            let most = self.settings.max_attempts;
            let (fresh, exhausted): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|letter| letter.identity.attempt < most);
            for letter in exhausted {
                let outcome = match letter.state {
                    State::Open => Outcome::Exhausted { most },
                    state => Outcome::Replayed(Replayed::NotOpen(state)),
                };
                self.tell(&letter, &outcome)?;
            }
            for ids in parts(&fresh) {
                let whole = ask(self.process, || self.store.fetch(&ids)).await?;
                self.part(stages, whole).await?;
                if self.process.stop.is_cancelled() {
                    return Ok(());
                }
            }
        }
    }

    /// Replays or repairs one part.
    async fn part<E: Enrich, P: Publish, X: From<Ended>>(
        &mut self,
        stages: &Stages<E, P, S>,
        whole: Vec<StoredDeadLetter>,
    ) -> Result<(), X>
    where
        W: FnMut(Seen<'_>) -> Result<(), X>,
    {
        let mut open = Vec::with_capacity(whole.len());
        for stored in whole {
            let outcome = match (stored.summary.state, obstacle(&stored.raw)) {
                (State::Open, None) => {
                    open.push(stored);
                    continue;
                }
                (State::Open, Some(why)) if stages.correction.is_some() => {
                    Outcome::NotRepairable(why.to_owned())
                }
                (State::Open, Some(why)) => Outcome::NotReplayable(why),
                (state, _) => Outcome::Replayed(Replayed::NotOpen(state)),
            };
            self.tell(&stored.summary, &outcome)?;
        }
        let attempts = match &stages.correction {
            Some(correction) => self.repaired(stages, correction, open).await?,
            None => self.replayed(stages, open).await?,
        };
        for (letter, attempt) in attempts {
            self.rate_limiter.wait(self.process).await;
            if self.process.stop.is_cancelled() {
                return Ok(());
            }
            let attempt = Arc::new(attempt);
            let logged_act = (!self.settings.is_dry).then_some(&self.logged_act);
            let committing = stages.replayer.commit(&attempt, logged_act);
            let replayed = wait(self.process, committing).await?;
            self.tell(&letter, &Outcome::Replayed(replayed))?;
            self.left -= 1;
        }
        Ok(())
    }

    /// What the stages before the store make of these.
    async fn replayed<E: Enrich, P: Publish>(
        &self,
        Stages { decoder, replayer, .. }: &Stages<E, P, S>,
        open: Vec<StoredDeadLetter>,
    ) -> Result<Vec<(DeadLetterSummary, ReplayAttempt)>, Ended> {
        let (mut letters, mut decoded) = (Vec::new(), Vec::new());
        for stored in open {
            let decoding = self.process.gates.source.pass(|| decoder.decode(&stored));
            let read = wait(self.process, decoding).await?;
            let kept = decoder.mask(&stored);
            decoded.push((stored.summary.identity.clone(), stored.raw, read));
            letters.push((kept, stored.summary));
        }
        let attempts = wait(self.process, replayer.prepare(decoded)).await?;
        let attempts = letters.into_iter().zip(attempts);
        Ok(attempts
            .map(|((kept, letter), attempt)| (letter, ReplayAttempt { kept, ..attempt }))
            .collect())
    }

    /// Those of these that can be repaired, each shown.
    async fn repaired<E: Enrich, P: Publish, X: From<Ended>>(
        &mut self,
        stages: &Stages<E, P, S>,
        correction: &Correction,
        open: Vec<StoredDeadLetter>,
    ) -> Result<Vec<(DeadLetterSummary, ReplayAttempt)>, X>
    where
        W: FnMut(Seen<'_>) -> Result<(), X>,
    {
        let mut attempts = Vec::with_capacity(open.len());
        for stored in open {
            match stages.repair(self.process, &stored, correction).await? {
                Ok(record) => {
                    (self.watch)(Seen::Corrected(&stored, &record))?;
                    let attempt = ReplayAttempt {
                        flow: Arc::clone(&stages.flow),
                        identity: stored.summary.identity.clone(),
                        result: Attempted::Repaired(record),
                        kept: None,
                        topics: Topics::default(),
                    };
                    attempts.push((stored.summary, attempt));
                }
                Err(why) => self.tell(&stored.summary, &Outcome::NotRepairable(why))?,
            }
        }
        Ok(attempts)
    }

    /// Counts an outcome and reports it.
    fn tell<X>(&mut self, letter: &DeadLetterSummary, outcome: &Outcome) -> Result<(), X>
    where
        W: FnMut(Seen<'_>) -> Result<(), X>,
    {
        self.logged_act.add(outcome.as_str(), 1);
        (self.watch)(Seen::Done(letter, outcome))
    }

    /// Writes the act with all its counts, including records that did not change.
    async fn note(&self) -> Result<(), Ended> {
        if self.settings.is_dry {
            return Ok(());
        }
        ask(self.process, || self.store.note(&self.logged_act)).await
    }
}

/// Why a record cannot be replayed or repaired.
fn obstacle(raw: &Raw) -> Option<&'static str> {
    if raw.has_header(TRUNCATED) {
        return Some("its payload was cut");
    }
    raw.has_header(MASKED).then_some("fields of it are masked")
}

/// Limits the records per second.
struct RateLimiter {
    each: Option<Duration>,
    next: Instant,
}

impl RateLimiter {
    fn new(rate: Option<NonZeroU32>) -> Self {
        let each = rate.map(|rate| Duration::from_secs(1) / rate.get());
        Self { each, next: Instant::now() }
    }

    /// Returns early when a stop is requested.
    async fn wait(&mut self, process: &Process) {
        let Some(each) = self.each else { return };
        tokio::select! {
            () = sleep_until(self.next) => {}
            () = process.stop.cancelled() => {}
        }
        self.next = (self.next + each).max(Instant::now());
    }
}
