//! A dead letter that is tried once more.

use std::future::Future;
use std::sync::Arc;

use tally_domain::amount::Notation;
use tally_domain::{Fields, Flow, Raw, Reason};

use crate::{Fault, LoggedAct, Outcome, Place, Row, State};

/// Where what was a dead letter is written after all.
pub trait Replay: Send + Sync + 'static {
    /// Writes the row, or the reason why the record failed again, and the dead letter's new state, and `logged_act` with one
    /// more of what became of it; all in one transaction, or nothing. So however often and by how many at once it
    /// is called, and wherever it is cut off, a dead letter has its effect once.
    ///
    /// Only an open dead letter changes. The row never overwrites anything newer: by one statement it is written where
    /// nothing is, or an earlier record of the same origin; a later one, and any of another origin, stays. A row that
    /// the database refuses has failed again, too. Then the next attempt is a dead letter of its own with the bytes
    /// of this one, or those that are kept of it.
    ///
    /// Without `logged_act` all is tried and then rolled back: the answer is what would become of it.
    fn replay(
        &self,
        attempt: &Arc<ReplayAttempt>,
        logged_act: Option<&LoggedAct>,
    ) -> impl Future<Output = Result<Replayed, Fault>> + Send;
}

/// The record of a dead letter as its source read it, and how amounts are written in it; or why it is none.
pub type DecodedRecord = Result<(Fields, Notation), Reason>;

/// A record that went through all stages before the store once more.
#[derive(Debug)]
pub struct ReplayAttempt {
    /// What the record is.
    pub flow: Arc<dyn Flow>,
    /// The attempt that this one follows.
    pub place: Place,
    /// The row, or why it is none again.
    pub result: Result<Row, Reason>,
    /// What is kept should it fail again, where that is less than before: a mask was set since.
    pub kept: Option<Raw>,
}

/// What became of a dead letter that was replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The store holds its effect; it is [`State::Replayed`].
    Written,
    /// Something newer is there; it is [`State::Outdated`].
    Outdated,
    /// It failed again; it is [`State::Retried`].
    FailedAgain {
        /// The next attempt.
        next: Place,
        reason: Reason,
    },
    /// It was not open, and nothing changed.
    NotOpen(State),
}

impl Replayed {
    /// What the effect's `outcome` makes of the dead letter at `place`.
    pub fn of(place: &Place, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Written | Outcome::Skipped => Self::Written,
            Outcome::Superseded => Self::Outdated,
            Outcome::Refused(refusal) => Self::again(place, Reason::from(&refusal)),
        }
    }

    /// The record at `place` failed again.
    pub fn again(place: &Place, reason: Reason) -> Self {
        Self::FailedAgain { next: place.next_attempt(), reason }
    }

    /// Its name in the result of an act; `None` where nothing changed.
    pub const fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Written => Some("replayed"),
            Self::Outdated => Some("outdated"),
            Self::FailedAgain { .. } => Some("failed_again"),
            Self::NotOpen(_) => None,
        }
    }

    /// The dead letter's state after it.
    pub const fn state(&self) -> State {
        match self {
            Self::Written => State::Replayed,
            Self::Outdated => State::Outdated,
            Self::FailedAgain { .. } => State::Retried,
            Self::NotOpen(state) => *state,
        }
    }
}
