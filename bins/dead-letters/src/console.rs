//! The store, and who waits for its answers.

use std::collections::BTreeSet;
use std::io::{self, Write, stdout};
use std::sync::Arc;

use tally_app::{EXIT_OUTPUT, Settings, Store, Worker};
use tally_ports::{Choice, DeadLetters, Fault, KnownFlow, Listed, Place, Stop, StopKind};
use uuid::Uuid;

/// How many dead letters are listed at once.
const PAGE: usize = 1_000;

/// How many bytes of records are read at once.
const BYTES: i64 = 4 * 1024 * 1024;

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
}

impl Console {
    /// Opens the store that the settings name, which must be there. No flow's tables are needed to look at dead letters.
    pub async fn open(settings: &Settings, worker: Worker) -> Result<Self, Ended> {
        tally_app::existing(settings)?;
        let store = store(settings, &[], &worker).await?;
        Ok(Self { worker, store: Arc::new(store) })
    }

    /// What the store answers, once it does.
    pub async fn ask<T, Call>(&self, call: impl FnMut() -> Call) -> Result<T, Ended>
    where
        Call: Future<Output = Result<T, Fault>>,
    {
        let answering = self.worker.process.gates.database.pass(call);
        Ok(self.worker.process.unless_stopped(answering).await.ok_or(Ended::Interrupted)??)
    }

    /// Whether a signal came.
    pub fn is_stopped(&self) -> bool {
        self.worker.shutdown.token.is_cancelled()
    }

    /// The dead letter with this id.
    pub async fn find(&self, id: Uuid) -> Result<Listed, Ended> {
        let choice = Choice { ids: Some(vec![id]), ..Choice::default() };
        let found = self.ask(|| self.store.list(&choice, None, 1)).await?;
        Ok(found.into_iter().next().ok_or_else(|| unknown(&[id]))?)
    }

    /// Refuses ids that no dead letter has.
    pub async fn check_ids(&self, ids: &[Uuid]) -> Result<(), Ended> {
        let mut unknown_ids = Vec::new();
        for ids in ids.chunks(PAGE) {
            let choice = Choice { ids: Some(ids.to_vec()), ..Choice::default() };
            let found = self.ask(|| self.store.list(&choice, None, PAGE)).await?;
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
    let process = &worker.process;
    let opening = process.gates.database.pass(|| Store::open(settings, flows));
    Ok(process.unless_stopped(opening).await.ok_or(Ended::Interrupted)??)
}

/// The dead letters of a choice, page by page.
pub struct Pages<'a> {
    console: &'a Console,
    choice: &'a Choice,
    after: Option<Place>,
}

impl<'a> Pages<'a> {
    /// From the first one on.
    pub const fn new(console: &'a Console, choice: &'a Choice) -> Self {
        Self { console, choice, after: None }
    }

    /// The next ones, `most` of them; none at the end.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Listed>, Ended> {
        let limit = most.min(PAGE);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Self { console, choice, after } = &*self;
        let page = console.ask(|| console.store.list(choice, after.as_ref(), limit)).await?;
        if let Some(last) = page.last() {
            self.after = Some(last.place.clone());
        }
        Ok(page)
    }

    /// Goes on behind all attempts at the last record, those that come of it among them.
    pub fn skip_attempts(&mut self) {
        self.after = self.after.as_ref().map(Place::behind_attempts);
    }
}

/// The ids of parts that can be read at once: at most 4 MiB each, or one that is larger.
pub fn parts(page: &[Listed]) -> Vec<Vec<Uuid>> {
    let mut parts: Vec<Vec<Uuid>> = Vec::new();
    let mut bytes = BYTES;
    for letter in page {
        bytes += letter.bytes;
        match parts.last_mut() {
            Some(part) if bytes <= BYTES => part.push(letter.id),
            _ => {
                parts.push(vec![letter.id]);
                bytes = letter.bytes;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;
    use tally_ports::State;

    use super::*;

    fn listed(bytes: i64) -> Listed {
        let place = Place {
            flow: "f".into(),
            stream: "s".into(),
            partition: 0,
            pass: 1,
            position: bytes,
            attempt: 1,
        };
        Listed {
            id: Uuid::from_u128(bytes.unsigned_abs().into()),
            place,
            label: None,
            batch_id: Uuid::nil(),
            key: None,
            payload_bytes: None,
            bytes,
            stage: String::new(),
            code: String::new(),
            message: String::new(),
            state: State::Open,
            failed_at: NaiveDateTime::default(),
            published_at: None,
        }
    }

    #[test]
    fn parts_are_bounded_and_whole() {
        let sizes = [10, BYTES - 10, 1, BYTES + 1, BYTES, 2, 3];
        let page: Vec<Listed> = sizes.into_iter().map(listed).collect();
        let found: Vec<Vec<i64>> = parts(&page)
            .iter()
            .map(|part| part.iter().map(|id| i64::try_from(id.as_u128()).unwrap()).collect())
            .collect();
        let expected: [&[i64]; 5] = [&[10, BYTES - 10], &[1], &[BYTES + 1], &[BYTES], &[2, 3]];
        assert_eq!(found, expected);
    }
}
