//! The store, and who waits for its answers.

use std::collections::BTreeSet;
use std::io::{self, Write, stdout};
use std::sync::Arc;
use std::time::Duration;

use tally_app::{EXIT_OUTPUT, Settings, Store, Worker};
use tally_ports::{DeadLetterSummary, DeadLetters, Fault, Filter, KnownFlow, Stop, StopKind};
use tally_runs::replay::{self, Pages};
use uuid::Uuid;

/// How many ids are looked for at once.
const AT_ONCE: usize = 1_000;

/// Why a command did not come to its end.
pub enum Ended {
    /// There is a cause to tell.
    Stopped(Stop),
    /// A signal came while it waited.
    Interrupted,
    /// This cannot be written.
    Output(String, io::Error),
}

impl Ended {
    /// Says why; the exit code, unless a signal's comes before it.
    pub fn told(self) -> u8 {
        match self {
            Self::Stopped(stop) => {
                tracing::error!("{stop}");
                stop.kind.exit_code()
            }
            Self::Interrupted => 0,
            Self::Output(what, error) => {
                tracing::error!("cannot write to {what}: {error}");
                EXIT_OUTPUT
            }
        }
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl From<replay::Ended> for Ended {
    fn from(ended: replay::Ended) -> Self {
        match ended {
            replay::Ended::Stopped(stop) => Self::Stopped(stop),
            replay::Ended::Interrupted => Self::Interrupted,
        }
    }
}

/// Prints `text` on standard output.
pub fn print(text: &str) -> Result<(), Ended> {
    let mut out = stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Ended::Output("standard output".to_owned(), error))
}

/// The store, and who waits for its answers.
pub struct Console {
    /// The process.
    pub worker: Worker,
    /// The store.
    pub store: Arc<Store>,
    /// How long an owner of a partition may be silent before another takes over.
    pub lease: Duration,
}

impl Console {
    /// Opens the store that the settings name, which must be there. No flow's tables are needed to look at dead letters.
    pub async fn open(settings: &Settings, worker: Worker) -> Result<Self, Ended> {
        tally_app::existing(settings)?;
        let store = store(settings, &[], &worker).await?;
        Ok(Self { worker, store: Arc::new(store), lease: settings.lease.length() })
    }

    /// What the store answers, once it does.
    pub async fn ask<T, Call>(&self, call: impl FnMut() -> Call) -> Result<T, Ended>
    where
        Call: Future<Output = Result<T, Fault>>,
    {
        Ok(replay::ask(&self.worker.process, call).await?)
    }

    /// The dead letters of a filter, from the first one on.
    pub fn pages<'a>(&'a self, filter: &'a Filter) -> Pages<'a, Store> {
        Pages::new(&self.worker.process, &*self.store, filter)
    }

    /// Whether a signal came.
    pub fn is_stopped(&self) -> bool {
        self.worker.shutdown.token.is_cancelled()
    }

    /// The dead letter with this id.
    pub async fn find(&self, id: Uuid) -> Result<DeadLetterSummary, Ended> {
        let filter = Filter { ids: Some(vec![id]), ..Filter::default() };
        let found = self.ask(|| self.store.list(&filter, None, 1)).await?;
        Ok(found.into_iter().next().ok_or_else(|| unknown(&[id]))?)
    }

    /// Refuses ids that no dead letter has.
    pub async fn check_ids(&self, ids: &[Uuid]) -> Result<(), Ended> {
        let mut unknown_ids = Vec::new();
        for ids in ids.chunks(AT_ONCE) {
            let filter = Filter { ids: Some(ids.to_vec()), ..Filter::default() };
            let found = self.ask(|| self.store.list(&filter, None, AT_ONCE)).await?;
            let found: BTreeSet<Uuid> = found.iter().map(|letter| letter.id).collect();
            unknown_ids.extend(ids.iter().filter(|id| !found.contains(id)));
        }
        if unknown_ids.is_empty() { Ok(()) } else { Err(unknown(&unknown_ids).into()) }
    }
}

fn unknown(ids: &[Uuid]) -> Stop {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let message = format!("there is no dead letter {}", ids.join(", "));
    Stop { kind: StopKind::Input, message }
}

/// The store, with the tables of these flows.
pub async fn store(
    settings: &Settings,
    flows: &[KnownFlow],
    worker: &Worker,
) -> Result<Store, Ended> {
    Ok(replay::ask(&worker.process, || Store::open(settings, flows)).await?)
}
