//! The run over all selected dead letters.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tally_ports::dead_letter::TRUNCATED;
use tally_ports::privacy::MASKED;
use tally_ports::{
    Acts, Attempted, DeadLetterSummary, DeadLetters, Enrich, Filter, KnownFlow, LoggedAct, Outbox,
    Positions, Publish, Raw, Replay, ReplayAttempt, Replayed, State, Stop, StopKind,
    StoredDeadLetter, Topics,
};
use tokio::time::{Instant, sleep_until};

use super::pages::{Pages, parts};
use super::repair::{Corrected, Correction};
use super::stages::Stages;
use super::{Ended, Outcome, ask, wait};
use crate::Process;

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
    /// A record is about to be put back so.
    Corrected(&'a DeadLetterSummary, &'a Corrected),
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
                Ok(corrected) => {
                    (self.watch)(Seen::Corrected(&stored.summary, &corrected))?;
                    let attempt = ReplayAttempt {
                        flow: Arc::clone(&stages.flow),
                        identity: stored.summary.identity.clone(),
                        result: Attempted::Repaired(corrected.record),
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
