//! Replay of a dead letter.

use std::future::Future;
use std::sync::Arc;

use tally_domain::amount::Notation;
use tally_domain::{Fields, Flow, Raw, Reason};

use crate::publish::OutgoingRecord;
use crate::{DeadLetterIdentity, Fault, LoggedAct, Outcome, Row, State, Topics};

/// Writes replayed dead letters.
pub trait Replay: Send + Sync + 'static {
    /// Writes the row, or the reason why the record failed again, the dead letter's new state, and `logged_act` with its
    /// outcome counted; all in one transaction, or nothing. So a dead letter has its effect once, however often and
    /// concurrently this is called, and wherever it is interrupted.
    ///
    /// Only an open dead letter changes. The row never overwrites anything newer: one statement writes it where there is
    /// nothing, or an earlier record of the same origin; a later one, and any of another origin, stays. A row that
    /// the database refuses has failed again, too. Then the next attempt is a dead letter of its own with the bytes
    /// of this one, or those in `kept`. What the row publishes goes into the [`Outbox`](crate::Outbox) of its partition. Where the
    /// flow publishes before it commits and the last pass over the log [may have published](crate::LastPass::may_have_published)
    /// the record already, nothing changes: that is looked up under the lock of the last pass.
    ///
    /// A [repaired](Attempted::Repaired) record goes into the outbox and is not written: its source's reader takes it. All open
    /// dead letters of its position are then repaired; nothing changes where an earlier pass has counted the record.
    ///
    /// Without `logged_act` it is a dry run: everything is rolled back, and the answer is what the outcome would be.
    fn replay(
        &self,
        attempt: &Arc<ReplayAttempt>,
        logged_act: Option<&LoggedAct>,
    ) -> impl Future<Output = Result<Replayed, Fault>> + Send;
}

/// The record of a dead letter as its source reads it, and how amounts are written in it; or why it cannot be decoded.
pub type DecodedRecord = Result<(Fields, Notation), Reason>;

/// A dead letter's record after all stages before the store.
#[derive(Debug)]
pub struct ReplayAttempt {
    /// The flow of the record.
    pub flow: Arc<dyn Flow>,
    /// The attempt before this one.
    pub identity: DeadLetterIdentity,
    /// The record's outcome before the store.
    pub result: Attempted,
    /// The bytes to keep if it fails again, where a mask has been set since.
    pub kept: Option<Raw>,
    /// The topics of the flow's outputs.
    pub topics: Topics,
}

/// The outcome of a dead letter's record before the store.
#[derive(Clone, Debug)]
pub enum Attempted {
    /// It is valid now: the row.
    Valid(Row),
    /// Why it failed again.
    Failed(Reason),
    /// It was corrected: the record for the topic that it came from, without the engine's headers.
    Repaired(OutgoingRecord),
}

/// The outcome of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The store holds its effect; it is [`State::Replayed`].
    Written,
    /// Something newer is there; it is [`State::Outdated`].
    Outdated,
    /// The corrected record is in the outbox; it is [`State::Repaired`].
    Repaired,
    /// It failed again; it is [`State::Retried`].
    FailedAgain {
        /// The next attempt.
        next: DeadLetterIdentity,
        reason: Reason,
    },
    /// An earlier pass over the log has counted and published the record that was to be repaired, and nothing changed.
    Counted,
    /// It was not open, and nothing changed.
    NotOpen(State),
    /// The flow publishes before it commits, and the last pass over the log has yet to commit the record, which it may have published
    /// already. Nothing changed: that pass closes the dead letter, or leaves it for the next replay.
    ReadAgain,
}

impl Replayed {
    /// The dead letter at `place` after this `outcome`.
    pub fn of(place: &DeadLetterIdentity, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Written | Outcome::Skipped => Self::Written,
            Outcome::Superseded => Self::Outdated,
            Outcome::Refused(refusal) => Self::again(place, Reason::from(&refusal)),
        }
    }

    /// The record at `place` failed again.
    pub fn again(place: &DeadLetterIdentity, reason: Reason) -> Self {
        Self::FailedAgain { next: place.next_attempt(), reason }
    }

    /// Its name in the result of an act; `None` where nothing changed.
    pub const fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Written => Some("replayed"),
            Self::Outdated => Some("outdated"),
            Self::Repaired => Some("repaired"),
            Self::FailedAgain { .. } => Some("failed_again"),
            Self::Counted | Self::NotOpen(_) | Self::ReadAgain => None,
        }
    }

    /// The dead letter's state after it.
    pub const fn state(&self) -> State {
        match self {
            Self::Written => State::Replayed,
            Self::Outdated => State::Outdated,
            Self::Repaired => State::Repaired,
            Self::FailedAgain { .. } => State::Retried,
            Self::NotOpen(state) => *state,
            Self::Counted | Self::ReadAgain => State::Open,
        }
    }
}
