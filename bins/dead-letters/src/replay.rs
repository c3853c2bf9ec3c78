//! `replay`: stored records through all stages again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tally_adapter_http_ml::Model;
use tally_app::{Flows, Settings, Store};
use tally_domain::Flow;
use tally_pipeline::Replayer;
use tally_ports::dead_letter::TRUNCATED;
use tally_ports::privacy::MASKED;
use tally_ports::{
    Acts, Choice, DeadLetters, Deed, KnownFlow, Listed, Raw, Replayed, Retry, State, Stop,
    StopKind, Stored,
};
use tokio::time::{Instant, sleep_until};

use crate::act::{begin, require};
use crate::arguments::{Arguments, Output, Rate, Replay};
use crate::console::{Console, Ended, Pages, parts, print, store};
use crate::decode::Decoder;
use crate::json;
use crate::layers;
use crate::report::Fate;

/// Replays what `arguments` choose, each flow with its own settings.
///
/// # Errors
/// When there are dead letters of a flow that this program does not know; then nothing is touched.
pub async fn run(
    arguments: &Replay,
    all: &Arguments,
    flows: &Flows,
    console: &Console,
) -> Result<(), Ended> {
    require(&arguments.which);
    let which = &arguments.which;
    console.check_ids(&which.ids).await?;
    // Ids are told of in whatever state they are; a filter is for what is open.
    let state = which.ids.is_empty().then_some(State::Open);
    let mut choice = which.filters.choice(&which.ids, state);
    let mut known = Vec::new();
    for name in chosen_flows(&choice, console).await? {
        known.push(flows.named(&name).ok_or_else(|| unknown(&name, flows))?.clone());
    }
    let mut of_flows = Vec::new();
    for KnownFlow { flow, .. } in &known {
        let settings = layers(all, flows, &**flow)?.settings;
        let store = Arc::new(store(&settings, &known, &console.worker).await?);
        of_flows.push(OfFlow::new(flow, store, &settings, arguments, console)?);
    }

    if let [only] = &of_flows[..] {
        choice.flow = Some(only.flow.name().to_owned());
    }
    let mut run = Run {
        arguments,
        output: all.output,
        console,
        deed: begin(console, "replay", &choice, &arguments.reason),
        pace: Pace::new(arguments.rate),
        left: arguments.limit.unwrap_or(usize::MAX),
    };
    console.worker.process.status.set_in_progress(true);
    let mut replayed = Ok(());
    for of_flow in &of_flows {
        choice.flow = Some(of_flow.flow.name().to_owned());
        replayed = run.all(of_flow, &mut Pages::new(console, &choice)).await;
        if replayed.is_err() {
            break;
        }
    }
    console.worker.process.status.set_in_progress(false);
    let noted = run.note().await;
    replayed.and(noted)?;
    print(&run.summary())
}

/// The flows of what was chosen.
async fn chosen_flows(choice: &Choice, console: &Console) -> Result<BTreeSet<String>, Ended> {
    let counts = console.ask(|| console.store.count(choice)).await?;
    Ok(counts.into_iter().map(|count| count.flow).collect())
}

fn unknown(name: &str, flows: &Flows) -> Stop {
    let names = flows.names().join(", ");
    let message = format!(
        "there are dead letters of the flow {name}, which this program does not know; it knows {names}: \
         nothing was replayed, choose others by --flow"
    );
    Stop { kind: StopKind::Setting, message }
}

/// The stages of one flow.
struct OfFlow {
    flow: Arc<dyn Flow>,
    decoder: Decoder,
    replayer: Replayer<Model, Store>,
    /// How many records go to the model at once.
    at_once: usize,
}

impl OfFlow {
    fn new(
        flow: &Arc<dyn Flow>,
        store: Arc<Store>,
        settings: &Settings,
        arguments: &Replay,
        console: &Console,
    ) -> Result<Self, Stop> {
        let (flow, gates) = (Arc::clone(flow), console.worker.process.gates.clone());
        let model = tally_app::model(settings, &flow)?.map(|model| Arc::new(model.of_refused()));
        let at_once = arguments.rate.map_or(settings.batch_size, |Rate(rate)| {
            settings.batch_size.min(usize::try_from(rate.get()).unwrap_or(usize::MAX))
        });
        let decoder = Decoder::new(&flow, settings)?;
        let replayer = Replayer::new(Arc::clone(&flow), model, store, gates);
        Ok(Self { flow, decoder, replayer, at_once })
    }
}

/// A run over all that was chosen.
struct Run<'a> {
    arguments: &'a Replay,
    output: Output,
    console: &'a Console,
    deed: Deed,
    pace: Pace,
    /// How many more may be tried.
    left: usize,
}

impl Run<'_> {
    async fn all(&mut self, of_flow: &OfFlow, pages: &mut Pages<'_>) -> Result<(), Ended> {
        loop {
            let page = pages.next(of_flow.at_once.min(self.left)).await?;
            if page.is_empty() || self.console.is_stopped() {
                return Ok(());
            }
            if self.arguments.which.ids.is_empty() {
                pages.skip_attempts();
            }
            let most = self.arguments.max_attempts;
            let (fresh, exhausted): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|letter| letter.place.attempt < most);
            for letter in exhausted {
                let fate = match letter.state {
                    State::Open => Fate::Exhausted { most },
                    state => Fate::Replayed(Replayed::Found(state)),
                };
                self.tell(&letter, &fate)?;
            }
            for ids in parts(&fresh) {
                let whole = self.console.ask(|| self.console.store.fetch(&ids)).await?;
                self.part(of_flow, whole).await?;
                if self.console.is_stopped() {
                    return Ok(());
                }
            }
        }
    }

    /// Replays what was read at once.
    async fn part(&mut self, of_flow: &OfFlow, whole: Vec<Stored>) -> Result<(), Ended> {
        let OfFlow { decoder, replayer, .. } = of_flow;
        let (mut letters, mut decoded) = (Vec::new(), Vec::new());
        for stored in whole {
            let obstacle = obstacle(&stored.raw).map(Fate::NotReplayable);
            let fate = match stored.listed.state {
                State::Open => obstacle,
                state => Some(Fate::Replayed(Replayed::Found(state))),
            };
            if let Some(fate) = fate {
                self.tell(&stored.listed, &fate)?;
                continue;
            }
            let gate = &self.console.worker.process.gates.source;
            let decoding = gate.pass(|| decoder.decode(&stored));
            let read = self
                .console
                .worker
                .process
                .unless_stopped(decoding)
                .await
                .ok_or(Ended::Interrupted)??;
            let kept = decoder.mask(&stored);
            decoded.push((stored.listed.place.clone(), stored.raw, read));
            letters.push((kept, stored.listed));
        }
        let preparing = replayer.prepare(decoded);
        let retries = self
            .console
            .worker
            .process
            .unless_stopped(preparing)
            .await
            .ok_or(Ended::Interrupted)??;
        for ((kept, letter), retry) in letters.into_iter().zip(retries) {
            self.pace.wait(self.console).await;
            if self.console.is_stopped() {
                return Ok(());
            }
            self.one(replayer, &letter, Arc::new(Retry { kept, ..retry })).await?;
            self.left -= 1;
        }
        Ok(())
    }

    async fn one(
        &mut self,
        stages: &Replayer<Model, Store>,
        letter: &Listed,
        retry: Arc<Retry>,
    ) -> Result<(), Ended> {
        let deed = (!self.arguments.dry_run).then_some(&self.deed);
        let committing = stages.commit(&retry, deed);
        let replayed = self
            .console
            .worker
            .process
            .unless_stopped(committing)
            .await
            .ok_or(Ended::Interrupted)??;
        self.tell(letter, &Fate::Replayed(replayed))
    }

    /// Counts and says what became of one.
    fn tell(&mut self, letter: &Listed, fate: &Fate) -> Result<(), Ended> {
        self.deed.add(fate.as_str(), 1);
        print(&fate.show(letter, self.arguments.dry_run, self.output))
    }

    /// The act with all its counts, those that changed nothing among them.
    async fn note(&self) -> Result<(), Ended> {
        if self.arguments.dry_run {
            return Ok(());
        }
        self.console.ask(|| self.console.store.note(&self.deed)).await
    }

    fn summary(&self) -> String {
        let counts = &self.deed.act.result;
        let is_dry = self.arguments.dry_run;
        if self.output == Output::Json {
            let act = (!is_dry).then_some(self.deed.id);
            return json::line(&Summary { dry_run: is_dry, act, counts });
        }
        let counts: Vec<String> = counts
            .as_object()
            .into_iter()
            .flatten()
            .map(|(what, count)| format!("{count} {}", what.replace('_', " ")))
            .collect();
        let counts = if counts.is_empty() { "nothing to replay".into() } else { counts.join(", ") };
        format!("{}{counts}\n", if is_dry { "dry run, nothing changed: " } else { "" })
    }
}

/// As scripts read it: the last line.
#[derive(Serialize)]
struct Summary<'a> {
    dry_run: bool,
    /// The row of the table of acts.
    act: Option<uuid::Uuid>,
    /// By outcome.
    counts: &'a Value,
}

/// Why a record cannot be taken through the stages again.
fn obstacle(raw: &Raw) -> Option<&'static str> {
    let has = |name: &str| raw.headers.iter().any(|(found, _)| found == name);
    if has(TRUNCATED) {
        return Some("its payload was cut");
    }
    has(MASKED).then_some("fields of it are masked")
}

/// Holds records up so that there are no more per second than wanted.
struct Pace {
    each: Option<Duration>,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<Rate>) -> Self {
        let each = rate.map(|Rate(rate)| Duration::from_secs(1) / rate.get());
        Self { each, next: Instant::now() }
    }

    /// Returns early when a signal comes.
    async fn wait(&mut self, console: &Console) {
        let Some(each) = self.each else { return };
        tokio::select! {
            () = sleep_until(self.next) => {}
            () = console.worker.shutdown.token.cancelled() => {}
        }
        self.next = (self.next + each).max(Instant::now());
    }
}
