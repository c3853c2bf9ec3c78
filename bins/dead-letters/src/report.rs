//! What became of each record that was replayed.

use serde::Serialize;
use tally_domain::Reason;
use tally_ports::{Listed, Replayed, State};
use uuid::Uuid;

use crate::arguments::Output;
use crate::json;
use crate::list::spot;
use crate::table::plain;

/// What became of a record, or why nothing did.
pub enum Fate {
    /// The store answered.
    Replayed(Replayed),
    /// Its bytes are not all there.
    NotReplayable(&'static str),
    /// It has failed so often already.
    Exhausted {
        /// How often that may be.
        most: i32,
    },
}

impl Fate {
    /// Its name in counts and in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Replayed(replayed) => match replayed.as_str() {
                Some(done) => done,
                None => "not_open",
            },
            Self::NotReplayable(_) => "not_replayable",
            Self::Exhausted { .. } => "exhausted",
        }
    }

    /// One line for people, or one of JSON.
    pub fn show(&self, letter: &Listed, is_dry: bool, output: Output) -> String {
        match output {
            Output::Json => json::line(&self.json(letter)),
            Output::Table => {
                format!("{}  {}  {}\n", letter.id, plain(&spot(letter)), self.text(letter, is_dry))
            }
        }
    }

    fn text(&self, letter: &Listed, is_dry: bool) -> String {
        let would = |done: &str, would: &str| if is_dry { would } else { done }.to_owned();
        match self {
            Self::Replayed(Replayed::Written) => would("replayed", "would be replayed"),
            Self::Replayed(Replayed::Outdated) => {
                would("outdated", "would be outdated")
                    + ": a newer record of its key, or one from elsewhere, is there"
            }
            Self::Replayed(Replayed::FailedAgain { next, reason }) => {
                let Reason { stage, code, message } = reason;
                let failed = would("failed again", "would fail again");
                let attempt = next.attempt;
                format!(
                    "{failed} as attempt {attempt}: {stage} {}: {}",
                    plain(code),
                    plain(message)
                )
            }
            Self::Replayed(Replayed::Found(State::Retried)) => {
                "is no longer the newest attempt: left alone".to_owned()
            }
            Self::Replayed(Replayed::Found(state)) => format!("is {state}: left alone"),
            Self::NotReplayable(why) => format!("cannot be replayed: {why}"),
            Self::Exhausted { most } => {
                let attempt = letter.place.attempt;
                format!("attempt {attempt} of at most {most}: left alone, see --max-attempts")
            }
        }
    }

    fn json<'a>(&'a self, letter: &'a Listed) -> Line<'a> {
        let place = &letter.place;
        let (reason, next) = match self {
            Self::Replayed(Replayed::FailedAgain { next, reason }) => {
                (Some(reason), Some(next.id()))
            }
            _ => (None, None),
        };
        Line {
            id: letter.id,
            flow: &place.flow,
            stream: &place.stream,
            label: letter.label.as_deref(),
            partition: place.partition,
            pass: place.pass,
            position: place.position,
            attempt: place.attempt,
            outcome: self.as_str(),
            why: match self {
                Self::NotReplayable(why) => Some(why),
                Self::Replayed(Replayed::Found(state)) => Some(state.as_str()),
                _ => None,
            },
            stage: reason.map(|reason| reason.stage.as_str()),
            code: reason.map(|reason| &*reason.code),
            message: reason.map(|reason| reason.message.as_str()),
            next_id: next,
        }
    }
}

/// As scripts read it.
#[derive(Serialize)]
struct Line<'a> {
    id: Uuid,
    flow: &'a str,
    stream: &'a str,
    label: Option<&'a str>,
    partition: i32,
    pass: i32,
    position: i64,
    attempt: i32,
    /// `replayed`, `outdated`, `failed_again`, `not_open`, `not_replayable` or `exhausted`.
    outcome: &'static str,
    /// Of `not_open` the state, of `not_replayable` the cause.
    why: Option<&'static str>,
    stage: Option<&'a str>,
    code: Option<&'a str>,
    message: Option<&'a str>,
    /// The next attempt's.
    next_id: Option<Uuid>,
}
