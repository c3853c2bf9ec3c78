//! The outcome of each replayed record.

use serde::Serialize;
use tally_domain::Reason;
use tally_ports::{DeadLetterSummary, Replayed, State};
use tally_runs::replay::Outcome;
use uuid::Uuid;

use crate::arguments::Output;
use crate::json;
use crate::list::place_of;
use tally_app::plain;

/// One line of text, or one of JSON.
pub fn show(outcome: &Outcome, letter: &DeadLetterSummary, is_dry: bool, output: Output) -> String {
    match output {
        Output::Json => json::line(&line(outcome, letter)),
        Output::Table => {
            format!(
                "{}  {}  {}\n",
                letter.id,
                plain(&place_of(letter)),
                text(outcome, letter, is_dry)
            )
        }
    }
}

fn text(outcome: &Outcome, letter: &DeadLetterSummary, is_dry: bool) -> String {
    let would = |done: &str, would: &str| if is_dry { would } else { done }.to_owned();
    match outcome {
        Outcome::Replayed(Replayed::Written) => would("replayed", "would be replayed"),
        Outcome::Replayed(Replayed::Outdated) => {
            would("outdated", "would be outdated")
                + ": a newer record of its key, or one from elsewhere, is there"
        }
        Outcome::Replayed(Replayed::Repaired) => {
            would("repaired", "would be repaired") + ": on its way back to its topic"
        }
        Outcome::Replayed(Replayed::FailedAgain { next, reason }) => {
            let Reason { stage, code, message } = reason;
            let failed = would("failed again", "would fail again");
            let attempt = next.attempt;
            format!("{failed} as attempt {attempt}: {stage} {}: {}", plain(code), plain(message))
        }
        Outcome::Replayed(Replayed::NotOpen(State::Retried)) => {
            "is no longer the newest attempt: left alone".to_owned()
        }
        Outcome::Replayed(Replayed::NotOpen(state)) => format!("is {state}: left alone"),
        Outcome::Replayed(Replayed::ReadAgain) => {
            "is left alone: a later pass reads it again and has not reached it, try it after that"
                .to_owned()
        }
        Outcome::Replayed(Replayed::Counted) => {
            "is left alone: an earlier pass has taken the record, which would count once more"
                .to_owned()
        }
        Outcome::NotReplayable(why) => format!("cannot be replayed: {why}"),
        Outcome::NotRepairable(why) => format!("cannot be repaired: {}", plain(why)),
        Outcome::Exhausted { most } => {
            let attempt = letter.identity.attempt;
            format!("attempt {attempt} of at most {most}: left alone, see --max-attempts")
        }
    }
}

fn line<'a>(outcome: &'a Outcome, letter: &'a DeadLetterSummary) -> Line<'a> {
    let place = &letter.identity;
    let (reason, next) = match outcome {
        Outcome::Replayed(Replayed::FailedAgain { next, reason }) => {
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
        outcome: outcome.as_str(),
        why: match outcome {
            Outcome::NotReplayable(why) => Some(why),
            Outcome::NotRepairable(why) => Some(why),
            Outcome::Replayed(Replayed::NotOpen(state)) => Some(state.as_str()),
            _ => None,
        },
        stage: reason.map(|reason| reason.stage.as_str()),
        code: reason.map(|reason| &*reason.code),
        message: reason.map(|reason| reason.message.as_str()),
        next_id: next,
    }
}

/// A record's outcome, for scripts.
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
    /// `replayed`, `outdated`, `repaired`, `failed_again`, `not_open`, `read_again`, `counted`, `not_replayable`, `not_repairable` or
    /// `exhausted`.
    outcome: &'static str,
    /// The state for `not_open`, the cause for `not_replayable` and `not_repairable`.
    why: Option<&'a str>,
    stage: Option<&'a str>,
    code: Option<&'a str>,
    message: Option<&'a str>,
    /// The next attempt's.
    next_id: Option<Uuid>,
}
